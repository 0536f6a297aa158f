package transfer

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
)

func TestRemove(t *testing.T) {
	w := newWorld(t)
	addr := registry(t, "library/alpine", "library/busybox")
	alpine, busybox := addr+"/library/alpine", addr+"/library/busybox"
	w.must(w.pull(alpine))
	w.must(w.pull(busybox))
	w.tag(alpine, "second:1")
	id := w.image(alpine).ID

	w.must(w.rmi(false, alpine)) // a name of two
	if w.out.String() != "Untagged: "+alpine+":latest\n" {
		t.Errorf("printed %q", w.out.String())
	}
	w.tag("second:1", alpine)
	w.refused(w.rmi(false, id[:12]), "several names", "-f")
	w.must(w.rmi(false, alpine))
	w.must(w.rmi(false, "second:1"))
	if out := w.out.String(); !strings.HasSuffix(out, "Deleted: sha256:"+id+"\n") || !strings.Contains(out, "Untagged: second:1\n") {
		t.Errorf("printed %q", out)
	}
	w.clean()
	for _, dir := range w.image(busybox).Layers { // shared with alpine
		if _, err := os.Stat(dir); err != nil {
			t.Error("a shared layer is gone: ", err)
		}
	}
	err := w.rmi(false, "none", "none2")
	w.refused(err, `rmi "none"`, `rmi "none2"`)
	if hint.ExitCode(err) != 1 {
		t.Errorf("exit code %d", hint.ExitCode(err))
	}
	w.must(w.rmi(true, "none"))
	w.must(w.rmi(false, w.image(busybox).ID[:8]))
	if left, _ := os.ReadDir(filepath.Join(w.root, "storage/rc/dir")); len(left) > 0 {
		t.Errorf("layers are left: %v", left)
	}
}

func TestRemoveOfAnImageInUse(t *testing.T) {
	w := newWorld(t)
	ref := registry(t, "library/busybox") + "/library/busybox"
	w.must(w.pull(ref))
	id := w.image(ref).ID
	store, err := record.Open(w.root)
	w.must(err)
	w.must(os.Mkdir(filepath.Join(w.root, "containers/c1"), 0o700))
	w.must(store.AcquireImage(id, "c1"))
	w.refused(w.rmi(false, ref), "in use by container c1", "rc rm")
	w.must(w.rmi(true, ref)) // the name goes, the image stays for its container
	if _, err := store.Image(ref); err == nil {
		t.Error("the name is still there")
	}
	w.image(id)
	w.clean()
	// The container goes without releasing: its reference counts no more.
	w.must(os.Remove(filepath.Join(w.root, "containers/c1")))
	old := time.Now().Add(-time.Hour)
	w.must(os.Chtimes(filepath.Join(w.root, "images", id, "users/c1"), old, old))
	w.must(w.rmi(false, id))
	w.clean()
}
