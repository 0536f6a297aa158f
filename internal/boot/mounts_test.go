package boot

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// hostileTree is an image that wants what is mounted or made to end up outside.
var hostileTree = map[string]string{
	"outside/": "", "root/etc/": "", "root/up": "-> ../../outside", "root/abs": "-> /outside", "root/root": "-> /",
	"root/file": "text", "root/loop": "-> loop", "root/dangling": "-> nowhere/deep", "root/deep/a/b/": "",
	"root/etc/hosts": "-> ../../../outside/hosts", "root/linkdir": "-> deep/a",
}

// TestMountPointStaysInside: whatever links the image has, the place of a mount
// is made below the root, and nothing appears beside it.
func TestMountPointStaysInside(t *testing.T) {
	if !again(t, singleID...) {
		return
	}
	for dest, want := range map[string]string{
		"/data": "data", "/new/deep/place": "new/deep/place", "/up/x": "outside/x", "/abs": "outside", "/abs/x/y": "outside/x/y",
		"/root/etc": "etc", "/linkdir/c": "deep/a/c", "/dangling": "nowhere/deep", "/../../x": "x", "/deep/../../../y": "y",
	} {
		top := t.TempDir()
		write(t, top, hostileTree)
		b := newBox()
		b.root = openPath(t, top+"/root")
		f, err := b.mountPoint(dest, true)
		if err != nil {
			t.Errorf("%s: %v", dest, err)
			continue
		}
		got, err := os.Readlink(fdPath(f))
		must(t, err)
		f.Close()
		if got != top+"/root/"+want {
			t.Errorf("%s was made at %s, not at root/%s", dest, got, want)
		}
		if left, _ := os.ReadDir(top + "/outside"); len(left) != 0 {
			t.Errorf("%s made %v outside", dest, left)
		}
	}
}

func fdPath(f *os.File) string { return "/proc/self/fd/" + strconv.Itoa(int(f.Fd())) }

func TestMountPointRefusals(t *testing.T) {
	top := t.TempDir()
	write(t, top, hostileTree)
	b := newBox()
	b.root = openPath(t, top+"/root")
	for _, c := range []struct {
		dest  string
		dir   bool
		errno error
		text  string
	}{
		{"/", true, nil, "the root itself"},
		{"/.", true, nil, "the root itself"},
		{"/deep/..", true, nil, "the root itself"},
		{"/file", true, unix.ENOTDIR, "make the mount point /file"},
		{"/file/x", true, unix.ENOTDIR, "mount it elsewhere"},
		{"/loop", true, unix.ELOOP, "mount it elsewhere"},
		{"/loop/x", false, unix.ELOOP, "mount it elsewhere"},
	} {
		f, err := b.mountPoint(c.dest, c.dir)
		if err == nil {
			f.Close()
		}
		wantErr(t, err, c.errno, c.text)
	}
}

// /proc, /sys and /dev of an image that are links or files: CVE-2019-16884 and
// CVE-2019-19921 began like this.
func TestKernelFoldersMustBeReal(t *testing.T) {
	for _, name := range []string{"proc", "sys", "dev"} {
		for _, text := range []string{"-> etc", "-> /", "-> nowhere", "a file"} {
			for _, dest := range []string{"/" + name, "/" + name + "/", "//" + name, "/./" + name} {
				top := t.TempDir()
				write(t, top, map[string]string{"root/etc/": "", "root/" + name: text})
				b := newBox()
				b.root = openPath(t, top+"/root")
				f, err := b.mountPoint(dest, true)
				if err == nil {
					f.Close()
				}
				wantErr(t, err, nil, "the image is broken or hostile")
			}
		}
	}
}

func TestMakeFile(t *testing.T) {
	top := t.TempDir()
	write(t, top, hostileTree)
	b := newBox()
	b.root = openPath(t, top+"/root")
	for dest, want := range map[string]string{
		"/run/secret/key": "run/secret/key", "/etc/hosts": "outside/hosts", "/file": "file", "/etc/resolv.conf": "etc/resolv.conf",
	} {
		if dest == "/etc/hosts" { // its link leads to a folder that the root does not have
			must(t, os.MkdirAll(top+"/root/outside", 0o755))
		}
		f, err := b.mountPoint(dest, false)
		if err != nil {
			t.Errorf("%s: %v", dest, err)
			continue
		}
		got, _ := os.Readlink(fdPath(f))
		f.Close()
		if got != top+"/root/"+want {
			t.Errorf("%s is %s", dest, got)
		}
	}
	if text, _ := os.ReadFile(top + "/root/file"); string(text) != "text" {
		t.Error("an existing file was emptied")
	}
	if left, _ := os.ReadDir(top + "/outside"); len(left) != 0 {
		t.Errorf("made %v outside", left)
	}
}

// flagsAt are the ST_* flags of the mount at path.
func flagsAt(t *testing.T, path string) int64 {
	t.Helper()
	var st unix.Statfs_t
	must(t, unix.Statfs(path, &st))
	return st.Flags
}

func TestMountNew(t *testing.T) {
	if !again(t, ownKernel...) {
		return
	}
	b := newBox()
	root := b.onTmpfs(t)
	must(t, b.mountNew(&specs.Mount{Destination: "/t", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "noexec", "nodev", "ro", "noatime", "size=64k", "mode=1777"}}))
	st, err := os.Stat(root + "/t")
	must(t, err)
	if st.Mode() != os.ModeDir|os.ModeSticky|0o777 {
		t.Errorf("mode %v", st.Mode())
	}
	const all = unix.ST_NOSUID | unix.ST_NOEXEC | unix.ST_NODEV | unix.ST_RDONLY | unix.ST_NOATIME
	if got := flagsAt(t, root+"/t"); got&all != all {
		t.Errorf("flags %#x", got)
	}
	must(t, b.mountNew(&specs.Mount{Destination: "/dev/mqueue", Type: "mqueue"}))
	must(t, b.mountNew(&specs.Mount{Destination: "/dev/pts", Type: "devpts", Options: []string{"newinstance", "ptmxmode=0666", "mode=0620"}}))
	if _, err := os.Stat(root + "/dev/pts/ptmx"); err != nil {
		t.Error(err)
	}
	wantErr(t, b.mountNew(&specs.Mount{Destination: "/t2", Type: "tmpfs", Options: []string{"size=lots"}}), unix.EINVAL, "mount tmpfs on /t2")
	wantErr(t, b.mountNew(&specs.Mount{Destination: "/t3", Type: "nofs"}), unix.ENODEV, "mount nofs on /t3")
	wantErr(t, b.mountNew(&specs.Mount{Destination: "/t4", Type: "ext4", Source: "/dev/null"}), nil, "mount ext4 on /t4")
}

// bindBox has a source with a mount below it, which holds a file.
func bindBox(t *testing.T) (b *box, root, source string) {
	b = newBox()
	root, source = b.onTmpfs(t), t.TempDir()
	write(t, source, map[string]string{"f": "text", "sub/": ""})
	must(t, unix.Mount("sub", source+"/sub", "tmpfs", 0, ""))
	t.Cleanup(func() { _ = unix.Unmount(source+"/sub", unix.MNT_DETACH) })
	write(t, source, map[string]string{"sub/g": "below"})
	b.files["mount-0"] = treeOf(t, source)
	return b, root, source
}

// A read-only bind mount is read-only with everything below: a remount would
// leave the submount writable.
func TestBindReadOnly(t *testing.T) {
	if !again(t, singleID...) {
		return
	}
	b, root, source := bindBox(t)
	must(t, b.mountBind(0, &specs.Mount{Destination: "/data", Type: "bind", Source: source, Options: []string{"rbind", "ro", "rro", "nosuid"}}, false))
	for _, path := range []string{"/data/f", "/data/new", "/data/sub/g", "/data/sub/new"} {
		if err := os.WriteFile(root+path, nil, 0o600); !errors.Is(err, unix.EROFS) {
			t.Errorf("writing %s: %v", path, err)
		}
	}
	if text, err := os.ReadFile(root + "/data/sub/g"); string(text) != "below" {
		t.Errorf("the submount did not come along: %v", err)
	}
	if flagsAt(t, root+"/data/sub")&unix.ST_NOSUID == 0 {
		t.Error("nosuid does not reach the submount")
	}
	must(t, os.WriteFile(source+"/f", []byte("host's own view stays writable"), 0o600))
}

// "ro" alone is about the mount itself (--mount …,bind-recursive=writable).
func TestBindReadOnlyShallow(t *testing.T) {
	if !again(t, singleID...) {
		return
	}
	b, root, source := bindBox(t)
	must(t, b.mountBind(0, &specs.Mount{Destination: "/data", Type: "bind", Source: source, Options: []string{"rbind", "ro", "nosuid"}}, false))
	if err := os.WriteFile(root+"/data/f", nil, 0o600); !errors.Is(err, unix.EROFS) {
		t.Errorf("writing the mount: %v", err)
	}
	if err := os.WriteFile(root+"/data/sub/g", nil, 0o600); err != nil {
		t.Errorf("writing the submount: %v", err)
	}
}

func TestBindOptions(t *testing.T) {
	if !again(t, singleID...) {
		return
	}
	for option, flag := range map[string]int64{"noexec": unix.ST_NOEXEC, "nodev": unix.ST_NODEV, "noatime": unix.ST_NOATIME, "nodiratime": unix.ST_NODIRATIME, "ro": unix.ST_RDONLY, "nosymfollow": 0x2000} {
		b := newBox()
		root, source := b.onTmpfs(t), t.TempDir()
		must(t, unix.Mount("s", source, "tmpfs", 0, "")) // a mount of ours: its flags are not locked
		b.files["mount-0"] = treeOf(t, source)
		if err := b.mountBind(0, &specs.Mount{Destination: "/d", Type: "bind", Source: source, Options: []string{"rbind", option}}, false); err != nil {
			t.Errorf("%s: %v", option, err)
		} else if flagsAt(t, root+"/d")&flag == 0 {
			t.Errorf("%s has no effect", option)
		}
		_ = unix.Unmount(source, unix.MNT_DETACH)
	}
}

// propagationOf reads what /proc/self/mountinfo says of the mount at path.
func propagationOf(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile("/proc/self/mountinfo")
	must(t, err)
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); f[4] == path {
			before, _, _ := strings.Cut(line, " - ")
			words := strings.Fields(before)[6:]
			for i, w := range words {
				words[i], _, _ = strings.Cut(w, ":")
			}
			return strings.Join(words, " ")
		}
	}
	t.Fatalf("%s is no mount", path)
	return ""
}

func TestBindPropagation(t *testing.T) {
	if !again(t, singleID...) {
		return
	}
	for option, want := range map[string]string{"": "", "rprivate": "", "shared": "shared", "rshared": "shared", "rslave": "master", "unbindable": "unbindable"} {
		b := newBox()
		root, source := b.onTmpfs(t), t.TempDir()
		must(t, unix.Mount("s", source, "tmpfs", 0, ""))
		must(t, unix.Mount("", source, "", unix.MS_SHARED, ""))
		b.files["mount-0"] = treeOf(t, source)
		must(t, b.mountBind(0, &specs.Mount{Destination: "/d", Type: "bind", Options: []string{"rbind", option}}, false))
		if got := propagationOf(t, root+"/d"); got != want {
			t.Errorf("%q gives %q", option, got)
		}
		_ = unix.Unmount(source, unix.MNT_DETACH)
	}
}

func TestBindFileAndRefusals(t *testing.T) {
	if !again(t, singleID...) {
		return
	}
	b := newBox()
	root, dir := b.onTmpfs(t), t.TempDir()
	write(t, dir, map[string]string{"hosts": "127.0.0.1 me"})
	b.files["mount-0"] = treeOf(t, dir+"/hosts")
	must(t, b.mountBind(0, &specs.Mount{Destination: "/etc/hosts", Type: "bind", Source: dir + "/hosts"}, false))
	if text, _ := os.ReadFile(root + "/etc/hosts"); string(text) != "127.0.0.1 me" {
		t.Errorf("%q", text)
	}
	wantErr(t, b.mountBind(7, &specs.Mount{Source: "/s", Destination: "/d"}, false), nil, "mount /s on /d: no descriptor came with it")
	must(t, os.Mkdir(root+"/folder", 0o755))
	b.files["mount-1"] = treeOf(t, dir+"/hosts")
	wantErr(t, b.mountBind(1, &specs.Mount{Source: "/s", Destination: "/folder"}, false), unix.EISDIR, "the image has a folder there")
}

// An image that leads a volume into /proc by a link would replace what init
// itself reads there, and the copy-up would read all of /proc.
func TestBindKeepsProc(t *testing.T) {
	if !again(t, append([]string{"--pid", "--fork"}, ownKernel...)...) {
		return
	}
	b := newBox()
	root, vol := b.onTmpfs(t), t.TempDir()
	write(t, root, map[string]string{"data": "-> /proc", "deep": "-> proc/self"})
	write(t, vol, map[string]string{"f": "x"})
	if err := b.mountNew(&specs.Mount{Destination: "/proc", Type: "proc"}); errors.Is(err, unix.EPERM) {
		t.Skipf("something covers a part of this host's /proc: %v", err)
	} else {
		must(t, err)
	}
	try := func(source, dest string, fresh bool) error {
		b.files["mount-0"] = treeOf(t, source)
		return b.mountBind(0, &specs.Mount{Source: source, Destination: dest, Type: "bind"}, fresh)
	}
	for _, dest := range []string{"/data", "/data/", "/proc", "/deep/fd"} {
		wantErr(t, try(vol, dest, true), nil, "it leads into /proc")
	}
	wantErr(t, try(vol+"/f", "/data/self/setgroups", false), nil, "it leads into /proc")
	must(t, try(vol+"/f", "/proc/uptime", false)) // lxcfs; by its own name the user decides
	if text, err := os.ReadFile(root + "/proc/uptime"); string(text) != "x" {
		t.Errorf("%q %v", text, err)
	}
}
