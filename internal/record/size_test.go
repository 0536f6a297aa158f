package record

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestTreeSize(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, n int) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, make([]byte, n), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	a := write("a", 1000)
	write("d/e/f", 234)
	if err := os.Link(a, filepath.Join(dir, "d/again")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/usr", filepath.Join(dir, "out")); err != nil { // 4 bytes, not the folder
		t.Fatal(err)
	}
	if n, err := TreeSize(dir); n != 1238 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := TreeSize(dir + "/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if os.Getuid() == 0 {
		t.Skip("root reads every folder: the rest needs a user")
	}
	if err := os.Chmod(filepath.Join(dir, "d/e"), 0); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(filepath.Join(dir, "d/e"), 0o700)
	if _, err := TreeSize(dir); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("%v", err)
	}
}
