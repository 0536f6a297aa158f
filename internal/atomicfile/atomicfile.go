// Package atomicfile is the only writer of state files: a temporary file beside
// the target, then a rename, so that a reader or a crash sees the old text or
// the new one and never a part.
package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
)

// Durability says whether the bytes must be on the disk before Write returns.
type Durability bool

const (
	// Fast survives the death of any process, not a power loss.
	Fast Durability = false
	// Durable survives a power loss: fsync of the file and of its folder.
	Durable Durability = true
)

var counter atomic.Uint32

// Write replaces path by data with the given mode. On error path is untouched
// and no temporary file is left.
func Write(path string, data []byte, mode os.FileMode, d Durability) (err error) {
	f, tmp, err := create(path, mode)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(tmp)
		}
	}()
	if _, err = f.Write(data); err == nil && d == Durable {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err = os.Rename(tmp, path); err != nil {
		return err
	}
	if d == Durable {
		return SyncDir(filepath.Dir(path))
	}
	return nil
}

// create makes the temporary file. A name that is taken was left by a process
// which had our pid and was killed: the next one is tried.
func create(path string, mode os.FileMode) (*os.File, string, error) {
	for {
		tmp := filepath.Join(filepath.Dir(path),
			"."+filepath.Base(path)+"."+strconv.Itoa(os.Getpid())+"."+strconv.Itoa(int(counter.Add(1))))
		f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
		if !errors.Is(err, fs.ErrExist) {
			return f, tmp, err
		}
	}
}

// SyncDir makes the entries of a folder durable.
func SyncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = f.Sync()
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}
