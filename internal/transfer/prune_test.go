package transfer

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rc-containers/rc/fuse/layers"
	"github.com/rc-containers/rc/internal/record"
)

func (w *world) prune(o PruneOptions) (p *Pruned) {
	w.Helper()
	w.must(w.do(func(_ context.Context, s *Session) (err error) {
		p, err = s.Prune(o)
		return err
	}))
	return p
}

func TestPrune(t *testing.T) {
	w := newWorld(t)
	addr := registry(t, "library/alpine", "library/busybox")
	alpine, busybox := addr+"/library/alpine", addr+"/library/busybox"
	w.must(w.pull(alpine))
	w.must(w.pull(busybox))
	store, err := record.Open(w.root)
	w.must(err)
	id, other := w.image(alpine).ID, w.image(busybox).ID

	if p := w.prune(PruneOptions{Downloads: -1}); len(p.Removed) != 0 || p.Reclaimed != 0 {
		t.Errorf("named images: %+v", p)
	}
	for _, o := range []PruneOptions{
		{All: true, Labels: []string{"none"}},
		{All: true, Until: time.Unix(1, 0)},
	} {
		o.Downloads = -1
		if p := w.prune(o); len(p.Removed) != 0 {
			t.Errorf("%+v: %+v", o, p)
		}
	}
	// A container of any state keeps its image; busybox's own layers go, shared ones stay.
	w.must(os.Mkdir(filepath.Join(w.root, "containers/c1"), 0o700))
	w.must(store.AcquireImage(id, "c1"))
	p := w.prune(PruneOptions{All: true, NotLabels: []string{"none"}, Downloads: -1})
	if !slices.Contains(p.Removed, "deleted: sha256:"+other) || slices.Contains(p.Removed, "deleted: sha256:"+id) ||
		!strings.HasPrefix(p.Removed[0], "untagged: ") {
		t.Errorf("%+v", p)
	}
	for _, dir := range w.image(alpine).Layers {
		if _, err := os.Stat(dir); err != nil {
			t.Error("a layer of a container is gone: ", err)
		}
	}
	// Without a name it stays as long as the container does.
	w.must(w.rmi(true, alpine))
	if p := w.prune(PruneOptions{Downloads: -1}); len(p.Removed) != 0 {
		t.Errorf("%+v", p)
	}
	w.must(store.ReleaseImage(id, "c1"))
	p = w.prune(PruneOptions{Downloads: -1})
	if !slices.Equal(p.Removed[len(p.Removed)-1:], []string{"deleted: sha256:" + id}) || p.Reclaimed <= 0 {
		t.Errorf("%+v", p)
	}
	if left, _ := os.ReadDir(filepath.Join(w.root, "storage/rc/dir")); len(left) > 0 {
		t.Errorf("layers are left: %v", left)
	}
	w.clean()
}

// An image that a pull has put there and not yet named looks unused: while the
// store is open elsewhere it stays, and so does one that was named meanwhile.
func TestPruneBesideAPull(t *testing.T) {
	w := newWorld(t)
	ref := registry(t, "library/busybox") + "/library/busybox"
	w.must(w.pull(ref))
	id := w.image(ref).ID
	store, err := record.Open(w.root)
	w.must(err)
	if err := store.RemoveUnnamedImage(id); err == nil || !strings.Contains(err.Error(), "has a name") {
		t.Errorf("%v", err)
	}
	names, err := store.NamesOf(id)
	w.must(err)
	for _, n := range names {
		if !strings.Contains(n, "@") {
			_, err := store.Untag(n)
			w.must(err)
		}
	}
	pull, err := layers.Open(w.root)
	w.must(err)
	if p := w.prune(PruneOptions{Downloads: -1}); len(p.Removed) != 0 {
		t.Errorf("beside a pull: %+v", p)
	}
	w.must(pull.Close())
	if p := w.prune(PruneOptions{Downloads: -1}); len(p.Removed) == 0 {
		t.Error("an image without a name stays for ever")
	}
}

func TestPruneDownloads(t *testing.T) {
	w := newWorld(t)
	dir := filepath.Join(w.root, "cache/blobs")
	w.must(os.MkdirAll(dir, 0o700))
	old := time.Now().Add(-48 * time.Hour)
	for name, made := range map[string]time.Time{"a.partial": old, "b.partial": time.Now(), "c.partial": old, "d": old} {
		w.must(os.WriteFile(filepath.Join(dir, name), []byte("12345"), 0o600))
		w.must(os.Chtimes(filepath.Join(dir, name), made, made))
	}
	lock, err := record.LockFile(filepath.Join(dir, "c.partial"), 2) // LOCK_EX: a pull goes on with it
	w.must(err)
	if p := w.prune(PruneOptions{Downloads: 24 * time.Hour}); p.Reclaimed != 5 {
		t.Errorf("%+v", p)
	}
	w.must(lock.Close())
	if p := w.prune(PruneOptions{}); p.Reclaimed != 10 {
		t.Errorf("%+v", p)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 || left[0].Name() != "d" {
		t.Errorf("%v", left)
	}
}
