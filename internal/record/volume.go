package record

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/atomicfile"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/linux"
)

// A volume is volumes/<name>: its data in _data, volume.json beside it, and lock.
// Who uses it is not written here: the record of each container says so, and is
// saved before the container makes or takes its volumes. Under the exclusive
// lock, whoever removes a volume reads these records:
//
//	rc run                                  rc volume rm
//	saves container.json, with the name     lock, exclusive
//	lock, shared                            reads every container.json: used? refused
//	makes what is missing, unlocks          renames the folder into trash/
//
// So either the remover sees the record, or the container finds the volume gone
// and makes a new one; it never writes into a folder that is being deleted.

// ErrNoVolume is wrapped by every look-up of a volume that is not there.
var ErrNoVolume = errors.New("no such volume")

// ErrVolumeInUse is wrapped when a container's record names the volume.
var ErrVolumeInUse = errors.New("volume is in use")

// Volume is one volume. Its file is never changed after it was made.
type Volume struct {
	Name      string
	Labels    map[string]string `json:",omitempty"`
	CreatedAt time.Time
	Anonymous bool `json:",omitempty"` // nobody gave the name
}

// VolumeData is the folder that containers see.
func (s *Store) VolumeData(name string) string { return s.Path("volumes", name, "_data") }

// validVolume keeps a name of a record or of an argument from being a path.
func validVolume(name string) bool {
	return name != "" && name[0] != '.' && !strings.ContainsAny(name, "/\x00")
}

// lockVolume takes the lock of a volume whose folder exists: errors.Is(err,
// ErrNoVolume) where it does not. It sees to it that the folder was not renamed
// away between the open and the lock.
func (s *Store) lockVolume(name string, how int) (*os.File, error) {
	if !validVolume(name) {
		return nil, fmt.Errorf("%q: %w", name, ErrNoVolume)
	}
	path := s.Path("volumes", name, "lock")
	for {
		f, err := LockFile(path, how)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
			return nil, ErrNoVolume
		}
		if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.EROFS) {
			// Of the version before, without a lock, on a disk without a byte: the
			// folder itself can be locked as well, and nobody can make the file.
			return lockFolder(s.Path("volumes", name), how)
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

func lockFolder(dir string, how int) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := linux.Flock(int(f.Fd()), how); err != nil {
		_ = f.Close()
		return nil, &fs.PathError{Op: "lock", Path: dir, Err: err}
	}
	return f, nil
}

// ProvideVolume takes the volume that v names, or makes it with v's labels; made
// tells which. Durable makes it survive a power loss. A container's record that
// names it is saved before this is called.
func (s *Store) ProvideVolume(v *Volume, d atomicfile.Durability) (made bool, err error) {
	if !validVolume(v.Name) {
		return false, fmt.Errorf("%q is no name of a volume", v.Name)
	}
	dir := s.Path("volumes", v.Name)
	for {
		switch err := unix.Mkdir(dir, 0o700); {
		case err == nil:
			made = true
		case err != unix.EEXIST:
			return false, &fs.PathError{Op: "mkdir", Path: dir, Err: err}
		}
		lock, err := s.lockVolume(v.Name, unix.LOCK_SH)
		if errors.Is(err, ErrNoVolume) {
			made = false
			continue // removed between the two calls
		}
		if err != nil {
			return false, errors.Join(err, s.takeBack(dir, made))
		}
		err = s.fillVolume(v, made, d)
		_ = lock.Close()
		if err != nil {
			err = errors.Join(err, s.takeBack(dir, made))
		}
		return made, err
	}
}

// takeBack removes what a full disk left half made.
func (s *Store) takeBack(dir string, made bool) error {
	if !made {
		return nil
	}
	_ = os.Remove(filepath.Join(dir, "_data"))
	_ = os.Remove(filepath.Join(dir, "lock"))
	_ = os.Remove(filepath.Join(dir, "volume.json"))
	err := os.Remove(dir)
	if errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, fs.ErrNotExist) {
		return nil // another start uses it already
	}
	return err
}

func (s *Store) fillVolume(v *Volume, made bool, d atomicfile.Durability) error {
	dir := s.Path("volumes", v.Name)
	data := filepath.Join(dir, "_data")
	if err := unix.Mkdir(data, 0o755); err == nil {
		_ = os.Chmod(data, 0o755) // whatever the caller's umask
	} else if err != unix.EEXIST {
		return &fs.PathError{Op: "mkdir", Path: data, Err: err}
	}
	if !made {
		return nil
	}
	if v.CreatedAt.IsZero() {
		v.CreatedAt = time.Now()
	}
	if err := saveJSON(filepath.Join(dir, "volume.json"), v, d); err != nil {
		return err
	}
	if d == atomicfile.Durable {
		return atomicfile.SyncDir(s.Path("volumes"))
	}
	return nil
}

// LoadVolume reads one volume: errors.Is(err, ErrNoVolume) when there is none. A
// folder without a record was made by an older version, or by somebody who was
// killed between two steps: what it must be follows from its name.
func (s *Store) LoadVolume(name string) (*Volume, error) {
	if !validVolume(name) {
		return nil, ErrNoVolume
	}
	dir := s.Path("volumes", name)
	info, err := os.Lstat(dir)
	if err != nil || !info.IsDir() {
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			err = ErrNoVolume
		}
		return nil, err
	}
	var v Volume
	if err := loadJSON(filepath.Join(dir, "volume.json"), &v); err != nil || v.Name != name {
		v = Volume{Name: name, CreatedAt: info.ModTime(), Anonymous: ValidID(name)}
		if data, err := os.Lstat(filepath.Join(dir, "_data")); err == nil && data.ModTime().Before(v.CreatedAt) {
			v.CreatedAt = data.ModTime()
		}
	}
	return &v, nil
}

// Volumes lists all, by name.
func (s *Store) Volumes() ([]*Volume, error) {
	entries, err := os.ReadDir(s.Path("volumes"))
	if err != nil {
		return nil, err
	}
	var list []*Volume
	for _, e := range entries {
		v, err := s.LoadVolume(e.Name())
		if errors.Is(err, ErrNoVolume) {
			continue // a file, or removed while we looked
		}
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Name < list[j].Name })
	return list, nil
}

// VolumeUsers says which containers, whatever their state and host, name which
// volume in their record. A record that cannot be read is an error, beside what the
// others name: no volume may be taken for unused.
func (s *Store) VolumeUsers() (map[string][]string, error) {
	ids, err := s.ContainerIDs()
	if err != nil {
		return nil, err
	}
	users := map[string][]string{}
	var bad error
	for _, id := range ids {
		c, err := s.LoadContainer(id)
		if errors.Is(err, fs.ErrNotExist) {
			continue // half made: it has no volumes yet
		}
		if err != nil {
			bad = hint.New("see which volumes container "+shortID(id)+" uses", err, "remove it: rc rm -f "+shortID(id)).WithCode(1)
			continue
		}
		for _, v := range c.Volumes {
			users[v.Name] = append(users[v.Name], id)
		}
	}
	return users, bad
}

// TrashVolume renames an unused volume out of sight and returns where it went;
// deleting it is slow, may need U0, and may be interrupted at any point. It
// refuses with ErrVolumeInUse and ErrNoVolume. except is a container that does not
// count because it is being removed, or "".
func (s *Store) TrashVolume(name, except string) (string, error) {
	lock, err := s.lockVolume(name, unix.LOCK_EX)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	users, err := s.VolumeUsers()
	if err != nil {
		return "", err
	}
	ids := slices.DeleteFunc(users[name], func(id string) bool { return id == except })
	if len(ids) > 0 {
		return "", fmt.Errorf("%w by container %s", ErrVolumeInUse, strings.Join(shortIDs(ids), ", "))
	}
	to := s.Path("trash", fmt.Sprintf("volume-%.64s-%d-%d", name, os.Getpid(), time.Now().UnixNano()))
	return to, os.Rename(s.Path("volumes", name), to)
}

func shortIDs(ids []string) []string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = shortID(id)
	}
	return out
}
