package linux

import (
	"os"

	"golang.org/x/sys/unix"
)

// maxRaces bounds the repetitions of a lookup that lost against a rename:
// openat2(2) answers EAGAIN when it cannot prove that ".." stayed inside.
const maxRaces = 128

// OpenInRoot opens path as if dirfd were the root directory of the process:
// absolute names, "..", and symbolic links are followed, but never out of it,
// even while somebody swaps them. Magic links (/proc/PID/fd/…) are refused with
// ELOOP. O_CLOEXEC is added; mode matters only with O_CREAT or O_TMPFILE.
func OpenInRoot(dirfd int, path string, flags int, mode uint32) (*os.File, error) {
	return openHow(dirfd, path, flags, mode, unix.RESOLVE_IN_ROOT|unix.RESOLVE_NO_MAGICLINKS)
}

// OpenBeneath opens a path that must be relative and holds no symbolic link
// (ELOOP) and no way out of dirfd (EXDEV).
func OpenBeneath(dirfd int, path string, flags int, mode uint32) (*os.File, error) {
	return openHow(dirfd, path, flags, mode, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_SYMLINKS)
}

func openHow(dirfd int, path string, flags int, mode uint32, resolve uint64) (*os.File, error) {
	how := unix.OpenHow{Flags: uint64(flags) | unix.O_CLOEXEC, Resolve: resolve}
	// openat2 refuses a mode without O_CREAT with EINVAL, where open ignores it.
	// O_TMPFILE contains O_DIRECTORY, hence the comparison.
	if flags&unix.O_CREAT != 0 || flags&unix.O_TMPFILE == unix.O_TMPFILE {
		how.Mode = uint64(mode)
	}
	for range maxRaces {
		fd, err := unix.Openat2(dirfd, path, &how)
		switch err {
		case nil:
			return os.NewFile(uintptr(fd), path), nil
		case unix.EINTR, unix.EAGAIN:
			continue
		}
		return nil, fail("openat2", path, err)
	}
	return nil, fail("openat2", path, unix.EAGAIN)
}

// StatInRoot is fstatat with the lookup rules of OpenInRoot. The last component
// is followed when it is a symbolic link.
func StatInRoot(dirfd int, path string) (unix.Stat_t, error) {
	var st unix.Stat_t
	f, err := OpenInRoot(dirfd, path, unix.O_PATH, 0)
	if err != nil {
		return st, err
	}
	defer f.Close()
	return st, fail("fstat", path, unix.Fstat(int(f.Fd()), &st))
}
