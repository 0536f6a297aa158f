package record

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/linux"
)

// The life lock of a container is an open file description lock (fcntl(2)) on
// <runtime>/c/<id>.lock. `rc` takes it before it makes anything and hands the
// same open file to the shim, so that there is no instant at which a half-made
// container looks abandoned. It lives in the runtime folder because the root may
// be on NFS and shared by hosts. Not a flock(2), which can only be asked about by
// taking it: `rc ps` would make a `rc rm` at the same moment fail.

// wholeFile is an exclusive lock, to be taken or to be asked about.
func wholeFile() *unix.Flock_t { return &unix.Flock_t{Type: unix.F_WRLCK, Whence: unix.SEEK_SET} }

// LifeLockPath is where the lock of a container stands.
func (s *Store) LifeLockPath(id string) (string, error) {
	rt, err := s.Runtime()
	if err != nil {
		return "", err
	}
	return filepath.Join(rt, "c", id+".lock"), nil
}

// TakeLife takes the life lock without waiting; errors.Is(err,
// unix.EWOULDBLOCK) when a live process holds it.
func (s *Store) TakeLife(id string) (*os.File, error) {
	path, err := s.LifeLockPath(id)
	if err != nil {
		return nil, err
	}
	for {
		fd, err := unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
		if err != nil {
			return nil, &os.PathError{Op: "open", Path: path, Err: err}
		}
		if err := unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, wholeFile()); err != nil {
			_ = unix.Close(fd)
			return nil, &os.PathError{Op: "lock", Path: path, Err: err}
		}
		// The holder before us may have removed the path between our open and
		// our lock: then the lock is on a file that nobody else can find.
		if linux.Leads(path, fd) {
			return os.NewFile(uintptr(fd), path), nil
		}
		_ = unix.Close(fd)
	}
}

// DropLife removes the lock's path; the caller holds the lock.
func (s *Store) DropLife(id string, lock *os.File) {
	if path, err := s.LifeLockPath(id); err == nil {
		_ = os.Remove(path)
	}
	_ = lock.Close()
}

// Alive tells whether a live process holds the container's life lock. It takes no
// lock itself.
func (s *Store) Alive(id string) (bool, error) {
	path, err := s.LifeLockPath(id)
	if err != nil {
		return false, err
	}
	return lifeHeld(unix.AT_FDCWD, path)
}

// lifeHeld asks about the lock at a path below a folder. Nobody holds one that is not there.
func lifeHeld(folder int, path string) (bool, error) {
	fd, err := unix.Openat(folder, path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err == unix.ENOENT {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer unix.Close(fd)
	held := wholeFile()
	err = unix.FcntlFlock(uintptr(fd), unix.F_OFD_GETLK, held)
	return err == nil && held.Type != unix.F_UNLCK, err
}

// ControlPath is the socket on which the container's shim listens.
func (s *Store) ControlPath(id string) (string, error) {
	rt, err := s.Runtime()
	if err != nil {
		return "", err
	}
	return filepath.Join(rt, "c", id+".sock"), nil
}
