package transfer

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// deepTree makes folders in each other, without a path.
func deepTree(t *testing.T, dir string, levels int) {
	t.Helper()
	at, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	for i := 0; i < levels && err == nil; i++ {
		if err = unix.Mkdirat(at, "d", 0o755); err != nil {
			break
		}
		next := 0
		next, err = unix.Openat(at, "d", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		_ = unix.Close(at)
		at = next
	}
	if err != nil {
		t.Fatal(err)
	}
	_ = unix.Close(at)
}

// One short header can name half a million folders, and a container can make a
// hundred thousand: both are refused at once, not after hours or with the last
// descriptor.
func TestTooDeep(t *testing.T) {
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	if err := tw.WriteHeader(&tar.Header{Name: strings.Repeat("a/", 200_000) + "f", Typeflag: tar.TypeReg, Format: tar.FormatPAX}); err != nil {
		t.Fatal(err)
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	began, dst := time.Now(), t.TempDir()
	if err := unpackInto(t, dst, &b); err == nil || len(err.Error()) > 300 {
		t.Errorf("an archive of 200000 levels: %.300v", err)
	}
	if names, _ := os.ReadDir(dst); len(names) != 0 {
		t.Errorf("it has made %v", names)
	}
	src := t.TempDir()
	deepTree(t, src, 5000)
	most := 0
	s := newTarSink(io.Discard, t.Logf)
	watch := sinkFunc(func(h *tar.Header, data io.Reader) error {
		if fds, err := os.ReadDir("/proc/self/fd"); err == nil {
			most = max(most, len(fds))
		}
		return s.put(h, data)
	})
	if err := walkOf(t, watch).tree(openPath(t, src), "."); err == nil || len(err.Error()) > 300 {
		t.Errorf("a tree of 5000 levels: %.300v", err)
	}
	if most > 2*maxDepth+100 {
		t.Errorf("%d descriptors were open at once", most)
	}
	if d := time.Since(began); d > 20*time.Second {
		t.Errorf("it took %v", d)
	}
	ok := t.TempDir()
	deepTree(t, ok, maxDepth-10)
	if err := walkOf(t, s).tree(openPath(t, ok), "."); err != nil {
		t.Errorf("%d levels: %v", maxDepth-10, err)
	}
}

type sinkFunc func(*tar.Header, io.Reader) error

func (f sinkFunc) put(h *tar.Header, data io.Reader) error { return f(h, data) }
