package fuse

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

type inode struct{ dev, ino uint64 }

// merger copies one layer. Both trees are walked by descriptors: one of each a
// level, so a path of PATH_MAX/2 levels, the deepest that unpacking can make,
// needs 4096 of them.
type merger struct {
	work  int              // the driver's own folder
	links int              // folder in work with a name for each linked file so far; -1: none yet
	seen  map[inode]string // its name there
	shift shift
}

// dir merges folder src into folder dst, attributes last: each new entry sets
// the folder's time anew.
func (m *merger) dir(src, dst int) error {
	names, err := entries(src)
	if err != nil {
		return err
	}
	if err := hide(src, dst, names); err != nil {
		return err
	}
	for _, n := range names {
		if strings.HasPrefix(n, whPrefix) {
			continue
		}
		if err := m.entry(src, dst, n); err != nil {
			return fmt.Errorf("%q: %w", n, err)
		}
	}
	var st unix.Stat_t
	if err := unix.Fstat(src, &st); err != nil {
		return err
	}
	return m.attributes(src, dst, &st)
}

// entries reads the names in folder fd.
func entries(fd int) ([]string, error) {
	own, err := unix.Openat(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	dir := os.NewFile(uintptr(own), ".")
	defer dir.Close()
	return dir.Readdirnames(-1)
}

// hide applies the whiteouts of src before anything of it is copied: they are
// about the layers below only, even if the same layer has the name as well.
func hide(src, dst int, names []string) error {
	// Emptied, not replaced: the folder keeps its inode, which dst is open on.
	if opaqueDir(src, names) {
		return clearDir(dst)
	}
	for _, n := range names {
		if target, ok := whiteoutTarget(n); ok {
			if err := RemoveAll(dst, target); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *merger) entry(src, dst int, name string) error {
	var st unix.Stat_t
	if err := unix.Fstatat(src, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return m.subdir(src, dst, name)
	}
	// Whatever a lower layer has under this name, a whole tree included: a file, a
	// link or a whiteout replaces it, nothing merges with a folder but a folder.
	if err := RemoveAll(dst, name); err != nil {
		return err
	}
	if kernelWhiteout(&st) {
		return nil
	}
	id := inode{uint64(st.Dev), st.Ino}
	if have, ok := m.seen[id]; ok {
		return unix.Linkat(m.links, have, dst, name, 0)
	}
	made, err := m.file(src, dst, name, &st)
	if err != nil || !made || st.Nlink < 2 {
		return err
	}
	return m.keepLink(id, dst, name)
}

const linksName = "rc-links"

// keepLink puts a file with several links aside under a number, for its other
// names: a path to its first place could be longer than PATH_MAX, and a
// descriptor for each would be too many.
func (m *merger) keepLink(id inode, dst int, name string) (err error) {
	if m.links < 0 {
		if err := RemoveAll(m.work, linksName); err != nil { // of a copy that was killed
			return err
		}
		if err := unix.Mkdirat(m.work, linksName, 0o700); err != nil {
			return err
		}
		if m.links, err = unix.Openat(m.work, linksName, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
			return err
		}
	}
	have := strconv.Itoa(len(m.seen))
	if err := unix.Linkat(dst, name, m.links, have, 0); err != nil {
		return err
	}
	m.seen[id] = have
	return nil
}

// dropLinks removes the folder of numbers; the files keep their names.
func (m *merger) dropLinks() error {
	if m.links < 0 {
		return nil
	}
	unix.Close(m.links)
	return RemoveAll(m.work, linksName)
}

func (m *merger) subdir(src, dst int, name string) error {
	err := unix.Mkdirat(dst, name, 0o700)
	if err == unix.EEXIST {
		// Something of a lower layer. A folder is merged with, else replaced.
		if err = unix.Unlinkat(dst, name, 0); err == nil {
			err = unix.Mkdirat(dst, name, 0o700)
		} else if err == unix.EISDIR {
			err = nil
		}
	}
	if err != nil {
		return err
	}
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	from, err := unix.Openat(src, name, flags, 0)
	if err != nil {
		return err
	}
	defer unix.Close(from)
	to, err := unix.Openat(dst, name, flags, 0)
	if err != nil {
		return err
	}
	defer unix.Close(to)
	return m.dir(from, to)
}

// file makes one entry that is no folder, and says whether it did: sockets mean
// nothing without the process that made them, and a device node that this user
// may not make could not be opened below a user namespace anyway (nodev).
func (m *merger) file(src, dst int, name string, st *unix.Stat_t) (bool, error) {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return true, m.regular(src, dst, name, st)
	case unix.S_IFLNK:
		buf := make([]byte, unix.PathMax)
		n, err := unix.Readlinkat(src, name, buf)
		if err != nil {
			return false, err
		}
		if err := unix.Symlinkat(string(buf[:n]), dst, name); err != nil {
			return false, err
		}
	case unix.S_IFSOCK:
		return false, nil
	default:
		err := unix.Mknodat(dst, name, st.Mode&unix.S_IFMT|0o600, int(st.Rdev))
		if err == unix.EPERM && st.Mode&unix.S_IFMT != unix.S_IFIFO {
			return false, nil
		}
		if err != nil {
			return false, err
		}
	}
	return true, m.specialAttributes(src, dst, name, st)
}

func (m *merger) regular(src, dst int, name string, st *unix.Stat_t) error {
	from, err := unix.Openat(src, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(from)
	to, err := unix.Openat(dst, name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	defer unix.Close(to)
	if err := copyData(from, to, st.Size); err != nil {
		return err
	}
	return m.attributes(from, to, st)
}
