package linux

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// maxLinks is the kernel's own bound on symbolic links in one lookup (MAXSYMLINKS).
const maxLinks = 40

// MkdirAllInRoot makes the missing folders of path below dirfd and returns the
// last one as O_PATH. Symbolic links are followed inside dirfd only, dangling
// ones too (an image with /var/run -> /run and no /run is common). A folder that
// it makes gets mode, whatever the umask, and belongs to uid and gid; -1 leaves
// the owner, and so does a file system that refuses another one (EPERM or EINVAL
// in single-id mode). Folders that exist stay as they are.
//
// A component that is not a folder is ENOTDIR; ".." after a missing folder is
// ENOENT, as mkdir -p has it.
func MkdirAllInRoot(dirfd int, path string, mode uint32, uid, gid int) (*os.File, error) {
	for range maxLinks {
		f, err := OpenInRoot(dirfd, path, unix.O_PATH|unix.O_DIRECTORY, 0)
		if !errors.Is(err, unix.ENOENT) {
			return f, err
		}
		next, f, err := mkdirMissing(dirfd, path, owner{mode, uid, gid})
		if err != nil || f != nil {
			return f, err
		}
		path = next // a dangling link was met: the same walk with its target in place
	}
	return nil, fail("mkdir", path, unix.ELOOP)
}

// owner is what a new folder gets.
type owner struct {
	mode     uint32
	uid, gid int
}

// mkdirMissing finds the deepest existing folder of path and makes the rest one
// by one, each held open before the next is made in it. It returns the folder,
// or the path to start over with when a component is a dangling symbolic link.
func mkdirMissing(dirfd int, path string, o owner) (string, *os.File, error) {
	parts := strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
	have, dir, err := deepest(dirfd, parts)
	if err != nil {
		return "", nil, err
	}
	for i := have; i < len(parts); i++ {
		next, link, err := mkdirStep(dir, parts[i], o)
		if err != nil || link != "" {
			_ = dir.Close()
			return rejoin(parts, i, link), nil, err
		}
		_ = dir.Close()
		dir = next
	}
	return "", dir, nil
}

// rejoin is the path with its component i replaced by the link's target.
func rejoin(parts []string, i int, target string) string {
	rest := strings.Join(parts[i+1:], "/")
	if strings.HasPrefix(target, "/") {
		return target + "/" + rest
	}
	return strings.Join(parts[:i], "/") + "/" + target + "/" + rest
}

// deepest opens the longest prefix of parts that exists.
func deepest(dirfd int, parts []string) (int, *os.File, error) {
	for n := len(parts) - 1; n >= 0; n-- {
		dir, err := OpenInRoot(dirfd, "/"+strings.Join(parts[:n], "/"), unix.O_PATH|unix.O_DIRECTORY, 0)
		if err == nil {
			return n, dir, nil
		}
		if !errors.Is(err, unix.ENOENT) {
			return 0, nil, err
		}
	}
	return 0, nil, fail("mkdir", "/", unix.ENOENT) // the root itself was removed
}

// mkdirStep makes name in dir, or takes the folder that somebody made meanwhile.
// A symbolic link in that place is returned as its target.
func mkdirStep(dir *os.File, name string, o owner) (next *os.File, link string, err error) {
	if name == "." {
		next, err = OpenBeneath(int(dir.Fd()), ".", unix.O_PATH|unix.O_DIRECTORY, 0)
		return next, "", err
	}
	if name == ".." {
		return nil, "", fail("mkdir", name, unix.ENOENT)
	}
	err = unix.Mkdirat(int(dir.Fd()), name, o.mode)
	if err != nil && err != unix.EEXIST {
		return nil, "", fail("mkdir", name, err)
	}
	made := err == nil
	next, err = OpenBeneath(int(dir.Fd()), name, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		buf := make([]byte, unix.PathMax)
		if n, lerr := unix.Readlinkat(int(dir.Fd()), name, buf); lerr == nil {
			return nil, string(buf[:n]), nil
		}
		return nil, "", err
	}
	if made {
		if err = o.apply(next); err != nil {
			_ = next.Close()
			return nil, "", err
		}
	}
	return next, "", nil
}

// apply gives a folder its owner, then its mode, which chown may have cut.
func (o owner) apply(dir *os.File) error {
	if o.uid >= 0 || o.gid >= 0 {
		err := unix.Fchownat(int(dir.Fd()), "", o.uid, o.gid, unix.AT_EMPTY_PATH)
		if err != nil && err != unix.EPERM && err != unix.EINVAL {
			return fail("chown", dir.Name(), err)
		}
	}
	// fchmod refuses O_PATH (EBADF); the magic link names the same inode.
	return fail("chmod", dir.Name(), unix.Chmod(ProcFD(dir), o.mode))
}
