package record

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/linux"
)

// A container that uses an image has a file images/<id>/users/<container>. It
// is made under the image's shared lock and outlives every process: a lock held
// by a process protects nothing once that process was killed.

// ErrImageInUse is wrapped when containers still refer to an image.
var ErrImageInUse = errors.New("image is in use")

// graceForRecord is how old a reference without a container record must be
// before it counts as left over: its maker may be about to write the record.
const graceForRecord = time.Minute

// lockImage takes the lock of an image: LOCK_SH to add a reference, LOCK_EX to
// save or remove it. It sees to it that the folder was not renamed away between
// the open and the lock. Without create, a missing image is ErrNoImage.
func (s *Store) lockImage(id string, how int, create bool) (*os.File, error) {
	path := s.Path("images", id, "lock")
	for {
		if create {
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				return nil, err
			}
		}
		f, err := LockFile(path, how)
		if errors.Is(err, fs.ErrNotExist) {
			if create {
				continue // removed between the two calls
			}
			return nil, noImage(id)
		}
		if err != nil {
			return nil, err
		}
		if linux.Leads(path, int(f.Fd())) {
			return f, nil
		}
		_ = f.Close()
	}
}

// AcquireImage records that a container uses an image, before its layers are
// first touched. ErrNoImage when the image was removed meanwhile. Making the
// container's record first keeps the reference from looking left over.
func (s *Store) AcquireImage(id, containerID string) error {
	lock, err := s.lockImage(id, unix.LOCK_SH, false)
	if err != nil {
		return err
	}
	defer lock.Close()
	if _, err := os.Lstat(s.Path("images", id, "image.json")); err != nil {
		return noImage(id)
	}
	return linux.WriteFile(s.Path("images", id, "users", containerID), nil, unix.O_CREAT, 0o600)
}

// ReleaseImage forgets a container's reference; a missing one is no error.
func (s *Store) ReleaseImage(id, containerID string) error {
	err := os.Remove(s.Path("images", id, "users", containerID))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// liveUsers lists the containers that refer to an image and drops references
// whose container's record is gone. The caller holds the exclusive lock.
func (s *Store) liveUsers(id string) ([]string, error) {
	entries, err := os.ReadDir(s.Path("images", id, "users"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var live []string
	for _, e := range entries {
		_, err := os.Lstat(s.Path("containers", e.Name()))
		gone := errors.Is(err, fs.ErrNotExist)
		if info, err := e.Info(); gone && err == nil && time.Since(info.ModTime()) > graceForRecord {
			_ = os.Remove(s.Path("images", id, "users", e.Name()))
			continue
		}
		live = append(live, e.Name())
	}
	return live, nil
}

// ImageUsers lists the containers that refer to an image.
func (s *Store) ImageUsers(id string) ([]string, error) {
	lock, err := s.lockImage(id, unix.LOCK_EX, false)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	return s.liveUsers(id)
}

// RemoveImage takes the record away under the exclusive lock: names first, so
// that nobody finds a name without an image, then the record by one rename. It
// refuses with ErrImageInUse while a container refers to it. The layers are
// left to rc-image, which alone can open their store.
func (s *Store) RemoveImage(id string) error { return s.removeImage(id, false) }

// ErrImageNamed is wrapped when an image has got a name meanwhile.
var ErrImageNamed = errors.New("image has a name")

// RemoveUnnamedImage is RemoveImage for an image without a tag: one that was given
// a name since somebody looked is refused with ErrImageNamed.
func (s *Store) RemoveUnnamedImage(id string) error { return s.removeImage(id, true) }

func (s *Store) removeImage(id string, unnamed bool) error {
	lock, err := s.lockImage(id, unix.LOCK_EX, false)
	if err != nil {
		return err
	}
	defer lock.Close()
	users, err := s.liveUsers(id)
	if err != nil {
		return err
	}
	if len(users) > 0 {
		return fmt.Errorf("%w by container %s", ErrImageInUse, shortID(users[0]))
	}
	names, err := s.NamesOf(id)
	if err != nil {
		return err
	}
	if tags := tagged(names); unnamed && len(tags) > 0 {
		return fmt.Errorf("%w: %s", ErrImageNamed, tags[0])
	}
	for _, ref := range names {
		if err := os.Remove(s.Path("image-names", nameFile(ref))); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	away := s.Path("trash", fmt.Sprintf("image-%s-%d-%d", id[:12], os.Getpid(), time.Now().UnixNano()))
	if err := os.Rename(s.Path("images", id), away); err != nil {
		return err
	}
	return os.RemoveAll(away)
}

func shortID(id string) string {
	if len(id) > 12 {
		return id[:12]
	}
	return id
}
