package transfer

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// swap exchanges two names again and again, as a container does that wants us to
// follow its link (renameat2(2), RENAME_EXCHANGE).
func swap(t *testing.T, a, b string) (stop func() int64) {
	t.Helper()
	var n, end atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		for end.Load() == 0 {
			if unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE) == nil {
				n.Add(1)
			}
		}
	}()
	return func() int64 { end.Store(1); <-done; return n.Load() }
}

// world outside: a folder that nothing may be read from nor written to.
func secretFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte("the secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// A folder that is a link to the host's at every other moment: nothing is read
// through it.
func TestSwappedFolderIsNotReadThrough(t *testing.T) {
	secret, src := secretFolder(t), t.TempDir()
	for name, err := range map[string]error{
		"d": os.Mkdir(filepath.Join(src, "d"), 0o755), "d/f": os.WriteFile(filepath.Join(src, "d/f"), []byte("mine"), 0o600),
		"l": os.Symlink(secret, filepath.Join(src, "l")),
	} {
		if err != nil {
			t.Fatal(name, err)
		}
	}
	stop := swap(t, filepath.Join(src, "d"), filepath.Join(src, "l"))
	var out bytes.Buffer
	for end := time.Now().Add(time.Second); time.Now().Before(end); {
		s := newTarSink(&out, t.Logf)
		if err := walkOf(t, s).tree(openPath(t, src), "x"); err != nil {
			t.Error(err)
		}
		if bytes.Contains(out.Bytes(), []byte("the secret")) {
			t.Fatal("a file of the host is in the archive")
		}
		out.Reset()
	}
	if n := stop(); n < 100 {
		t.Skipf("only %d swaps: the race was not run", n)
	}
}

// The same on the way in: nothing is written through it, and what is there stays.
func TestSwappedFolderIsNotWrittenThrough(t *testing.T) {
	secret, dst := secretFolder(t), t.TempDir()
	if err := os.Mkdir(filepath.Join(dst, "d"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(secret, filepath.Join(dst, "l")); err != nil {
		t.Fatal(err)
	}
	stop := swap(t, filepath.Join(dst, "d"), filepath.Join(dst, "l"))
	put, refused := 0, 0
	for end := time.Now().Add(time.Second); time.Now().Before(end); {
		s := sinkInto(t, dst, false)
		err := s.put(&tar.Header{Typeflag: tar.TypeReg, Name: "d/f", Size: 4, Mode: 0o600}, strings.NewReader("evil"))
		if err == nil {
			put++
		} else {
			refused++
		}
		_ = s.base.Close()
		if got, _ := os.ReadFile(filepath.Join(secret, "f")); string(got) != "the secret" {
			t.Fatal("a file of the host was written")
		}
	}
	if n := stop(); n < 100 || put == 0 || refused == 0 {
		t.Logf("%d swaps, %d put, %d refused", n, put, refused)
	}
	if names, _ := os.ReadDir(secret); len(names) != 1 {
		t.Errorf("something was made in the host's folder: %v", names)
	}
}

// What an archive from outside may try.
func TestHostileArchive(t *testing.T) {
	secret := secretFolder(t)
	for name, c := range map[string]struct {
		entries []*tar.Header
		refused bool
	}{
		"out by ..":             {[]*tar.Header{{Name: "../x", Typeflag: tar.TypeReg}}, true},
		"out by a/../..":        {[]*tar.Header{{Name: "a/../../x", Typeflag: tar.TypeReg}}, true},
		"absolute is below":     {[]*tar.Header{{Name: secret + "/new", Typeflag: tar.TypeReg}}, false},
		"through its own link":  {[]*tar.Header{{Name: "l", Typeflag: tar.TypeSymlink, Linkname: secret}, {Name: "l/new", Typeflag: tar.TypeReg}}, true},
		"over its own link":     {[]*tar.Header{{Name: "l", Typeflag: tar.TypeSymlink, Linkname: secret + "/f"}, {Name: "l", Typeflag: tar.TypeReg}}, false},
		"hard link out":         {[]*tar.Header{{Name: "h", Typeflag: tar.TypeLink, Linkname: "../../../" + secret + "/f"}}, true},
		"hard link by link":     {[]*tar.Header{{Name: "l", Typeflag: tar.TypeSymlink, Linkname: secret}, {Name: "h", Typeflag: tar.TypeLink, Linkname: "l/f"}}, true},
		"hard link to a link":   {[]*tar.Header{{Name: "l", Typeflag: tar.TypeSymlink, Linkname: secret + "/f"}, {Name: "h", Typeflag: tar.TypeLink, Linkname: "l"}, {Name: "h", Typeflag: tar.TypeReg}}, false},
		"a device is left out":  {[]*tar.Header{{Name: "dev", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3}}, false},
		"a whiteout is too":     {[]*tar.Header{{Name: "wh", Typeflag: tar.TypeChar}}, false},
		"a file over a folder":  {[]*tar.Header{{Name: "d/", Typeflag: tar.TypeDir}, {Name: "d", Typeflag: tar.TypeReg}}, true},
		"a folder over a file":  {[]*tar.Header{{Name: "d", Typeflag: tar.TypeReg}, {Name: "d/", Typeflag: tar.TypeDir}}, true},
		"a folder over a link":  {[]*tar.Header{{Name: "d", Typeflag: tar.TypeSymlink, Linkname: secret}, {Name: "d/", Typeflag: tar.TypeDir, Mode: 0o777}}, true},
		"a pipe, then its file": {[]*tar.Header{{Name: "p", Typeflag: tar.TypeFifo}, {Name: "p", Typeflag: tar.TypeReg}}, false},
		"the folder itself":     {[]*tar.Header{{Name: "./", Typeflag: tar.TypeDir, Mode: 0o777}}, false},
		"unknown":               {[]*tar.Header{{Name: "u", Typeflag: 'Z'}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			dst := t.TempDir()
			s := sinkInto(t, dst, false)
			var err error
			for _, h := range c.entries {
				if err == nil {
					err = s.put(h, nil)
				}
			}
			s.finish()
			if (err != nil) != c.refused {
				t.Errorf("refused %v, want %v (%v)", err != nil, c.refused, err)
			}
			if err != nil && strings.ContainsAny(err.Error(), "\n\x1b") {
				t.Errorf("%q is not one plain line", err)
			}
			if names, _ := os.ReadDir(secret); len(names) != 1 {
				t.Errorf("something was made outside: %v", names)
			}
			if got, _ := os.ReadFile(filepath.Join(secret, "f")); string(got) != "the secret" {
				t.Error("a file outside was changed")
			}
			for _, n := range []string{"dev", "wh"} {
				if _, err := os.Lstat(filepath.Join(dst, n)); err == nil {
					t.Error("a device node was made")
				}
			}
		})
	}
}

// Names from a container reach no terminal as they are.
func TestNamesInMessages(t *testing.T) {
	evil := "x\x1b]0;owned\x07\u202e\nrc: all is well"
	for _, text := range []string{bare(evil, unix.EIO).Error(), strings.Map(printable, evil)} {
		if strings.ContainsAny(text, "\x1b\x07\u202e\n") {
			t.Errorf("%q", text)
		}
	}
}

// A file of which the file system does not say where its holes are stays sparse.
func TestZerosBecomeHoles(t *testing.T) {
	src, err := os.Create(filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	if err := src.Truncate(64 << 20); err != nil {
		t.Fatal(err)
	}
	if _, err := src.WriteAt([]byte("x"), 32<<20); err != nil {
		t.Fatal(err)
	}
	dst, err := os.Create(filepath.Join(t.TempDir(), "d"))
	if err != nil {
		t.Fatal(err)
	}
	defer dst.Close()
	if err := copyPart(dst, src, 0, 64<<20, true); err != nil {
		t.Fatal(err)
	}
	st, err := nodeStat(dst)
	if err != nil || st.Blocks > 1024 {
		t.Errorf("%d blocks, %v", st.Blocks, err)
	}
	b := make([]byte, 1)
	if _, err := dst.ReadAt(b, 32<<20); err != nil || b[0] != 'x' {
		t.Error("the content is not there")
	}
}
