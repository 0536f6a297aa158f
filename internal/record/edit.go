package record

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// EditContainer changes the record of a container that may be running: the change
// is made on what the record says now, and saved whole. Two edits at once wait for
// each other; who only reads takes no lock. An error of change is the result, and
// nothing is saved then. errors.Is(err, fs.ErrNotExist) when there is no record.
func (s *Store) EditContainer(id string, change func(*Container) error) error {
	dir, err := lockDir(s.ContainerDir(id))
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
	return s.SaveContainer(c)
}

// lockDir locks the folder itself: it needs no byte of a full disk, and goes
// to the trash with its container. NFS, which wants a lock's file open for writing
// (flock(2), "NFS details"), refuses; edits are then as atomic as their renames.
func lockDir(path string) (*os.File, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	for {
		err = unix.Flock(fd, unix.LOCK_EX)
		if err != unix.EINTR {
			break
		}
	}
	refused := errors.Is(err, unix.EBADF) || errors.Is(err, unix.ENOLCK) || errors.Is(err, unix.EOPNOTSUPP)
	if err != nil && !refused {
		_ = unix.Close(fd)
		return nil, &fs.PathError{Op: "lock", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}
