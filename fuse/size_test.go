package fuse

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func sizeOf(t *testing.T, dir string) (int64, error) {
	t.Helper()
	parent, err := os.Open(filepath.Dir(dir))
	if err != nil {
		t.Fatal(err)
	}
	defer parent.Close()
	return Size(int(parent.Fd()), filepath.Base(dir))
}

func TestSize(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tree")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	if n, err := sizeOf(t, dir); n != 0 || err != nil {
		t.Errorf("what does not exist: %d %v", n, err)
	}
	must(os.MkdirAll(dir+"/a/b", 0o755))
	must(os.WriteFile(dir+"/a/one", make([]byte, 1000), 0o600))
	must(os.Link(dir+"/a/one", dir+"/a/b/again"))
	must(os.WriteFile(dir+"/two", make([]byte, 24), 0o600))
	big := filepath.Join(t.TempDir(), "outside")
	must(os.WriteFile(big, make([]byte, 1<<20), 0o600))
	must(os.Symlink(big, dir+"/link")) // its own length counts, not the target's
	must(unix.Mkfifo(dir+"/fifo", 0o600))
	if n, err := sizeOf(t, dir); n != int64(1024+len(big)) || err != nil {
		t.Errorf("%d %v, want %d", n, err, 1024+len(big))
	}
}

// A container can make a folder of any depth.
func TestSizeOfDeepTree(t *testing.T) {
	top := t.TempDir()
	fd, err := unix.Open(top, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	name := strings.Repeat("d", 100)
	for range 2 * maxSizeDepth {
		if err := unix.Mkdirat(fd, name, 0o700); err != nil {
			t.Fatal(err)
		}
		next, err := unix.Openat(fd, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		_ = unix.Close(fd)
		if err != nil {
			t.Fatal(err)
		}
		fd = next
	}
	_ = unix.Close(fd)
	parent, err := os.Open(top)
	if err != nil {
		t.Fatal(err)
	}
	defer parent.Close()
	t.Cleanup(func() {
		p, _ := os.Open(top)
		defer p.Close()
		_ = RemoveAll(int(p.Fd()), name)
	})
	if n, err := Size(int(parent.Fd()), name); n != 0 || err != nil {
		t.Errorf("%d %v", n, err)
	}
}

func TestSizeSaysWhatItCouldNotRead(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root reads every folder")
	}
	dir := filepath.Join(t.TempDir(), "tree")
	if err := os.MkdirAll(dir+"/closed", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/f", []byte("12345"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir+"/closed", 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(dir+"/closed", 0o700) })
	if n, err := sizeOf(t, dir); n != 5 || !errors.Is(err, unix.EACCES) {
		t.Errorf("%d %v", n, err)
	}
}
