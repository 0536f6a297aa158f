package fuse

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
)

// flattenAt is the depth below which RemoveAll does not climb down further but
// moves the folder up to the top. It bounds descriptors and stack, and no path
// is ever built, so the tree may be any depth (a container can make one of
// 100 000 levels, which `rm -rf` by path cannot name).
const flattenAt = 64

// RemoveAll removes the file or tree called name in the folder dirfd. It is
// meant to run in U0, where the caller has power over all subordinate ids.
//
// The tree is hostile: it is walked by descriptors and never through a symbolic
// link, nor into another mount, whoever changes it meanwhile. A name that does
// not exist is no error. What cannot be removed stays, the rest goes, and the
// *hint.Error names the first such file and how many there are.
func RemoveAll(dirfd int, name string) error {
	if name == "" || name == "." || name == ".." || strings.Contains(name, "/") {
		return hint.New(fmt.Sprintf("remove %q", name), unix.EINVAL, "")
	}
	r := &remover{}
	r.remove(dirfd, name, name, 0)
	return r.err()
}

// clearDir removes everything in the folder fd (which may be O_PATH).
func clearDir(fd int) error {
	own, err := unix.Openat(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return hint.New("clear a folder", err, "")
	}
	dir := os.NewFile(uintptr(own), "upper")
	defer dir.Close()
	r := &remover{top: own}
	r.empty(dir, "", 1)
	return r.err()
}

type remover struct {
	top   int // folder that deep ones are moved to
	moved int
	left  map[string]bool // what could not be removed, by path
	first error
	path  string
}

func (r *remover) err() error {
	if len(r.left) == 0 {
		return nil
	}
	op := fmt.Sprintf("remove %q", r.path)
	if n := len(r.left); n > 1 {
		op += fmt.Sprintf(" and %d more", n-1)
	}
	return hint.New(op, r.first, removeFix(r.first))
}

func removeFix(err error) string {
	switch {
	case errors.Is(err, unix.EPERM):
		return "if `lsattr -d` shows i or a, ask the administrator to run: chattr -R -i -a FOLDER"
	case errors.Is(err, unix.EACCES):
		return "remove it in the user's namespace: rc unshare rm -rf FOLDER"
	case errors.Is(err, unix.EBUSY), errors.Is(err, unix.EXDEV):
		return "something is mounted there: umount it first"
	case errors.Is(err, unix.EROFS):
		return "the file system is read-only: remount it for writing"
	}
	return ""
}

// keep records that path stays. It always says false.
func (r *remover) keep(path string, err error) bool {
	if r.left == nil {
		r.left = map[string]bool{}
	}
	if len(r.left) == 0 {
		r.path, r.first = path, err
	}
	r.left[path] = true
	return false
}

// remove removes one entry and says whether it is gone.
func (r *remover) remove(dirfd int, name, path string, depth int) bool {
	err := unlink(dirfd, name, 0)
	if err == nil || err == unix.ENOENT {
		return true
	}
	if err != unix.EISDIR { // Linux says EISDIR for every folder (unlink(2))
		return r.keep(path, err)
	}
	// An empty folder goes at once, whatever its mode.
	err = unlink(dirfd, name, unix.AT_REMOVEDIR)
	switch err {
	case nil, unix.ENOENT:
		return true
	case unix.ENOTEMPTY, unix.EEXIST:
	default:
		return r.keep(path, err)
	}
	if depth >= flattenAt && r.moveUp(dirfd, name) {
		return true
	}
	dir, err := openSub(dirfd, name)
	if err != nil {
		return r.keep(path, err)
	}
	defer dir.Close()
	if depth == 0 {
		r.top = int(dir.Fd())
	}
	before := len(r.left)
	for range 3 { // again when somebody fills it meanwhile
		r.empty(dir, path, depth+1)
		if len(r.left) > before {
			return r.keep(path, unix.ENOTEMPTY)
		}
		err = unlink(dirfd, name, unix.AT_REMOVEDIR)
		if err == nil || err == unix.ENOENT {
			return true
		}
	}
	return r.keep(path, err)
}

// moveUp moves a deep folder into the top one, where a later pass finds it.
func (r *remover) moveUp(dirfd int, name string) bool {
	for range 100 {
		r.moved++
		to := ".rc-deep-" + strconv.Itoa(r.moved)
		err := unix.Renameat2(dirfd, name, r.top, to, unix.RENAME_NOREPLACE)
		if err == unix.EINVAL { // a file system without the flag (ramfs, some FUSE)
			err = unix.Renameat(dirfd, name, r.top, to)
		}
		if err == nil {
			return true
		}
		if err != unix.EEXIST && err != unix.ENOTEMPTY {
			return false // climb down after all; the descriptor limit is the bound
		}
	}
	return false
}

// empty removes the entries of dir, again and again until a pass finds nothing
// that it could remove: deep folders arrive in the top one while it is read.
func (r *remover) empty(dir *os.File, path string, depth int) {
	failed := map[string]bool{}
	for {
		progress := false
		if _, err := dir.Seek(0, 0); err != nil {
			r.keep(path, err)
			return
		}
		for {
			names, err := dir.Readdirnames(1024)
			for _, n := range names {
				if failed[n] {
					continue
				}
				if r.remove(int(dir.Fd()), n, path+"/"+n, depth) {
					progress = true
				} else {
					failed[n] = true
				}
			}
			// ENOENT: somebody removed the folder (getdents(2)).
			if err == io.EOF || errors.Is(err, unix.ENOENT) || err == nil && len(names) == 0 {
				break
			}
			if err != nil {
				r.keep(path, err)
				return
			}
		}
		if !progress {
			return
		}
	}
}

// unlink is unlinkat(2), and once more after giving the folder its write and
// search bits where those are what was missing. In U0 they never are.
func unlink(dirfd int, name string, flags int) error {
	for {
		err := unix.Unlinkat(dirfd, name, flags)
		if err == unix.EINTR {
			continue
		}
		if err == unix.EACCES && unix.Fchmod(dirfd, 0o700) == nil {
			err = unix.Unlinkat(dirfd, name, flags)
		}
		return err
	}
}

// openSub opens a folder for reading: no symbolic link, no other mount. A
// folder of mode 000 (overlay's work/work is one) is given back its bits.
func openSub(dirfd int, name string) (*os.File, error) {
	const flags = unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := open2(dirfd, name, unix.O_RDONLY|flags)
	if err == unix.EACCES {
		var at int
		if at, err = open2(dirfd, name, unix.O_PATH|flags); err != nil {
			return nil, err
		}
		defer unix.Close(at)
		// By descriptor: the name may be a link by now.
		if err = unix.Chmod(fdPath(at), 0o700); err != nil {
			return nil, err
		}
		fd, err = unix.Open(fdPath(at), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// open2 is openat2(2), or openat(2) where a seccomp filter does not know it.
func open2(dirfd int, name string, flags uint64) (int, error) {
	how := unix.OpenHow{Flags: flags, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_XDEV | unix.RESOLVE_NO_SYMLINKS}
	for {
		fd, err := unix.Openat2(dirfd, name, &how)
		switch err {
		case unix.EINTR, unix.EAGAIN:
			continue
		case unix.ENOSYS:
			return unix.Openat(dirfd, name, int(flags), 0)
		}
		return fd, err
	}
}
