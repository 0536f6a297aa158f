package fuse

import (
	"io"

	"golang.org/x/sys/unix"
)

// copyData copies size bytes of from into the empty file to: shared blocks
// where the file system has them (FICLONE: btrfs, xfs), else extent by extent,
// so that holes stay holes.
func copyData(from, to int, size int64) error {
	if size == 0 {
		return nil
	}
	if unix.IoctlFileClone(to, from) == nil {
		return nil
	}
	for off := int64(0); off < size; {
		start, end, err := extent(from, off, size)
		if err != nil {
			return err
		}
		if start >= size {
			break
		}
		if err := copyRange(from, to, start, end-start); err != nil {
			return err
		}
		off = end
	}
	return unix.Ftruncate(to, size) // a hole at the end
}

// extent is the next stretch of data at or after off, as [start,end); start is
// size when only a hole is left.
func extent(fd int, off, size int64) (start, end int64, err error) {
	start, err = unix.Seek(fd, off, unix.SEEK_DATA)
	switch err {
	case nil:
	// No data at or after off (lseek(2)): a hole up to the end.
	case unix.ENXIO:
		return size, size, nil
	case unix.EINVAL, unix.EOPNOTSUPP: // a file system that knows no holes
		return off, size, nil
	default:
		return 0, 0, err
	}
	end, err = unix.Seek(fd, start, unix.SEEK_HOLE)
	if err != nil || end > size {
		end = size
	}
	return min(start, size), end, nil
}

// copyRange copies n bytes at off, in the kernel where it can.
func copyRange(from, to int, off, n int64) error {
	for n > 0 {
		in, out := off, off
		// Offsets of our own: those of the descriptors belong to whoever reads next.
		done, err := unix.CopyFileRange(from, &in, to, &out, int(min(n, 1<<30)), 0)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EXDEV, err == unix.ENOSYS, err == unix.EINVAL, err == unix.EOPNOTSUPP, err == unix.EPERM, err == unix.EIO:
			return copyByBuffer(from, to, off, n)
		case err != nil:
			return err
		case done == 0: // 0 for files that a file system cannot say the size of, too
			return copyByBuffer(from, to, off, n)
		}
		off, n = off+int64(done), n-int64(done)
	}
	return nil
}

func copyByBuffer(from, to int, off, n int64) error {
	buf := make([]byte, min(n, 256<<10))
	for n > 0 {
		got, err := unix.Pread(from, buf[:min(n, int64(len(buf)))], off)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		if got == 0 {
			return io.ErrUnexpectedEOF
		}
		for put := 0; put < got; {
			w, err := unix.Pwrite(to, buf[put:got], off+int64(put))
			if err != nil && err != unix.EINTR {
				return err
			}
			put += max(w, 0)
		}
		off, n = off+int64(got), n-int64(got)
	}
	return nil
}
