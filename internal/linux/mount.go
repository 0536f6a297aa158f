package linux

import (
	"os"

	"golang.org/x/sys/unix"
)

// OpenTree is open_tree(2). With unix.OPEN_TREE_CLONE it makes a detached copy
// of the mount at path (needs CAP_SYS_ADMIN in the user namespace that owns the
// mount namespace); with AT_RECURSIVE of everything below it. In a user
// namespace a copy without AT_RECURSIVE of a tree that has locked submounts is
// EINVAL: what they cover must not be uncovered (mount_namespaces(7)).
func OpenTree(dirfd int, path string, flags uint) (*os.File, error) {
	fd, err := unix.OpenTree(dirfd, path, flags|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return nil, fail("open_tree", path, err)
	}
	return os.NewFile(uintptr(fd), path), nil
}

// CloneTree is a detached recursive copy of the mounts at f, ready for MoveMount.
func CloneTree(f *os.File) (*os.File, error) {
	fd, err := unix.OpenTree(int(f.Fd()), "",
		unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE|unix.AT_EMPTY_PATH)
	if err != nil {
		return nil, fail("open_tree", f.Name(), err)
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

// MoveMount attaches the detached mount tree onto the target folder or file.
// Both are descriptors (target may be O_PATH): no path is resolved here.
func MoveMount(tree, target *os.File) error {
	return fail("move_mount", target.Name(), unix.MoveMount(int(tree.Fd()), "", int(target.Fd()), "",
		unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH))
}

// SetMountAttr sets and clears MOUNT_ATTR_* on the mount at f, and on all below
// it when recursive. This is how a bind becomes read-only with its submounts: a
// remount would leave those writable. Clearing a flag that the kernel locked
// is EPERM.
func SetMountAttr(f *os.File, set, clear uint64, recursive bool) error {
	flags := uint(unix.AT_EMPTY_PATH)
	if recursive {
		flags |= unix.AT_RECURSIVE
	}
	attr := unix.MountAttr{Attr_set: set, Attr_clr: clear}
	// The MOUNT_ATTR__ATIME values are one field, not bits: to set one, the whole
	// field has to be cleared in the same call (mount_setattr(2)).
	if set&unix.MOUNT_ATTR__ATIME != 0 {
		attr.Attr_clr |= unix.MOUNT_ATTR__ATIME
	}
	return fail("mount_setattr", f.Name(), unix.MountSetattr(int(f.Fd()), "", flags, &attr))
}

// SetPropagation changes the propagation (unix.MS_PRIVATE, MS_SLAVE, …) of the
// mount at f, recursively when asked.
func SetPropagation(f *os.File, propagation uint64, recursive bool) error {
	flags := uint(unix.AT_EMPTY_PATH)
	if recursive {
		flags |= unix.AT_RECURSIVE
	}
	attr := unix.MountAttr{Propagation: propagation}
	return fail("mount_setattr", f.Name(), unix.MountSetattr(int(f.Fd()), "", flags, &attr))
}
