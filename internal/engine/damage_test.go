package engine

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/spec"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/stage/start"
)

// A container that has run is never taken for a half-made one, and so for nothing:
// its files are the user's.
func TestLostStateIsNoHalfMadeContainer(t *testing.T) {
	w := newWorkshop(t)
	id := w.put(&record.Container{ID: ident('a'), Name: "web"}, nil)
	must(t, os.WriteFile(filepath.Join(w.Store.ContainerDir(id), "log"), nil, 0o600))
	c, err := w.Load(id)
	must(t, err)
	if c.State.Status != record.Exited || c.State.ExitCode != -1 || c.State.Error != "its state was lost" || c.Name != "web" {
		t.Errorf("%+v", c.State)
	}
	once := w.put(&record.Container{ID: ident('b'), Name: "once", AutoRemove: true}, nil)
	must(t, os.WriteFile(filepath.Join(w.Store.ContainerDir(once), "log"), nil, 0o600))
	must(t, w.reconcile(once))
	w.gone(once, "once")
}

// Damage of one container or image is one line that names the file and what to type,
// and the others are listed.
func TestListsBesideDamage(t *testing.T) {
	w := newWorkshop(t)
	bad := w.put(&record.Container{ID: ident('a'), Name: "bad", Volumes: []record.VolumeUse{{Name: "v"}}}, &record.State{Status: record.Exited})
	w.put(&record.Container{ID: ident('b'), Name: "good", Volumes: []record.VolumeUse{{Name: "v"}}}, &record.State{Status: record.Exited})
	path := filepath.Join(w.Store.ContainerDir(bad), "container.json")
	must(t, os.WriteFile(path, []byte("{"), 0o600))
	says := func(what string) {
		t.Helper()
		if len(w.warnings) != 1 || !strings.Contains(w.warnings[0], path) || strings.Count(w.warnings[0], "rc rm -f "+shortID(bad)) != 1 {
			t.Errorf("%s: %q", what, w.warnings)
		}
		w.warnings = nil
	}
	list, err := w.List()
	if err != nil || len(list) != 1 || list[0].Name != "good" {
		t.Errorf("%+v, %v", list, err)
	}
	says("list")
	must(t, os.MkdirAll(w.Store.VolumeData("v"), 0o700))
	volumes, err := w.Volumes()
	if err != nil || len(volumes) != 1 || !slices.Equal(volumes[0].Users, []string{ident('b')}) {
		t.Errorf("%+v, %v", volumes, err)
	}
	says("volumes")
	if _, err := w.find("bad", "stop it"); err == nil || strings.Count(err.Error(), "rc rm -f") != 1 {
		t.Error(err)
	}

	image := ident('c')
	must(t, os.MkdirAll(w.Store.Path("images", image), 0o700))
	must(t, os.WriteFile(w.Store.Path("images", image, "image.json"), []byte("{}"), 0o600))
	if images, err := w.Images(); err != nil || len(images) != 0 {
		t.Errorf("%+v, %v", images, err)
	}
	if len(w.warnings) != 1 || !strings.Contains(w.warnings[0], "rc rmi -f "+shortID(image)) {
		t.Errorf("%q", w.warnings)
	}
}

// Nobody is told to delete a container for want of a descriptor or of room.
func TestDeleteIsForDamage(t *testing.T) {
	for err, want := range map[error]string{
		errors.New("unexpected end"): "to delete it all the same: rc rm -f web",
		unix.EISDIR:                  "to delete it all the same: rc rm -f web",
		unix.EMFILE:                  "",
		unix.ENOSPC:                  diskFix(unix.ENOSPC),
	} {
		if got := deleteFix(err, "it", "web"); got != want {
			t.Errorf("%v: %q", err, got)
		}
	}
}

// What is said of a network that cannot be read is not that it can be made.
func TestDamagedNetwork(t *testing.T) {
	w := newWorkshop(t)
	n := w.network(NetworkOptions{Name: "a"})
	must(t, os.WriteFile(w.Store.Path("networks", n.Name, "network.json"), []byte("["), 0o600))
	err := w.launch(&spec.Options{Network: []string{"a"}}).findNetworks()
	if err == nil || !strings.HasSuffix(err.Error(), "; remove it: rc network rm a") {
		t.Error(err)
	}
}

// A compiled filter that cannot be loaded goes, and nobody is told to do without one.
func TestDamagedFilterIsMadeAnew(t *testing.T) {
	w := newWorkshop(t)
	path := filepath.Join(t.TempDir(), "x.bpf")
	for _, c := range []struct {
		fail stage.Failure
		goes bool
	}{
		{stage.Failure{Op: "load the seccomp filter", Errno: int(unix.EINVAL), Fix: "other"}, true},
		{stage.Failure{Op: "read the seccomp filter", Fix: "other"}, true},
		{stage.Failure{Op: "load the seccomp filter", Errno: int(unix.ENOSYS), Fix: "other"}, false},
		{stage.Failure{Op: "load the seccomp filter", Errno: int(unix.ENOMEM), Fix: "other"}, false},
		{stage.Failure{Op: "make a pipe", Fix: "other"}, false},
	} {
		must(t, os.WriteFile(path, nil, 0o600))
		f, err := os.Open(path)
		must(t, err)
		l := w.launch(&spec.Options{})
		l.files["seccomp"] = f
		l.dropFilter(&c.fail)
		_, err = os.Lstat(path)
		if errors.Is(err, os.ErrNotExist) != c.goes || strings.HasPrefix(c.fail.Fix, "run the command again") != c.goes {
			t.Errorf("%+v: %v", c.fail, err)
		}
		_ = f.Close()
	}
}

// A state folder that was moved, or that is reached by another name, keeps its
// containers: what lies below it is looked for where it is now.
func TestMovedStateRoot(t *testing.T) {
	w := newWorkshop(t)
	id := w.put(&record.Container{ID: ident('a'), Name: "web"}, &record.State{Status: record.Exited})
	const was = `/old place/ü"<rc`
	cfg := &start.Config{ID: id, Root: was, Dir: was + "/containers/" + id, Spec: &specs.Spec{Process: &specs.Process{Args: []string{"echo " + was + "/x", was}}, Linux: &specs.Linux{},
		Mounts: []specs.Mount{{Source: was + "/volumes/v/_data"}, {Source: was + "2/mine"}}}}
	cfg.Rootfs.Layers = []string{was + "/storage/rc/dir/1", was + "/storage/rc/dir/2"}
	cfg.Rootfs.Upper = cfg.Dir + "/upper"
	must(t, w.Engine.saveConfig(cfg))
	got, err := w.LoadConfig(id)
	must(t, err)
	root := w.Store.Root
	if got.Root != root || got.Dir != w.Store.ContainerDir(id) || got.Rootfs.Upper != got.Dir+"/upper" || !slices.Equal(got.Rootfs.Layers, []string{root + "/storage/rc/dir/1", root + "/storage/rc/dir/2"}) {
		t.Errorf("%q %+v", got.Dir, got.Rootfs)
	}
	if m := got.Spec.Mounts; m[0].Source != root+"/volumes/v/_data" || m[1].Source != was+"2/mine" {
		t.Errorf("%+v", m)
	}
	if args := got.Spec.Process.Args; args[0] != "echo "+was+"/x" || args[1] != was {
		t.Errorf("%q", args)
	}
}
