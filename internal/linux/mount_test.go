package linux

import (
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

const mountNS = unix.CLONE_NEWUSER | unix.CLONE_NEWNS

func open(t *testing.T, path string) *os.File {
	t.Helper()
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	must(t, err)
	f := os.NewFile(uintptr(fd), path)
	t.Cleanup(func() { f.Close() })
	return f
}

// tmpfs mounts one on path.
func tmpfs(t *testing.T, path string) {
	t.Helper()
	m, err := NewMount("tmpfs", [][2]string{{"mode", "755"}, {"size", "1m"}}, unix.MOUNT_ATTR_NOSUID)
	must(t, err)
	defer m.Close()
	must(t, MoveMount(m, open(t, path)))
}

func TestMounts(t *testing.T) {
	if !again(t, mountNS) {
		return
	}
	must(t, SetPropagation(open(t, "/"), unix.MS_PRIVATE, true))
	base := t.TempDir()
	tmpfs(t, base)
	defer unix.Unmount(base, unix.MNT_DETACH)
	for _, dir := range []string{"/from", "/to"} {
		must(t, os.Mkdir(base+dir, 0o755))
	}
	must(t, os.Mkdir(base+"/from/sub", 0o755))
	tmpfs(t, base+"/from/sub")
	must(t, os.WriteFile(base+"/from/sub/file", nil, 0o644))

	tree, err := CloneTree(open(t, base+"/from"))
	must(t, err)
	defer tree.Close()
	must(t, SetMountAttr(tree, unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOATIME, 0, true))
	must(t, MoveMount(tree, open(t, base+"/to")))
	if _, err := os.Stat(base + "/to/sub/file"); err != nil {
		t.Errorf("the submount did not come along: %v", err)
	}
	for _, path := range []string{"/to/new", "/to/sub/new"} {
		if err := os.WriteFile(base+path, nil, 0o644); !errors.Is(err, unix.EROFS) {
			t.Errorf("write %s: %v, want EROFS", path, err)
		}
	}
	if err := os.WriteFile(base+"/from/sub/new", nil, 0o644); err != nil {
		t.Errorf("the original became read-only: %v", err)
	}
	plain, err := OpenTree(unix.AT_FDCWD, base+"/from", unix.OPEN_TREE_CLONE)
	must(t, err)
	plain.Close()
}

func TestMountErrorsSayWhatTheKernelSaid(t *testing.T) {
	if !again(t, mountNS) {
		return
	}
	_, err := NewMount("tmpfs", [][2]string{{"size", "cheese"}}, 0)
	if !errors.Is(err, unix.EINVAL) || !strings.Contains(err.Error(), "size") || !strings.Contains(err.Error(), "kernel: ") {
		t.Errorf("%v", err)
	}
	if _, err = NewMount("overlay", [][2]string{{"lowerdir", "/nonexistent"}}, 0); err == nil || !strings.Contains(err.Error(), "mount overlay") {
		t.Errorf("%v", err)
	}
	if _, err = Fsopen("nosuchfs"); !errors.Is(err, unix.ENODEV) || !strings.Contains(err.Error(), "nosuchfs") {
		t.Errorf("%v", err)
	}
	c, err := Fsopen("tmpfs")
	must(t, err)
	defer c.Close()
	if err = c.SetFD("size", os.Stdin); err == nil {
		t.Error("a descriptor as a size")
	}
	if _, err := OpenTree(unix.AT_FDCWD, "/nonexistent", 0); !errors.Is(err, unix.ENOENT) || !strings.Contains(err.Error(), "/nonexistent") {
		t.Errorf("%v", err)
	}
}

func TestNamespaceIdentity(t *testing.T) {
	a, err := OpenNamespace(0, unix.CLONE_NEWUSER)
	must(t, err)
	defer a.Close()
	b, err := OpenNamespace(os.Getpid(), unix.CLONE_NEWUSER)
	must(t, err)
	defer b.Close()
	net, err := OpenNamespace(0, unix.CLONE_NEWNET)
	must(t, err)
	defer net.Close()
	ida, err := NamespaceOf(a)
	must(t, err)
	idb, err := NamespaceOf(b)
	must(t, err)
	idn, err := NamespaceOf(net)
	must(t, err)
	if ida != idb || ida == idn {
		t.Errorf("%v %v %v", ida, idb, idn)
	}
	if kind, err := NamespaceKind(net); err != nil || kind != unix.CLONE_NEWNET {
		t.Errorf("%#x, %v", kind, err)
	}
	if _, err := NamespaceKind(os.Stdin); !errors.Is(err, unix.ENOTTY) {
		t.Errorf("stdin: %v", err)
	}
	owner, err := OwningUserNS(net)
	if errors.Is(err, unix.EPERM) {
		t.Skip("the network namespace belongs to an outer user namespace")
	}
	must(t, err)
	defer owner.Close()
	if kind, err := NamespaceKind(owner); err != nil || kind != unix.CLONE_NEWUSER {
		t.Errorf("owner is %#x, %v", kind, err)
	}
}
