package record

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/atomicfile"
	"github.com/rc-containers/rc/internal/linux"
)

// EditContainer changes the record of a container that may be running: the change
// is made on what the record says now, and saved whole. Two edits at once wait for
// each other; who only reads takes no lock. An error of change is the result, and
// nothing is saved then. errors.Is(err, fs.ErrNotExist) when there is no record.
// It is on the disk when EditContainer returns: a power cut that left neither the
// old text nor the new would cost the container and all that was written in it.
func (s *Store) EditContainer(id string, change func(*Container) error) error {
	return s.edit(id, unix.LOCK_EX, change, atomicfile.Durable)
}

// EditStarting is EditContainer during a container's first start, which has nothing
// to lose yet and does not wait for the disk.
func (s *Store) EditStarting(id string, change func(*Container) error) error {
	return s.edit(id, unix.LOCK_EX, change, atomicfile.Fast)
}

// TryEditContainer is EditContainer that does not wait: errors.Is(err,
// unix.EWOULDBLOCK) while somebody else edits.
func (s *Store) TryEditContainer(id string, change func(*Container) error) error {
	return s.edit(id, unix.LOCK_EX|unix.LOCK_NB, change, atomicfile.Durable)
}

func (s *Store) edit(id string, how int, change func(*Container) error, d atomicfile.Durability) error {
	dir, err := lockDirAs(s.ContainerDir(id), how)
	if err != nil {
		return err
	}
	defer dir.Close()
	c, err := s.LoadContainer(id)
	if err != nil {
		return err
	}
	if err := change(c); err != nil {
		return err
	}
	return saveJSON(filepath.Join(s.ContainerDir(id), "container.json"), c, d)
}

// lockDir locks the folder itself: it needs no byte of a full disk, and goes
// to the trash with its container. NFS, which wants a lock's file open for writing
// (flock(2), "NFS details"), refuses; edits are then as atomic as their renames.
func lockDir(path string) (*os.File, error) { return lockDirAs(path, unix.LOCK_EX) }

func lockDirAs(path string, how int) (*os.File, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	err = linux.Flock(fd, how)
	refused := errors.Is(err, unix.EBADF) || errors.Is(err, unix.ENOLCK) || errors.Is(err, unix.EOPNOTSUPP)
	if err != nil && !refused {
		_ = unix.Close(fd)
		return nil, &fs.PathError{Op: "lock", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}
