package transfer

import (
	"bytes"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// holeSize is the granularity, in bytes, at which zeros become holes.
const holeSize = 64 << 10

// fill writes size bytes of data into f, which is empty. Holes stay holes: a file
// of a terabyte may hold nothing.
func fill(f *os.File, data io.Reader, size int64) error {
	if src, ok := data.(*os.File); ok {
		return fillFromFile(f, src, size)
	}
	if err := fillPart(f, data, 0, size); err != nil {
		return err
	}
	return f.Truncate(size)
}

// fillPart writes n bytes at an offset and leaves out blocks of zeros.
func fillPart(f *os.File, data io.Reader, at, n int64) error {
	buf, zero := make([]byte, holeSize), make([]byte, holeSize)
	for end := at + n; at < end; {
		n, err := io.ReadFull(data, buf[:min(holeSize, end-at)])
		if n > 0 && !bytes.Equal(buf[:n], zero[:n]) {
			if _, werr := f.WriteAt(buf[:n], at); werr != nil {
				return werr
			}
		}
		at += int64(n)
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
	}
	return nil
}

// fillFromFile copies the parts that hold data (lseek(2), SEEK_DATA). A file that
// shrinks meanwhile ends in a hole.
func fillFromFile(f, src *os.File, size int64) error {
	sparse := false
	if st, err := nodeStat(src); err == nil {
		sparse = st.Blocks*512 < size
	}
	var at int64
	for at < size {
		begin, err := unix.Seek(int(src.Fd()), at, unix.SEEK_DATA)
		if err == unix.ENXIO {
			break // only a hole is left
		}
		end := size
		if err != nil { // a file system without SEEK_DATA: all of it is data
			begin = at
		} else if end, err = unix.Seek(int(src.Fd()), begin, unix.SEEK_HOLE); err != nil {
			end = size
		}
		end = min(end, size)
		if begin >= end {
			break
		}
		if err := copyPart(f, src, begin, end-begin, sparse); err != nil {
			return err
		}
		at = end
	}
	return f.Truncate(size)
}

// copyPart copies by copy_file_range(2), which shares blocks where the file
// system can, else through memory: Go's ReadFrom chooses. A sparse file on a file
// system that does not say where its holes are (FUSE: all of it is data) would
// fill the disk that way: it is read through.
func copyPart(f, src *os.File, at, n int64, sparse bool) error {
	if _, err := src.Seek(at, io.SeekStart); err != nil {
		return err
	}
	if sparse {
		if err := fillPart(f, src, at, n); !errors.Is(err, io.ErrUnexpectedEOF) {
			return err
		}
		return nil
	}
	if _, err := f.Seek(at, io.SeekStart); err != nil {
		return err
	}
	_, err := io.CopyN(f, src, n)
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
