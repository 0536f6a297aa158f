package fuse

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// conformance is what every driver must do alike. The cases see a mounted tree
// by path, as a container does.
var conformance = []struct {
	name string
	test func(*testing.T, Driver, format)
}{
	{"whiteouts", testWhiteouts},
	{"replaced types", testReplacedTypes},
	{"hard links", testHardLinks},
	{"xattrs", testXattrs},
	{"sparse files", testSparse},
	{"modes and times", testModes},
	{"odd names", testOddNames},
	{"owners", testOwners},
	{"128 layers", testManyLayers},
	{"deep paths", testDeep},
	{"rename a lower folder", testRenameLower},
	{"remove and make again", testRecreate},
	{"restart", testRestart},
	{"root folder", testRootFolder},
}

func TestConformance(t *testing.T) {
	forEachDriver(t, func(t *testing.T, d Driver) {
		for _, f := range formats(d) {
			for _, c := range conformance {
				t.Run(string(f)+"/"+c.name, func(t *testing.T) { c.test(t, d, f) })
			}
		}
	})
}

// TestOldKernel runs the suite again with the calls that Linux 5.14 lacks
// believed missing, in a process of its own.
func TestOldKernel(t *testing.T) {
	needDriver(t, Overlay)
	for _, without := range []string{"lowerdir+", "fsopen-overlay", "memfd-noexec,close-range"} {
		t.Run(without, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command("/proc/self/exe", "-test.run=^TestConformance$/^(overlay|fuse-overlayfs)$/.*/^(whiteouts|128_layers|restart)$", "-test.v")
			cmd.Env = append(os.Environ(), "RC_TEST_WITHOUT="+without)
			cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS}
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.Contains(string(out), "PASS: TestConformance/overlay/kernel/128_layers") {
				t.Fatalf("%v\n%s", err, out)
			}
		})
	}
}

func testWhiteouts(t *testing.T, d Driver, f format) {
	bottom := newLayer(t, f).file("gone", "1").file("kept", "1").file("dir/hidden", "1").file("tree/a/b/c", "1").file("back", "1")
	middle := newLayer(t, f).hide("gone").opaque("dir").file("dir/shown", "2").hide("tree").hide("back").hide("never-was")
	top := newLayer(t, f).file("back", "3").file("tree/new", "3")
	b := newBox(t, d, top.dir, middle.dir, bottom.dir).start()
	b.hidden("gone", "dir/hidden", "tree/a", "never-was")
	b.lists("", "back", "dir", "kept", "tree")
	b.lists("dir", "shown")
	b.lists("tree", "new")
	if got := b.read("back") + b.read("kept"); got != "31" {
		t.Errorf("back and kept hold %q, want 31", got)
	}
}

// TestTarWhiteouts: the kernel would show what such a layer hides.
func TestTarWhiteouts(t *testing.T) {
	needDriver(t, FuseOverlayfs)
	b := newBox(t, Auto, newLayer(t, tarFormat).hide("gone").dir, newLayer(t, tarFormat).file("gone", "").dir)
	b.TarWhiteouts = true
	if b.start(); b.live.Driver != FuseOverlayfs || !strings.Contains(b.live.Why, ".wh.") {
		t.Errorf("chose %s because %q", b.live.Driver, b.live.Why)
	}
	b.hidden("gone")
}

func testReplacedTypes(t *testing.T, d Driver, f format) {
	bottom := newLayer(t, f).file("dir-to-file/x", "1").file("file-to-dir", "1").file("target", "1").symlink("target", "link-to-dir")
	bottom.file("file-to-link", "1").mkdir("merged", 0o700)
	top := newLayer(t, f).file("dir-to-file", "2").file("file-to-dir/y", "2").file("link-to-dir/z", "2").symlink("target", "file-to-link").mkdir("merged", 0o711)
	b := newBox(t, d, top.dir, bottom.dir).start()
	b.lists("file-to-dir", "y")
	b.lists("link-to-dir", "z")
	if b.read("dir-to-file") != "2" || b.read("file-to-link") != "1" || b.read("target") != "1" {
		t.Error("wrong contents")
	}
	if m := b.stat("merged").Mode & 0o7777; m != 0o711 {
		t.Errorf("a merged folder has mode %o of the lower layer", m)
	}
}

func testHardLinks(t *testing.T, d Driver, f format) {
	l := newLayer(t, f).file("a", "linked").link("a", "b").link("a", "sub/c").file("other", "linked")
	b := newBox(t, d, newLayer(t, f).file("x", "").dir, l.dir).start()
	a, bb, c, o := b.stat("a"), b.stat("b"), b.stat("sub/c"), b.stat("other")
	if a.Ino != bb.Ino || a.Ino != c.Ino || a.Ino == o.Ino {
		t.Errorf("inodes: a %d, b %d, sub/c %d, other %d", a.Ino, bb.Ino, c.Ino, o.Ino)
	}
	if a.Nlink != 3 && (d != FuseOverlayfs || a.Nlink < 2) { // it counts the names that it has seen
		t.Errorf("a has %d links, want 3", a.Nlink)
	}
	must(t, os.Link(b.path("other"), b.path("new")))
	b.write("new", "both")
	if b.read("other") != "both" {
		t.Error("a link made in the container is not one")
	}
}

// fileCap is a struct vfs_cap_data, revision 2: cap_net_raw=ep.
const fileCap = "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

func testXattrs(t *testing.T, d Driver, f format) {
	bottom := newLayer(t, f).file("f", "1").mkdir("dir", 0o755).xattr("dir", "user.below", "no")
	bottom.xattr("f", "user.one", "v\x00w").xattr("f", "user.empty", "").xattr("f", "security.capability", fileCap)
	top := newLayer(t, f).mkdir("dir", 0o755).xattr("dir", "user.top", "yes")
	b := newBox(t, d, top.dir, bottom.dir).start()
	get := func(name, attr string) string {
		buf := make([]byte, 100)
		n, err := unix.Lgetxattr(b.path(name), attr, buf)
		if err != nil {
			return err.Error()
		}
		return string(buf[:n])
	}
	for _, c := range [][3]string{
		{"f", "user.one", "v\x00w"}, {"f", "user.empty", ""}, {"f", "security.capability", fileCap},
		{"dir", "user.top", "yes"}, {"dir", "user.below", unix.ENODATA.Error()},
	} {
		if got := get(c[0], c[1]); got != c[2] {
			t.Errorf("%s %s is %q, want %q", c[0], c[1], got, c[2])
		}
	}
	must(t, unix.Lsetxattr(b.path("f"), "user.new", []byte("n"), 0))
	if got := get("f", "user.new") + get("f", "user.one"); got != "nv\x00w" {
		t.Errorf("after a change the attributes are %q", got)
	}
}

func testSparse(t *testing.T, d Driver, f format) {
	const size = 256 << 20
	l := newLayer(t, f).file("sparse", "head")
	file, err := os.OpenFile(l.path("sparse"), os.O_RDWR, 0)
	must(t, err)
	_, err = file.WriteAt([]byte("middle"), size/2)
	must(t, errors.Join(err, file.Truncate(size), file.Close()))
	b := newBox(t, d, l.dir).start()
	check := func(when string) {
		st := b.stat("sparse")
		if st.Size != size || st.Blocks*512 > 8<<20 {
			t.Errorf("%s: size %d, on disk %d", when, st.Size, st.Blocks*512)
		}
	}
	check("as mounted")
	file, err = os.Open(b.path("sparse"))
	must(t, err)
	defer file.Close()
	got := make([]byte, 6)
	_, err = file.ReadAt(got, size/2)
	if must(t, err); string(got) != "middle" {
		t.Errorf("in the middle: %q", got)
	}
	if d == FuseOverlayfs {
		return // it copies up by sendfile(2) and fills the holes (1.10, copyup)
	}
	must(t, unix.Chmod(b.path("sparse"), 0o600)) // copies it up
	check("after a change")
}

func testModes(t *testing.T, d Driver, f format) {
	then := time.Unix(1_000_000_001, 123456000)
	modes := map[string]uint32{"suid": 0o4755, "sgid": 0o2711, "none": 0, "plain": 0o644}
	l := newLayer(t, f).mkdir("sticky", 0o1777).mkdir("sgid-dir", 0o2770).mkdir("closed", 0).symlink("nowhere", "link")
	must(t, unix.Mkfifo(l.path("fifo"), 0o640))
	for name, mode := range modes {
		l.file(name, name).mode(name, mode)
	}
	for name, mode := range map[string]uint32{"sticky": 0o1777, "sgid-dir": 0o2770, "closed": 0, "fifo": 0o640} {
		modes[name] = mode
	}
	for name := range modes {
		must(t, os.Chtimes(l.path(name), then, then))
	}
	b := newBox(t, d, newLayer(t, f).file("x", "").dir, l.dir).start()
	for name, mode := range modes {
		st := b.stat(name)
		if st.Mode&0o7777 != mode {
			t.Errorf("%s: mode %o, want %o", name, st.Mode&0o7777, mode)
		}
		if st.Mtim.Nano() != then.UnixNano() {
			t.Errorf("%s: time %v, want %v", name, time.Unix(st.Mtim.Unix()), then)
		}
	}
	if b.stat("fifo").Mode&unix.S_IFMT != unix.S_IFIFO {
		t.Error("the fifo is none")
	}
	if to, err := os.Readlink(b.path("link")); to != "nowhere" {
		t.Errorf("link: %q %v", to, err)
	}
	must(t, os.WriteFile(b.path("none"), []byte("root may"), 0))
}

func testOddNames(t *testing.T, d Driver, f format) {
	names := []string{"\xff\xfe", "new\nline", "co:lon", "com,ma", `back\slash`, " ", "-rf", "ünï", "'\"$`"}
	if longest := 255; d == FuseOverlayfs {
		// Its `.wh.` name must fit as well: 1.10 aborts when it copies up a longer one.
		names = append(names, strings.Repeat("n", longest-len(whPrefix)))
	} else {
		names = append(names, strings.Repeat("n", longest))
	}
	l := newLayer(t, f)
	for _, n := range names {
		l.file(n, n)
	}
	// The layer folder, upper and work may be named like that, too.
	odd := t.TempDir() + "/a:b,c\\d \xff"
	must(t, os.Rename(l.dir, odd))
	b := newBox(t, d, odd)
	suffix := ":,\\ \xff="
	if d == FuseOverlayfs {
		suffix = suffix[1:] // see TestColon
	}
	for _, p := range []*string{&b.Upper, &b.Work} {
		must(t, os.Rename(*p, *p+suffix))
		*p += suffix
	}
	b.start()
	for _, n := range names {
		if got := b.read(n); got != n {
			t.Errorf("%q holds %q", n, got)
		}
		b.write(n, "new")
		if len(n) < 250 {
			b.write(n+"2", "new")
		}
	}
	must(t, os.Remove(b.path(names[0])))
	b.restart()
	b.hidden(names[0])
}

func testOwners(t *testing.T, d Driver, f format) {
	l := newLayer(t, f).file("f", "").owner("f", 1000, 2000).mkdir("dir", 0o755).owner("dir", 65533, 1).symlink("f", "link").owner("link", 7, 8)
	b := newBox(t, d, newLayer(t, f).file("x", "").dir, l.dir).start()
	want := func(name string, uid, gid uint32) {
		if st := b.stat(name); st.Uid != uid || st.Gid != gid {
			t.Errorf("%s belongs to %d:%d, want %d:%d", name, st.Uid, st.Gid, uid, gid)
		}
	}
	want("f", 1000, 2000)
	want("dir", 65533, 1)
	want("link", 7, 8)
	want("x", 0, 0)
	must(t, os.Lchown(b.path("f"), 5, 6))
	want("f", 5, 6)
}

func testManyLayers(t *testing.T, d Driver, f format) {
	var layers []string
	for i := range 128 {
		l := newLayer(t, f).file("top", fmt.Sprint(i)).file(fmt.Sprintf("dir/%03d", i), "").file(fmt.Sprintf("only-%d", i), "")
		if i > 0 {
			l.hide(fmt.Sprintf("only-%d", i-1))
		}
		layers = append([]string{l.dir}, layers...)
	}
	b := newBox(t, d, layers...).start()
	if got := b.read("top"); got != "127" {
		t.Errorf("top is %s", got)
	}
	b.lists("", "dir", "only-127", "top")
	if entries, err := os.ReadDir(b.path("dir")); err != nil || len(entries) != 128 {
		t.Errorf("%d entries, %v", len(entries), err)
	}
}

func testDeep(t *testing.T, d Driver, f format) {
	// 1000 levels, and a name of 3900 bytes: the longest that unpacking can make
	// is PATH_MAX.
	long := strings.Repeat("e", 194)
	deep, wide := strings.Repeat("d/", 1000), strings.Repeat(long+"/", 19)
	l := newLayer(t, f)
	for _, name := range []string{deep, wide} {
		at, err := unix.Open(l.dir, unix.O_PATH, 0)
		must(t, err)
		for part := range strings.SplitSeq(strings.TrimSuffix(name, "/"), "/") {
			must(t, unix.Mkdirat(at, part, 0o755))
			next, err := unix.Openat(at, part, unix.O_PATH, 0)
			must(t, err)
			unix.Close(at)
			at = next
		}
		fd, err := unix.Openat(at, "leaf", unix.O_CREAT|unix.O_WRONLY, 0o644)
		must(t, err)
		unix.Close(fd)
		unix.Close(at)
	}
	b := newBox(t, d, newLayer(t, f).file("x", "").dir, l.dir).start()
	t.Chdir(b.root)
	defer t.Chdir("/") // a mount is busy while it is somebody's folder
	for _, name := range []string{deep, wide} {
		if _, err := os.Stat(name + "leaf"); err != nil {
			t.Errorf("…leaf: %v", errors.Unwrap(err))
		}
	}
}

func testRenameLower(t *testing.T, d Driver, f format) {
	l := newLayer(t, f).file("old/sub/file", "1").file("old/f2", "2")
	b := newBox(t, d, newLayer(t, f).hide("old/f2").dir, l.dir).start()
	// EXDEV is the kernel's answer without redirect_dir, and mv(1) copies then.
	err := os.Rename(b.path("old"), b.path("new"))
	if errors.Is(err, unix.EXDEV) {
		if b.read("old/sub/file") != "1" {
			t.Error("a refused rename changed the tree")
		}
		return
	}
	must(t, err)
	b.hidden("old", "new/f2")
	if b.read("new/sub/file") != "1" {
		t.Error("wrong contents after a rename")
	}
}

func testRecreate(t *testing.T, d Driver, f format) {
	l := newLayer(t, f).file("dir/a", "1").file("dir/b/c", "1").file("file", "1").file("swap/x", "1")
	b := newBox(t, d, l.dir).start()
	must(t, os.Remove(b.path("file")))
	b.hidden("file")
	b.write("file", "2")
	must(t, os.RemoveAll(b.path("dir")))
	b.hidden("dir")
	must(t, os.Mkdir(b.path("dir"), 0o755))
	b.lists("dir")
	must(t, os.RemoveAll(b.path("swap")))
	b.write("swap", "now a file")
	b.restart()
	b.lists("dir")
	if b.read("file") != "2" || b.read("swap") != "now a file" {
		t.Error("wrong contents")
	}
	if _, err := os.Stat(l.path("dir/b/c")); err != nil {
		t.Errorf("the layer was changed: %v", err)
	}
}

func testRestart(t *testing.T, d Driver, f format) {
	l := newLayer(t, f).file("a", "1").file("b", "1")
	b := newBox(t, d, l.dir)
	b.Volatile = true
	b.start()
	b.write("a", "2")
	b.write("c", "2")
	must(t, os.Remove(b.path("b")))
	for range 3 {
		b.restart()
		b.hidden("b")
		if b.read("a")+b.read("c") != "22" {
			t.Fatal("changes were lost")
		}
	}
	b.stop()
	b.driver = Auto // stays with the driver that wrote it
	if b.start(); b.live.Driver != d {
		t.Errorf("restarted with %s, was %s", b.live.Driver, d)
	}
	b.hidden("b")
}

func testRootFolder(t *testing.T, d Driver, f format) {
	l := newLayer(t, f).file("x", "")
	must(t, os.Chown(l.dir, 3, 4))
	must(t, os.Chmod(l.dir, 0o751))
	b := newBox(t, d, l.dir, newLayer(t, f).file("y", "").dir).start()
	if st := b.stat(""); st.Mode&0o7777 != 0o751 || st.Uid != 3 || st.Gid != 4 {
		t.Errorf("/ is %o of %d:%d, want 751 of 3:4", st.Mode&0o7777, st.Uid, st.Gid)
	}
}
