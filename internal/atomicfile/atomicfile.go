// Package atomicfile is the only writer of state files: a temporary file beside
// the target, then a rename, so that a reader or a crash sees the old text or
// the new one and never a part.
package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/linux"
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

// Write replaces path by data with the given mode, less the caller's umask. On error
// path is untouched and no temporary file is left.
func Write(path string, data []byte, mode os.FileMode, d Durability) (err error) {
	fd, tmp, err := create(path, mode)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = unix.Unlink(tmp)
		}
	}()
	if err = linux.WriteAll(fd, data); err == nil && d == Durable {
		err = unix.Fsync(fd)
	}
	if cerr := unix.Close(fd); err == nil {
		err = cerr
	}
	if err != nil {
		return &fs.PathError{Op: "write", Path: path, Err: err}
	}
	if err = unix.Rename(tmp, path); err != nil { // os.Rename asks first what is there
		return &os.LinkError{Op: "rename", Old: tmp, New: path, Err: err}
	}
	if d == Durable {
		return SyncDir(filepath.Dir(path))
	}
	return nil
}

// Make writes a new file with exactly that mode into a folder that nobody looks into
// yet, or whose readers take an empty file for none: it has its name before its text.
// errors.Is(err, fs.ErrExist) where there is one; no file is left on error. A third of
// the price of Write.
func Make(path string, data []byte, mode os.FileMode) error {
	fd, err := open(path, mode)
	if err != nil {
		return err
	}
	if err = linux.WriteAll(fd, data); err == nil && mode&0o077 != 0 { // that the umask may have cut
		err = unix.Fchmod(fd, uint32(mode.Perm()))
	}
	if cerr := unix.Close(fd); err == nil {
		err = cerr
	}
	if err != nil {
		_ = unix.Unlink(path)
		return &fs.PathError{Op: "write", Path: path, Err: err}
	}
	return nil
}

// create makes the temporary file. A name that is taken was left by a process
// which had our pid and was killed: the next one is tried.
func create(path string, mode os.FileMode) (fd int, tmp string, err error) {
	for {
		tmp = filepath.Dir(path) + "/." + filepath.Base(path) + "." + strconv.Itoa(os.Getpid()) + "." + strconv.Itoa(int(counter.Add(1)))
		if fd, err = open(tmp, mode); !errors.Is(err, fs.ErrExist) {
			return fd, tmp, err
		}
	}
}

// open makes a file that was not there.
func open(path string, mode os.FileMode) (int, error) {
	fd, err := linux.Open(path, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, uint32(mode.Perm()))
	if err != nil {
		return -1, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return fd, nil
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
