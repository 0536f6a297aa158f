package fuse

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestParallel runs eight containers of one image side by side.
func TestParallel(t *testing.T) {
	forEachDriver(t, func(t *testing.T, d Driver) {
		bottom := newLayer(t, kernelFormat).file("shared", "image").file("victim", "image").file("dir/a", "")
		top := newLayer(t, kernelFormat).file("dir/b", "")
		t.Run("all", func(t *testing.T) {
			for i := range 8 {
				t.Run(fmt.Sprint(i), func(t *testing.T) {
					t.Parallel()
					b := newBox(t, d, top.dir, bottom.dir).start()
					for round := range 20 {
						b.write("shared", fmt.Sprintf("%d/%d", i, round))
						b.write(fmt.Sprintf("dir/own-%d", i), "")
					}
					must(t, os.Remove(b.path("victim")))
					b.lists("dir", "a", "b", fmt.Sprintf("own-%d", i))
					if got := b.read("shared"); got != fmt.Sprintf("%d/19", i) {
						t.Errorf("shared holds %q", got)
					}
				})
			}
		})
		for _, name := range []string{"shared", "victim"} {
			if data, err := os.ReadFile(bottom.path(name)); string(data) != "image" {
				t.Errorf("the layer's %s was changed: %q %v", name, data, err)
			}
		}
	})
}

// TestNothingLeft counts descriptors over starts that succeed and that fail.
func TestNothingLeft(t *testing.T) {
	count := func() int {
		fds, err := os.ReadDir("/proc/self/fd")
		must(t, err)
		return len(fds)
	}
	forEachDriver(t, func(t *testing.T, d Driver) {
		l := newLayer(t, kernelFormat).file("f", "")
		b := newBox(t, d, l.dir).start()
		b.stop()
		before := count()
		for range 3 {
			b.start()
			b.stop()
			bad := b.Rootfs
			bad.Layers = append([]string{l.dir}, t.TempDir()+"/missing")
			if _, err := Mount(d, bad); !errors.Is(err, unix.ENOENT) {
				t.Errorf("a missing layer: %v", err)
			}
		}
		if after := count(); after != before {
			t.Errorf("%d descriptors before, %d after", before, after)
		}
	})
}

// TestNoHostPaths: the container's own mountinfo must not tell where the store is.
func TestNoHostPaths(t *testing.T) {
	forEachDriver(t, func(t *testing.T, d Driver) {
		if d == Copy {
			t.Skip("a clone of a folder shows that folder as its root: mountinfo(5), field 4")
		}
		b := newBox(t, d, newLayer(t, kernelFormat).file("f", "").dir).start()
		info, err := os.ReadFile("/proc/self/mountinfo")
		must(t, err)
		for line := range strings.Lines(string(info)) {
			if rest, ok := strings.CutPrefix(line, ""); ok && strings.Contains(rest, b.root) {
				if strings.Contains(line, b.Upper) || strings.Contains(line, b.Layers[0]) {
					t.Errorf("mountinfo: %s", line)
				}
			}
		}
	})
}

// TestDriversDoNotMix: a folder written by one driver is refused to another.
func TestDriversDoNotMix(t *testing.T) {
	forEachDriver(t, func(t *testing.T, d Driver) {
		b := newBox(t, d, newLayer(t, kernelFormat).file("f", "").dir).start()
		b.write("mine", "precious")
		b.stop()
		for _, other := range Drivers {
			if other == d {
				continue
			}
			if _, err := Mount(other, b.Rootfs); err == nil || !strings.Contains(err.Error(), string(d)) {
				t.Errorf("%s took what %s wrote: %v", other, d, err)
			}
		}
		b.start()
		if b.read("mine") != "precious" {
			t.Error("the data is gone")
		}
	})
}

// TestVolatile: an upper folder of --rm is forgiven to --rm only.
func TestVolatile(t *testing.T) {
	needDriver(t, Overlay)
	b := newBox(t, Overlay, newLayer(t, kernelFormat).file("f", "").dir)
	b.Volatile = true
	b.start()
	b.write("x", "")
	b.restart()
	b.stop()
	b.Volatile = false
	_, err := Mount(Overlay, b.Rootfs)
	if err == nil || !strings.Contains(err.Error(), "--rm") {
		t.Errorf("a start without volatile says %v", err)
	}
}

// TestShiftedIDs: ids on disk are an image's, ids in the mount those of a map.
func TestShiftedIDs(t *testing.T) {
	forEachDriver(t, func(t *testing.T, d Driver) {
		l := newLayer(t, kernelFormat).file("root", "").file("user", "").owner("user", 1000, 1001).mode("user", 0o6755)
		l.mkdir("dir", 0o755).owner("dir", 1, 1)
		b := newBox(t, d, l.dir)
		b.UIDMap = []IDMap{{0, 5000, 1000}, {1000, 40000, 1}}
		b.GIDMap = []IDMap{{0, 6000, 2000}}
		if d == Overlay {
			if _, err := Mount(d, b.Rootfs); err == nil {
				t.Error("overlay claims to shift ids")
			}
			b.driver = Auto
			if b.start(); b.live.Driver != FuseOverlayfs && b.live.Driver != Copy || !strings.Contains(b.live.Why, "overlay: ") {
				t.Errorf("chose %s because %q", b.live.Driver, b.live.Why)
			}
		} else {
			b.start()
		}
		for name, want := range map[string][2]uint32{"": {5000, 6000}, "root": {5000, 6000}, "user": {40000, 7001}, "dir": {5001, 6001}} {
			if st := b.stat(name); st.Uid != want[0] || st.Gid != want[1] {
				t.Errorf("%q belongs to %d:%d, want %v", name, st.Uid, st.Gid, want)
			}
		}
		if m := b.stat("user").Mode & 0o7777; m != 0o6755 {
			t.Errorf("user has mode %o", m)
		}
		must(t, os.Chown(b.path("root"), 40000, 7001))
		if st := b.stat("root"); st.Uid != 40000 || st.Gid != 7001 {
			t.Errorf("after chown: %d:%d", st.Uid, st.Gid)
		}
	})
}

func TestCopyRefusesUnmappedID(t *testing.T) {
	needNamespace(t)
	l := newLayer(t, kernelFormat).file("d/user", "").owner("d/user", 5000, 0)
	b := newBox(t, Copy, l.dir)
	b.UIDMap, b.GIDMap = []IDMap{{0, 1, 1000}}, []IDMap{{0, 1, 1000}}
	_, err := Mount(Copy, b.Rootfs)
	if err == nil || !strings.Contains(err.Error(), "user 5000") || !errors.Is(err, errUnmapped) {
		t.Errorf("Mount says %v", err)
	}
	if names, _ := os.ReadDir(b.Upper); len(names) != 0 {
		t.Errorf("a failed copy left %v", names)
	}
	if _, err := os.Lstat(b.Upper + ".driver"); err == nil {
		t.Error("a failed copy left its marker")
	}
}

// TestCopyStrips: what a layer says to a driver means nothing in a copy.
func TestCopyStrips(t *testing.T) {
	needDriver(t, Overlay) // for its attributes
	l := newLayer(t, kernelFormat).mkdir("d", 0o755).file("f", "")
	for _, attr := range []string{"user.overlay.redirect", "user.overlay.metacopy", "user.overlay.overlay.opaque", "user.fuseoverlayfs.origin"} {
		l.xattr("d", attr, "/etc").xattr("f", attr, "x").xattr("", attr, "y")
	}
	l.xattr("d", "user.kept", "k")
	b := newBox(t, Copy, l.dir).start()
	for name, want := range map[string]string{"": "", "f": "", "d": "user.kept"} {
		fd, err := unix.Open(b.path(name), unix.O_RDONLY, 0)
		must(t, err)
		got, err := listXattrs(fd)
		unix.Close(fd)
		if err != nil || strings.Join(got, ",") != want {
			t.Errorf("%q has %v (%v), want %q", name, got, err, want)
		}
	}
}

func TestColon(t *testing.T) {
	needDriver(t, FuseOverlayfs)
	b := newBox(t, FuseOverlayfs, newLayer(t, kernelFormat).file("f", "").dir)
	must(t, os.Rename(b.Upper, b.Upper+":x"))
	b.Upper += ":x"
	if _, err := Mount(FuseOverlayfs, b.Rootfs); err == nil || !strings.Contains(err.Error(), "colon") {
		t.Errorf("Mount says %v", err)
	}
}

// TestMissingProgram hides fuse-overlayfs and then /dev/fuse.
func TestMissingProgram(t *testing.T) {
	needDriver(t, FuseOverlayfs)
	b := newBox(t, FuseOverlayfs, newLayer(t, kernelFormat).file("f", "").dir)
	refused := func(want ...string) {
		t.Helper()
		_, err := Mount(FuseOverlayfs, b.Rootfs)
		for _, w := range want {
			if err == nil || !strings.Contains(err.Error(), w) || strings.Contains(err.Error(), "\n") {
				t.Errorf("Mount says %v, want %q in one line", err, w)
			}
		}
	}
	program, err := lookPath("fuse-overlayfs")
	must(t, err)
	must(t, unix.Mount("/dev/null", program, "", unix.MS_BIND, ""))
	refused("not installed", "apt install fuse-overlayfs")
	must(t, unix.Unmount(program, 0))
	must(t, unix.Mount("tmpfs", "/dev", "tmpfs", 0, ""))
	refused("/dev/fuse", "modprobe fuse")
	must(t, unix.Unmount("/dev", 0))
	must(t, unix.Mount("/bin/false", program, "", unix.MS_BIND, ""))
	refused("exit status 1")
	must(t, unix.Unmount(program, 0))
	b.start()
}

func TestOpen(t *testing.T) {
	needNamespace(t)
	dir := t.TempDir()
	must(t, os.Mkdir(dir+"/sub", 0o755))
	must(t, os.WriteFile(dir+"/f", []byte("x"), 0o644))
	must(t, unix.Mount("tmpfs", dir+"/sub", "tmpfs", 0, ""))
	defer unix.Unmount(dir+"/sub", 0)
	must(t, os.WriteFile(dir+"/sub/inner", nil, 0o644))
	m, err := Open(dir)
	must(t, err)
	b := newBox(t, Auto)
	b.attach(m)
	b.lists("", "f", "sub")
	b.lists("sub", "inner")
	must(t, unix.Unmount(b.path("sub"), 0))
	if _, err := os.Stat(dir + "/sub/inner"); err != nil {
		t.Errorf("an unmount in the clone came out: %v", err)
	}
	for _, bad := range []string{dir + "/f", dir + "/missing"} {
		if _, err := Open(bad); err == nil || !strings.Contains(err.Error(), "--rootfs") {
			t.Errorf("Open(%s) says %v", bad, err)
		}
	}
}
