package fuse

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// maxSizeDepth bounds the descriptors that Size holds at once.
const maxSizeDepth = 500

// Size is how many bytes the files below name in the folder dirfd have, as
// `docker system df` counts: the length of each file once, however many names it
// has, and nothing for folders. Another mount below is not looked into, nor what
// lies more than 500 folders deep. The tree may be hostile and may change
// meanwhile: it is walked by descriptors, and no link is followed.
//
// errors.Is(err, unix.EACCES) where a folder cannot be read; what could be counted
// is in the result. A name that does not exist has no bytes.
func Size(dirfd int, name string) (int64, error) {
	s := &sizer{seen: map[[2]uint64]bool{}}
	s.entry(dirfd, name, 0)
	return s.bytes, s.first
}

type sizer struct {
	bytes int64
	seen  map[[2]uint64]bool // files of several names, by device and inode
	first error
}

func (s *sizer) entry(dirfd int, name string, depth int) {
	var st unix.Stat_t
	err := unix.Fstatat(dirfd, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	if err != nil {
		s.fail(err)
		return
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		s.folder(dirfd, name, depth)
		return
	}
	if st.Nlink > 1 {
		key := [2]uint64{uint64(st.Dev), st.Ino} //nolint:unconvert // Dev is 32 bits wide on some architectures
		if s.seen[key] {
			return
		}
		s.seen[key] = true
	}
	s.bytes += st.Size
}

func (s *sizer) folder(dirfd int, name string, depth int) {
	if depth == maxSizeDepth {
		return
	}
	resolve := uint64(unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS)
	if depth > 0 {
		resolve |= unix.RESOLVE_NO_XDEV
	}
	fd, err := unix.Openat2(dirfd, name, &unix.OpenHow{Flags: unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: resolve})
	if err != nil {
		s.fail(err)
		return
	}
	dir := os.NewFile(uintptr(fd), name)
	defer dir.Close()
	for {
		names, err := dir.Readdirnames(256)
		for _, n := range names {
			s.entry(fd, n, depth+1)
		}
		if err != nil {
			return // the end; a folder that was removed under us is at its end, too
		}
	}
}

// fail keeps the first error that says that the sum is too small.
func (s *sizer) fail(err error) {
	if s.first == nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EXDEV) && !errors.Is(err, unix.ENOTDIR) {
		s.first = err
	}
}
