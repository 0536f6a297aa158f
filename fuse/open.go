package fuse

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/linux"
)

// Open makes a detached clone of the folder dir and of everything mounted below
// it (--rootfs DIR), private: what is mounted in the clone later does not come
// back out, nor the other way round. The caller's view of the file system
// decides what dir means.
func Open(dir string) (*Mounted, error) {
	op := fmt.Sprintf("open root file system %q", dir)
	at, err := os.OpenFile(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, hint.New(op, hint.Errno(err), openFix(err))
	}
	defer at.Close()
	tree, err := linux.CloneTree(at)
	if err != nil {
		return nil, hint.New(op, err, openFix(err))
	}
	if err := linux.SetPropagation(tree, unix.MS_PRIVATE, true); err != nil {
		tree.Close()
		return nil, hint.New(op, err, "")
	}
	return &Mounted{FD: tree}, nil
}

func openFix(err error) string {
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
		return "--rootfs takes an existing folder"
	case errors.Is(err, unix.EACCES):
		return "the folder and those above it must be searchable by you"
	case errors.Is(err, unix.EINVAL):
		// Cloning is refused for mounts that hide others (MNT_LOCKED) and for
		// mounts of another mount namespace.
		return "the folder must not be on a mount that another mount namespace owns"
	}
	return ""
}
