package linux

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestNames(t *testing.T) {
	dir := t.TempDir()
	if names, err := Names(dir); err != nil || len(names) != 0 {
		t.Errorf("of an empty folder: %q %v", names, err)
	}
	var want []string
	for i := range 500 { // more than a buffer
		name := fmt.Sprintf("%03d a name that takes its place in the buffer", i)
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		want = append(want, name)
	}
	names, err := Names(dir)
	slices.Sort(names)
	if err != nil || !slices.Equal(names, want) {
		t.Errorf("%d names, %v", len(names), err)
	}
}

func TestNamesOfNoFolder(t *testing.T) {
	if _, err := Names(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder that is not there: %v", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if names, err := Names(file); err == nil {
		t.Errorf("a file has names: %q", names)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := NamesAt(int(f.Fd())); err == nil {
		t.Error("a file read as a folder")
	}
}
