package fuse

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
)

// folders holds a Rootfs as descriptors (O_PATH). Drivers name a folder as
// /proc/self/fd/N: no colon, comma or backslash of a path needs escaping, a
// list of 128 layers fits into one page, nothing is resolved twice, and the
// host's paths do not show up in the container's /proc/self/mountinfo.
type folders struct {
	layers      []int // topmost first
	upper, work int
	parent      int    // the folder that holds upper
	base        string // upper's name in parent
}

func openFolders(r Rootfs) (*folders, error) {
	f := &folders{upper: -1, work: -1, parent: -1, base: filepath.Base(r.Upper)}
	if len(r.Layers) == 0 {
		return nil, hint.Newf("mount a root file system", "", "no layers given")
	}
	var err error
	open := func(path, what string) int {
		fd := -1
		if err == nil {
			// Links are followed: a user may have moved the store and left one. What is
			// below these folders is a container's, and is never reached by a path.
			fd, err = unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
			if err != nil {
				err = hint.New(fmt.Sprintf("open %s %q", what, path), err, foldersFix(err))
			}
		}
		return fd
	}
	f.upper = open(r.Upper, "upper folder")
	f.work = open(r.Work, "work folder")
	f.parent = open(filepath.Dir(r.Upper), "container folder")
	for _, l := range r.Layers {
		f.layers = append(f.layers, open(l, "layer"))
	}
	if err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

func foldersFix(err error) string {
	switch {
	case errors.Is(err, unix.ENOENT):
		return "the store was changed behind rc's back: remove the image with `rc rmi` and pull it again"
	case errors.Is(err, unix.EMFILE):
		return "raise the limit of open files: ulimit -n 4096"
	}
	return ""
}

func (f *folders) close() {
	for _, fd := range append(f.layers, f.upper, f.work, f.parent) {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// fdPath is a name of descriptor fd for calls that want a path.
func fdPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// upperEmpty says whether nothing was ever written to the upper folder.
func (f *folders) upperEmpty() (bool, error) {
	fd, err := unix.Openat(f.upper, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false, hint.New("read the upper folder", err, "")
	}
	dir := os.NewFile(uintptr(fd), "upper")
	defer dir.Close()
	names, _ := dir.Readdirnames(1)
	return len(names) == 0, nil
}

// adoptRoot gives a fresh upper folder the mode, owner and time of the topmost
// layer's root: they are those of the container's `/` in an overlay, and a
// private 0700 folder would lock every user but root out of it.
func (f *folders) adoptRoot() error {
	var from, to unix.Stat_t
	if err := unix.Fstat(f.layers[0], &from); err != nil {
		return hint.New("stat the topmost layer", err, "")
	}
	if err := unix.Fstat(f.upper, &to); err != nil {
		return hint.New("stat the upper folder", err, "")
	}
	if from.Mode == to.Mode && from.Uid == to.Uid && from.Gid == to.Gid {
		return nil
	}
	path := fdPath(f.upper) // O_PATH: fchmod(2) is EBADF, chmod by path is not
	if from.Uid != to.Uid || from.Gid != to.Gid {
		if err := unix.Chown(path, int(from.Uid), int(from.Gid)); err != nil {
			return hint.New("give the upper folder the owner of the image's root", err, "")
		}
	}
	if err := unix.Chmod(path, from.Mode&0o7777); err != nil {
		return hint.New("give the upper folder the mode of the image's root", err, "")
	}
	return nil
}
