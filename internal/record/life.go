package record

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// The life lock of a container is an flock on <runtime>/c/<id>.lock. `rc` takes
// it before it makes anything and hands the same open file to the shim, so that
// there is no instant at which a half-made container looks abandoned. It lives
// in the runtime folder because the root may be on NFS and shared by hosts.

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
		f, err := LockFile(path, unix.LOCK_EX|unix.LOCK_NB)
		if err != nil {
			return nil, err
		}
		// The holder before us may have removed the path between our open and
		// our lock: then the lock is on a file that nobody else can find.
		var ours, there unix.Stat_t
		if unix.Fstat(int(f.Fd()), &ours) == nil && unix.Lstat(path, &there) == nil && ours.Ino == there.Ino {
			return f, nil
		}
		_ = f.Close()
	}
}

// DropLife removes the lock's path; the caller holds the lock.
func (s *Store) DropLife(id string, lock *os.File) {
	if path, err := s.LifeLockPath(id); err == nil {
		_ = os.Remove(path)
	}
	_ = lock.Close()
}

// Alive tells whether a live process holds the container's life lock. It takes
// no lock that another command could trip over for longer than two calls.
func (s *Store) Alive(id string) (bool, error) {
	path, err := s.LifeLockPath(id)
	if err != nil {
		return false, err
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer unix.Close(fd)
	switch err := unix.Flock(fd, unix.LOCK_SH|unix.LOCK_NB); err {
	case nil:
		return false, nil
	case unix.EWOULDBLOCK:
		return true, nil
	default:
		return false, err
	}
}

// ControlPath is the socket on which the container's shim listens.
func (s *Store) ControlPath(id string) (string, error) {
	rt, err := s.Runtime()
	if err != nil {
		return "", err
	}
	return filepath.Join(rt, "c", id+".sock"), nil
}
