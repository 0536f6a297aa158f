package fuse

import (
	"strings"

	"golang.org/x/sys/unix"
)

// Layers hide what is below them in one of two formats: the kernel's
// (Documentation/filesystems/overlayfs.rst: a 0:0 character device, the
// attribute user.overlay.opaque=y) and that of the tar archives
// (image-spec/layer.md, from aufs: `.wh.NAME`, `.wh..wh..opq`).
const (
	whPrefix = ".wh."
	whOpaque = ".wh..wh..opq"
	whMeta   = ".wh..wh." // other such names are aufs's own records: skipped
)

// kernelWhiteout says whether st is the kernel's whiteout.
func kernelWhiteout(st *unix.Stat_t) bool {
	return st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0
}

// whiteoutTarget is the name that the `.wh.` file name hides. ok is false for
// the records of aufs, and for a hostile `.wh...`, which would name `..`.
func whiteoutTarget(name string) (target string, ok bool) {
	target, ok = strings.CutPrefix(name, whPrefix)
	if !ok || strings.HasPrefix(name, whMeta) || target == "" || target == "." || target == ".." {
		return "", false
	}
	return target, true
}

// opaqueDir says whether the folder fd, with the given entries, hides all that
// is below it.
func opaqueDir(fd int, names []string) bool {
	for _, n := range names {
		if n == whOpaque {
			return true
		}
	}
	// user.fuseoverlayfs.opaque is what fuse-overlayfs writes where it may not
	// use user.overlay; trusted.* cannot be read in a user namespace.
	var v [2]byte
	for _, attr := range []string{"user.overlay.opaque", "user.fuseoverlayfs.opaque"} {
		if n, err := unix.Fgetxattr(fd, attr, v[:]); err == nil && n == 1 && v[0] == 'y' {
			return true
		}
	}
	return false
}

// driverXattr says whether an attribute is a driver's own record, which means
// nothing in a merged tree and must not be given to the container to read.
func driverXattr(name string) bool {
	return strings.HasPrefix(name, "user.overlay.") ||
		strings.HasPrefix(name, "trusted.overlay.") ||
		strings.HasPrefix(name, "user.fuseoverlayfs.")
}
