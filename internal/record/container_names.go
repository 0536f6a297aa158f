package record

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/atomicfile"
	"github.com/rc-containers/rc/internal/linux"
)

// NameHolder reads which container holds a name: errors.Is(err, fs.ErrNotExist)
// when nobody does.
func (s *Store) NameHolder(name string) (string, error) {
	if name == "" || strings.ContainsAny(name, "/\x00") || name[0] == '.' {
		return "", ErrNoContainer
	}
	b, err := linux.ReadFile(s.Path("container-names", name))
	if err != nil {
		return "", err
	}
	id := strings.TrimSpace(string(b))
	if !ValidID(id) {
		return s.repairName(name)
	}
	return id, nil
}

// repairName gives a name whose text a power cut or something else took back to the
// container whose record has it, or frees it. Claiming a name must not wait for the disk, so such
// a name is possible; but never while its claim is under way, since the name
// appears with its text. The lock is for two who repair: the second must not
// remove what somebody claimed after the first had freed it.
func (s *Store) repairName(name string) (string, error) {
	lock, err := lockDir(s.Path("container-names"))
	if err != nil {
		return "", err
	}
	defer lock.Close()
	path := s.Path("container-names", name)
	b, err := linux.ReadFile(path)
	if err != nil {
		return "", err
	}
	if id := strings.TrimSpace(string(b)); ValidID(id) {
		return id, nil
	}
	id, err := s.recordNamed(name)
	if err != nil { // whose it is cannot be told: it stays
		return "", err
	}
	if id != "" {
		return id, atomicfile.Write(path, []byte(id+"\n"), 0o600, atomicfile.Fast)
	}
	if text := strings.Trim(string(b), "\x00 \n"); text != "" { // no power cut leaves that
		return "", fmt.Errorf("name %q holds %.80q, which is no container id", name, text)
	}
	if err := os.Remove(path); err != nil {
		return "", err
	}
	return "", &fs.PathError{Op: "read", Path: path, Err: fs.ErrNotExist}
}

// recordNamed is the container whose record has a name, "" when there is none: what
// `rc ps` shows, whatever became of the name's own file.
func (s *Store) recordNamed(name string) (string, error) {
	ids, err := s.ContainerIDs()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	for _, id := range ids {
		if c, err := s.LoadContainer(id); err == nil && c.Name == name {
			return id, nil
		}
	}
	return "", nil
}

// ClaimName gives name to id, exclusively: errors.Is(err, fs.ErrExist) when
// somebody holds it. The link makes the name and its text appear at once.
func (s *Store) ClaimName(name, id string) error {
	tmp := s.Path("container-names", "."+id)
	defer func() { _ = unix.Unlink(tmp) }() // a full disk leaves it made and empty
	// A private temporary file, published by the link below.
	if err := linux.WriteFile(tmp, []byte(id+"\n"), unix.O_CREAT|unix.O_TRUNC, 0o600); err != nil {
		return err
	}
	return os.Link(tmp, s.Path("container-names", name))
}

// DropName frees a name if id still holds it.
func (s *Store) DropName(name, id string) error {
	if holder, err := s.NameHolder(name); err != nil || holder != id {
		return nil
	}
	err := os.Remove(s.Path("container-names", name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
