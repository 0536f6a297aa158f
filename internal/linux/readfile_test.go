package linux

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestReadFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	for _, n := range []int{0, 1, 1023, 1024, 1025, 8192, 70000} {
		want := bytes.Repeat([]byte{'x'}, n)
		if err := WriteFile(path, want, unix.O_CREAT|unix.O_TRUNC, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := ReadFile(path); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes came back as %d, %v", n, len(got), err)
		}
	}
	ours, err := ReadFile("/proc/self/status") // of unknown length, in parts
	theirs, oerr := os.ReadFile("/proc/self/status")
	if err != nil || oerr != nil || !bytes.HasPrefix(ours, theirs[:20]) || len(ours) < len(theirs)-100 {
		t.Errorf("/proc/self/status: %d bytes, %v; os has %d, %v", len(ours), err, len(theirs), oerr)
	}
}

func TestReadFileErrors(t *testing.T) {
	dir := t.TempDir()
	var pe *fs.PathError
	if _, err := ReadFile(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) || !errors.As(err, &pe) || pe.Op != "open" {
		t.Errorf("a missing file: %v", err)
	}
	if _, err := ReadFile(dir); !errors.Is(err, unix.EISDIR) || !errors.As(err, &pe) || pe.Path != dir {
		t.Errorf("a folder: %v", err)
	}
	if err := WriteFile(filepath.Join(dir, "none"), []byte("x"), 0, 0); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file to write: %v", err)
	}
	if err := WriteFile("/dev/full", []byte("x"), 0, 0); !errors.Is(err, unix.ENOSPC) || !errors.As(err, &pe) || pe.Op != "write" {
		t.Errorf("a full disk: %v", err)
	}
}

func TestWriteFileIsExclusiveWhereAsked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	for _, want := range []error{nil, fs.ErrExist} {
		if err := WriteFile(path, []byte("text"), unix.O_CREAT|unix.O_EXCL, 0o640); !errors.Is(err, want) {
			t.Errorf("%v, not %v", err, want)
		}
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "text" {
		t.Errorf("%q, %v", got, err)
	}
}

// A bound is kept whatever room was guessed, and the bytes before it are all there.
func TestReadAllIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	text := bytes.Repeat([]byte("0123456789"), 500)
	if err := WriteFile(path, text, unix.O_CREAT, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, room := range []int{1, 7, 5000, 5001, 1 << 20} {
		for _, most := range []int{0, 1, 6, 4999, 5000, 5001, 1 << 16} {
			fd, err := Open(path, unix.O_RDONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			got, err := ReadAll(fd, room, most)
			if want := text[:min(most, len(text))]; err != nil || !bytes.Equal(got, want) || cap(got) > most {
				t.Errorf("room %d, most %d: %d bytes of %d, %v", room, most, len(got), cap(got), err)
			}
			_ = unix.Close(fd)
		}
	}
	if _, err := ReadAll(-1, 1, 1); err != unix.EBADF {
		t.Errorf("no descriptor: %v", err)
	}
	if _, err := Open(path+"/x", unix.O_RDONLY, 0); err != unix.ENOTDIR {
		t.Errorf("a path that leads nowhere: %v", err)
	}
}
