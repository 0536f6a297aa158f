package boot

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// copyUp fills a new, empty volume with what the image has at its mount point,
// owner and mode of the folder itself included (Docker's rule for volumes). Both
// trees are walked by descriptors and no link is followed.
func copyUp(from, to *os.File) error {
	src, err := reopenDir(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := reopenDir(to)
	if err != nil {
		return err
	}
	defer dst.Close()
	defer unix.Umask(unix.Umask(0)) // a FIFO gets its mode when it is made
	if names, err := dst.Readdirnames(1); !errors.Is(err, io.EOF) || len(names) > 0 {
		return nil // somebody's data
	}
	return copyDir(src, dst)
}

func reopenDir(f *os.File) (*os.File, error) {
	fd, err := unix.Openat(int(f.Fd()), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

func copyDir(src, dst *os.File) error {
	names, err := src.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := copyEntry(src, dst, name); err != nil {
			return &os.PathError{Op: "copy", Path: name, Err: err}
		}
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(src.Fd()), &st); err != nil {
		return err
	}
	if err := unix.Fchown(int(dst.Fd()), int(st.Uid), int(st.Gid)); err != nil {
		return err
	}
	copyXattrs(int(src.Fd()), int(dst.Fd()))
	return unix.Fchmod(int(dst.Fd()), st.Mode&0o7777)
}

func copyEntry(src, dst *os.File, name string) error {
	var st unix.Stat_t
	if err := unix.Fstatat(int(src.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	sfd, dfd := int(src.Fd()), int(dst.Fd())
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		if err := unix.Mkdirat(dfd, name, 0o700); err != nil {
			return err
		}
		return withPair(sfd, dfd, name, unix.O_RDONLY|unix.O_DIRECTORY, unix.O_RDONLY|unix.O_DIRECTORY, copyDir)
	case unix.S_IFREG:
		return withPair(sfd, dfd, name, unix.O_RDONLY, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, func(in, out *os.File) error {
			if _, err := io.Copy(out, in); err != nil {
				return err
			}
			if err := unix.Fchown(int(out.Fd()), int(st.Uid), int(st.Gid)); err != nil {
				return err
			}
			copyXattrs(int(in.Fd()), int(out.Fd())) // after chown, which drops file capabilities (chown(2))
			return unix.Fchmod(int(out.Fd()), st.Mode&0o7777)
		})
	case unix.S_IFLNK:
		buf := make([]byte, unix.PathMax)
		n, err := unix.Readlinkat(sfd, name, buf)
		if err == nil {
			err = unix.Symlinkat(string(buf[:n]), dfd, name)
		}
		if err == nil {
			err = unix.Fchownat(dfd, name, int(st.Uid), int(st.Gid), unix.AT_SYMLINK_NOFOLLOW)
		}
		return err
	case unix.S_IFIFO:
		if err := unix.Mkfifoat(dfd, name, st.Mode&0o7777); err != nil {
			return err
		}
		return unix.Fchownat(dfd, name, int(st.Uid), int(st.Gid), unix.AT_SYMLINK_NOFOLLOW)
	}
	return nil // sockets and device nodes mean nothing in a volume
}

func withPair(sfd, dfd int, name string, rflags, wflags int, do func(in, out *os.File) error) error {
	const common = unix.O_CLOEXEC | unix.O_NOFOLLOW | unix.O_NONBLOCK
	in, err := unix.Openat(sfd, name, rflags|common, 0)
	if err != nil {
		return err
	}
	fin := os.NewFile(uintptr(in), name)
	defer fin.Close()
	out, err := unix.Openat(dfd, name, wflags|common, 0o600)
	if err != nil {
		return err
	}
	fout := os.NewFile(uintptr(out), name)
	defer fout.Close()
	return do(fin, fout)
}

// copyXattrs copies what it can: an attribute that this user namespace may not
// set (security.*, trusted.*) is lost, as it would be with cp -a by this user.
func copyXattrs(in, out int) {
	buf := make([]byte, 64<<10)
	n, err := unix.Flistxattr(in, buf)
	if err != nil {
		return
	}
	value := make([]byte, 64<<10)
	for begin, i := 0, 0; i < n; i++ {
		if buf[i] != 0 {
			continue
		}
		name := string(buf[begin:i])
		begin = i + 1
		if m, err := unix.Fgetxattr(in, name, value); err == nil {
			_ = unix.Fsetxattr(out, name, value[:m], 0)
		}
	}
}
