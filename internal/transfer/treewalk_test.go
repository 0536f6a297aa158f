package transfer

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// sampleTree is a folder with one of everything that a user can make.
func sampleTree(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, do := range map[string]func(string) error{
		"a":                      func(p string) error { return os.WriteFile(p, []byte("content"), 0o640) },
		"d":                      func(p string) error { return os.Mkdir(p, 0o751) },
		"link":                   func(p string) error { return os.Symlink("/etc/passwd", p) },
		"pipe":                   func(p string) error { return unix.Mkfifo(p, 0o600) },
		"new\nline":              func(p string) error { return os.WriteFile(p, nil, 0o600) },
		"\xff\xfe":               func(p string) error { return os.WriteFile(p, []byte("x"), 0o600) },
		strings.Repeat("n", 250): func(p string) error { return os.WriteFile(p, nil, 0o600) },
	} {
		if err := do(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.WriteFile(filepath.Join(dir, "d/set"), []byte("s"), 0o755))
	must(os.Chmod(filepath.Join(dir, "d/set"), 0o4755))
	must(os.Link(filepath.Join(dir, "a"), filepath.Join(dir, "d/hard")))
	f, err := os.Create(filepath.Join(dir, "sparse"))
	must(err)
	must(f.Truncate(8 << 30))
	_, err = f.WriteAt([]byte("end"), 4<<30)
	must(err)
	must(f.Close())
	must(os.Chtimes(filepath.Join(dir, "d"), time.Unix(1e9, 5), time.Unix(1e9, 5)))
	return dir
}

func walkOf(t *testing.T, s sink) *walker {
	return &walker{sink: s, note: func(f string, a ...any) { t.Logf(f, a...) }, ctx: context.Background()}
}

func openPath(t *testing.T, dir string) *node {
	t.Helper()
	f, err := os.OpenFile(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	n, err := nodeOf(f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.close)
	return n
}

func sinkInto(t *testing.T, dir string, host bool) *treeSink {
	n := openPath(t, dir)
	return &treeSink{base: n.f, host: host, note: func(f string, a ...any) { t.Logf(f, a...) },
		owner: func(*tar.Header) (int, int, error) { return os.Getuid(), os.Getgid(), nil }}
}

// A tree copied to a tree is the same tree, holes and links included; on the host
// it has lost its set-id bits.
func TestTreeToTree(t *testing.T) {
	for _, host := range []bool{false, true} {
		src, dst := sampleTree(t), t.TempDir()
		s := sinkInto(t, dst, host)
		if err := walkOf(t, s).tree(openPath(t, src), ""); err != nil {
			t.Fatal(err)
		}
		s.finish()
		a, b := listTree(t, src), listTree(t, dst)
		if host {
			a = strings.ReplaceAll(a, "104755", "100755")
		}
		if a != b {
			t.Errorf("host %v:\n%s\nwas\n%s", host, b, a)
		}
		var st unix.Stat_t
		if err := unix.Stat(filepath.Join(dst, "sparse"), &st); err != nil || st.Blocks > 1024 {
			t.Errorf("the sparse file has %d blocks (%v)", st.Blocks, err)
		}
	}
}

// listTree is a tree as text: modes, sizes, link counts, targets, times.
func listTree(t *testing.T, dir string) string {
	t.Helper()
	var lines []string
	err := filepath.Walk(dir, func(p string, _ os.FileInfo, err error) error {
		if err != nil || p == dir {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(p, &st); err != nil {
			return err
		}
		target, _ := os.Readlink(p)
		size := st.Size
		if isDir(&st) {
			size = 0
		}
		lines = append(lines, strings.Join([]string{p[len(dir):], oct(st.Mode), itoa(size), itoa(int64(st.Nlink)), target, itoa(st.Mtim.Nano())}, " "))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	sort.Strings(lines)
	return strings.Join(lines, "\n")
}

func oct(m uint32) string { return string(appendOct(nil, m)) }
func itoa(n int64) string { return time.Duration(n).String() }
func appendOct(b []byte, m uint32) []byte {
	if m >= 8 {
		b = appendOct(b, m/8)
	}
	return append(b, '0'+byte(m%8))
}

// Two archives of one tree are the same bytes, and unpacking one makes the tree.
func TestTreeToArchive(t *testing.T) {
	src, dst := sampleTree(t), t.TempDir()
	if err := os.Remove(filepath.Join(src, "sparse")); err != nil { // an archive holds its zeros
		t.Fatal(err)
	}
	var one, two bytes.Buffer
	for _, buf := range []*bytes.Buffer{&one, &two} {
		s := newTarSink(buf, t.Logf)
		if err := walkOf(t, s).tree(openPath(t, src), "."); err != nil {
			t.Fatal(err)
		}
		if err := s.close(); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(one.Bytes(), two.Bytes()) {
		t.Error("two archives of one tree differ")
	}
	if err := unpackInto(t, dst, &one); err != nil {
		t.Fatal(err)
	}
	if a, b := listTree(t, src), listTree(t, dst); a != b {
		t.Errorf("unpacked:\n%s\nwas\n%s", b, a)
	}
}

func unpackInto(t *testing.T, dir string, in io.Reader) error {
	s := sinkInto(t, dir, false)
	for tr := tar.NewReader(in); ; {
		h, err := tr.Next()
		if err == io.EOF {
			s.finish()
			return nil
		}
		if err != nil {
			return err
		}
		if err := s.put(h, tr); err != nil {
			return err
		}
	}
}

func TestIDTable(t *testing.T) {
	table := idTable{{Inside: 0, Outside: 1, Size: 1000}, {Inside: 1000, Outside: 0, Size: 1}}
	for out, in := range map[uint32]int{0: 1000, 1: 0, 1000: 999, 1001: overflowID} {
		if got := table.inside(out); got != in {
			t.Errorf("%d is %d inside, want %d", out, got, in)
		}
	}
	if got, ok := table.outside(1000); got != 0 || !ok {
		t.Error(got, ok)
	}
	if _, ok := table.outside(1001); ok {
		t.Error("an id that the container lacks was found")
	}
	if got, ok := idTable(nil).outside(7); got != 7 || !ok {
		t.Error(got, ok)
	}
}

func TestHumanSize(t *testing.T) {
	for n, want := range map[int64]string{0: "0B", 2048: "2.05kB", 3072: "3.07kB", 21474837504: "21.5GB", 999: "999B"} {
		if got := humanSize(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}
