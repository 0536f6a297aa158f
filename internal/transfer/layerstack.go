package transfer

import (
	"errors"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/linux"
)

// Marks of layers: Documentation/filesystems/overlayfs.rst ("whiteouts and opaque
// directories") and image-spec layer.md.
const (
	whiteoutPrefix = ".wh."
	opaqueMark     = ".wh..wh..opq"
)

// stack is one folder as several layers show it, topmost first. It needs no
// mount, so a container's image can be looked at while the container runs.
type stack []*os.File

// openStack opens the root folders of layers.
func openStack(dirs []string) (stack, error) {
	var s stack
	for _, dir := range dirs {
		f, err := os.OpenFile(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			s.close()
			return nil, err
		}
		s = append(s, f)
	}
	return s, nil
}

func (s stack) close() {
	for _, f := range s {
		_ = f.Close()
	}
}

// found is what a stack has under a name; none where nothing is.
type found struct {
	in  *os.File // folder that holds it, borrowed from the stack
	st  unix.Stat_t
	sub stack // of a folder: itself in all layers that show through; the caller's to close
}

// lookup finds name; in is nil where no layer has it or the topmost hides it.
func (s stack) lookup(name string) (found, error) {
	var r found
	for _, dir := range s {
		var st unix.Stat_t
		err := unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW)
		if err == unix.ENOENT {
			if hidden(dir, name) {
				return r, nil
			}
			continue
		}
		if err != nil {
			return r, &os.PathError{Op: "stat", Path: name, Err: err}
		}
		if kernelWhiteout(&st) {
			return r, nil
		}
		if r.in != nil && !isDir(&st) {
			return r, nil // a file below a folder: not merged with
		}
		if r.in == nil {
			r.in, r.st = dir, st
		}
		if !isDir(&st) {
			return r, nil
		}
		sub, err := openFolder(dir, name)
		if err != nil {
			r.sub.close()
			return found{}, err
		}
		r.sub = append(r.sub, sub)
		if opaque(sub) || hidden(dir, name) {
			return r, nil
		}
	}
	return r, nil
}

// names lists what the merged folder holds, sorted.
func (s stack) names() ([]string, error) {
	all, gone := map[string]bool{}, map[string]bool{}
	for _, dir := range s {
		list, err := readNames(dir)
		if err != nil {
			return nil, err
		}
		var hides []string
		for _, n := range list {
			if target, ok := strings.CutPrefix(n, whiteoutPrefix); ok {
				hides = append(hides, target)
				continue
			}
			var st unix.Stat_t
			if unix.Fstatat(int(dir.Fd()), n, &st, unix.AT_SYMLINK_NOFOLLOW) == nil && kernelWhiteout(&st) {
				hides = append(hides, n)
				continue
			}
			if !gone[n] {
				all[n] = true
			}
		}
		for _, n := range hides { // for the layers below only
			if !all[n] {
				gone[n] = true
			}
		}
	}
	var names []string
	for n := range all {
		names = append(names, n)
	}
	slices.Sort(names)
	return names, nil
}

func isDir(st *unix.Stat_t) bool { return st.Mode&unix.S_IFMT == unix.S_IFDIR }

func kernelWhiteout(st *unix.Stat_t) bool {
	return st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0
}

// hidden tells whether a folder hides name from the layers below by a file.
func hidden(dir *os.File, name string) bool {
	var st unix.Stat_t
	return unix.Fstatat(int(dir.Fd()), whiteoutPrefix+name, &st, unix.AT_SYMLINK_NOFOLLOW) == nil
}

// opaque tells whether a folder hides all that is below it.
func opaque(dir *os.File) bool {
	var v [2]byte
	for _, attr := range []string{"user.overlay.opaque", "user.fuseoverlayfs.opaque"} {
		if n, err := unix.Fgetxattr(int(dir.Fd()), attr, v[:]); err == nil && n == 1 && v[0] == 'y' {
			return true
		}
	}
	var st unix.Stat_t
	return unix.Fstatat(int(dir.Fd()), opaqueMark, &st, unix.AT_SYMLINK_NOFOLLOW) == nil
}

// openFolder opens a folder of a folder for reading, never through a link. A
// container may rename it away meanwhile: errors.Is(err, fs.ErrNotExist), or
// ENOTDIR and ELOOP for what took its place.
func openFolder(dir *os.File, name string) (*os.File, error) {
	return linux.OpenBeneath(int(dir.Fd()), name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
}

// vanished tells whether an entry went away between reading its name and opening
// it, which is no failure of reading a tree that is alive.
func vanished(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ESTALE)
}

// readNames reads a folder that was opened for reading, from its beginning, sorted.
func readNames(dir *os.File) ([]string, error) {
	if _, err := dir.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	names, err := dir.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}
