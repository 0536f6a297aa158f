package fuse

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// probeIn mounts a file system at a folder, probes there, and gives each
// driver's finding as "ok" or its reason.
func probeIn(t *testing.T, fstype string, flags uintptr, data string) (string, map[Driver]string) {
	t.Helper()
	needNamespace(t)
	dir := t.TempDir()
	if fstype == "bind" {
		must(t, unix.Mount(dir, dir, "", unix.MS_BIND, ""))
		must(t, unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_BIND|flags, ""))
	} else if err := unix.Mount(fstype, dir, fstype, flags, data); err != nil {
		t.Skipf("mount %s: %v", fstype, err)
	}
	t.Cleanup(func() { must(t, unix.Unmount(dir, 0)) })
	return dir, probed(t, dir)
}

func probed(t *testing.T, dir string) map[Driver]string {
	t.Helper()
	got := map[Driver]string{}
	for _, f := range Probe(dir) {
		got[f.Driver] = "ok"
		if !f.OK {
			got[f.Driver] = f.Why
		}
		if f.Why == "" || strings.Contains(f.Why, "\n") {
			t.Errorf("%s: the evidence is not one line: %q", f.Driver, f.Why)
		}
		t.Logf("%s %t: %s", f.Driver, f.OK, f.Why)
	}
	if left, _ := filepath.Glob(dir + "/.rc-probe-*"); len(left) != 0 {
		t.Errorf("the probe left %v", left)
	}
	return got
}

func TestProbeHere(t *testing.T) {
	needNamespace(t)
	got := probed(t, t.TempDir())
	if got[Copy] != "ok" {
		t.Errorf("copy must work everywhere: %s", got[Copy])
	}
}

// TestProbeNoXattr: ramfs has no user.* attributes, like tmpfs before Linux 6.6
// and NFS before 5.9.
func TestProbeNoXattr(t *testing.T) {
	dir, got := probeIn(t, "ramfs", 0, "")
	if !strings.Contains(got[Overlay], "no user.* attributes") {
		t.Errorf("overlay: %s", got[Overlay])
	}
	if got[Copy] != "ok" {
		t.Errorf("copy: %s", got[Copy])
	}
	// Auto must start a container there all the same, and say why not by overlay.
	b := &box{TB: t, driver: Auto, root: t.TempDir()}
	b.Upper, b.Work, b.Layers = dir+"/upper", dir+"/work", []string{dir + "/layer"}
	for _, p := range []string{b.Upper, b.Work, b.Layers[0]} {
		must(t, os.Mkdir(p, 0o755))
	}
	must(t, os.WriteFile(b.Layers[0]+"/f", []byte("x"), 0o644))
	b.start()
	if b.live.Driver == Overlay || !strings.Contains(b.live.Why, "overlay: ") {
		t.Errorf("Auto took %s because %q", b.live.Driver, b.live.Why)
	}
	if b.read("f") != "x" {
		t.Error("wrong contents")
	}
	b.stop()
}

func TestProbeTmpfs(t *testing.T) {
	_, got := probeIn(t, "tmpfs", 0, "")
	if got[Copy] != "ok" {
		t.Errorf("copy: %s", got[Copy])
	}
}

func TestProbeReadOnly(t *testing.T) {
	_, got := probeIn(t, "bind", unix.MS_RDONLY, "")
	for d, why := range got {
		if !strings.Contains(why, unix.EROFS.Error()) || !strings.Contains(why, "--root") {
			t.Errorf("%s: %s", d, why)
		}
	}
}

func TestProbeNoexec(t *testing.T) {
	_, got := probeIn(t, "tmpfs", unix.MS_NOEXEC, "")
	if !strings.Contains(got[Copy], "noexec") {
		t.Errorf("copy: %s", got[Copy])
	}
}

// TestProbeOnFUSE: a store on fuse-overlayfs, as inside another rc's container.
// It takes both kinds of whiteout for its own, so that no driver can have layers
// there; the probe must say so and clean up.
func TestProbeOnFUSE(t *testing.T) {
	needDriver(t, FuseOverlayfs)
	b := newBox(t, FuseOverlayfs, newLayer(t, kernelFormat).mkdir("store", 0o755).dir).start()
	for d, why := range probed(t, b.path("store")) {
		if !strings.Contains(why, "whiteouts") || !strings.Contains(why, "--root") {
			t.Errorf("%s: %s", d, why)
		}
	}
}

func TestProbeMissingFolder(t *testing.T) {
	for _, f := range Probe(t.TempDir() + "/missing") {
		if f.OK || !strings.Contains(f.Why, "no such file") {
			t.Errorf("%s: %t %s", f.Driver, f.OK, f.Why)
		}
	}
}
