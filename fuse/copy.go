package fuse

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/linux"
)

// mountCopy merges the layers into the upper folder, bottom-up, unless an
// earlier start did, and clones that folder as a mount. It is the driver that
// works everywhere; it costs the image's size in time and (without reflinks) in
// space, once per container.
//
// A crash at any moment is safe: the marker says "incomplete" before the first
// file is written and "copy" after the last is on the disk; what is incomplete
// is wiped and redone by the next Mount.
func mountCopy(f *folders, r Rootfs) (*os.File, error) {
	const op = "make the root file system by copying"
	tree, err := linux.OpenTree(f.upper, "", unix.OPEN_TREE_CLONE|unix.AT_EMPTY_PATH)
	if err != nil {
		return nil, hint.New(op, err, "")
	}
	if err := checkNoexec(tree); err != nil {
		tree.Close()
		return nil, err
	}
	if f.mark() != markCopy {
		if err := f.merge(r); err != nil {
			tree.Close()
			if cerr := clearDir(f.upper); cerr == nil {
				_ = f.setMark("")
			}
			return nil, hint.New(op, err, copyFix(err))
		}
	}
	return tree, nil
}

// checkNoexec refuses a store on which nothing could be executed: a clone keeps
// the flags of its mount, and a user namespace cannot clear them
// (mount_namespaces(7), locked flags). An overlay is a mount of its own.
func checkNoexec(tree *os.File) error {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(tree.Fd()), &st); err != nil {
		return hint.New("stat the store's file system", err, "")
	}
	if st.Flags&unix.ST_NOEXEC != 0 {
		return hint.Newf("make the root file system by copying", "choose a store on another file system with --root",
			"the store's file system is mounted noexec")
	}
	return nil
}

func copyFix(err error) string {
	switch {
	case errors.Is(err, unix.EMFILE):
		return "raise the limit of open files: ulimit -n 4096"
	case errors.Is(err, errUnmapped):
		return "give the container more ids: --userns=auto:size=65536, or more subordinate ids in /etc/subuid and /etc/subgid"
	}
	return writeFix(err)
}

// merge copies all layers and marks the result complete.
func (f *folders) merge(r Rootfs) error {
	if err := f.setMark(markPartial); err != nil {
		return err
	}
	dst, err := unix.Openat(f.upper, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(dst)
	for i := len(f.layers) - 1; i >= 0; i-- {
		if err := mergeLayer(f.layers[i], dst, f.work, r); err != nil {
			return fmt.Errorf("layer %q: %w", r.Layers[i], err)
		}
	}
	if !r.Volatile {
		// Delayed allocation: without this a power loss could leave the marker
		// with empty files behind it.
		if err := unix.Syncfs(dst); err != nil {
			return err
		}
	}
	return f.setMark(markCopy)
}

// mergeLayer copies one layer over what dst holds.
func mergeLayer(layer, dst, work int, r Rootfs) error {
	src, err := unix.Openat(layer, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(src)
	m := &merger{work: work, links: -1, seen: map[inode]string{}, shift: shift{r.UIDMap, r.GIDMap}}
	err = m.dir(src, dst)
	if derr := m.dropLinks(); err == nil {
		err = derr
	}
	return err
}
