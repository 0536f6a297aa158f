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
	buf, zero := make([]byte, holeSize), make([]byte, holeSize)
	var at int64
	for at < size {
		n, err := io.ReadFull(data, buf[:min(holeSize, size-at)])
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
	return f.Truncate(size)
}

// fillFromFile copies the parts that hold data (lseek(2), SEEK_DATA). A file that
// shrinks meanwhile ends in a hole.
func fillFromFile(f, src *os.File, size int64) error {
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
		if err := copyPart(f, src, begin, end-begin); err != nil {
			return err
		}
		at = end
	}
	return f.Truncate(size)
}

// copyPart copies by copy_file_range(2), which shares blocks where the file
// system can, else through memory: Go's ReadFrom chooses.
func copyPart(f, src *os.File, at, n int64) error {
	if _, err := src.Seek(at, io.SeekStart); err != nil {
		return err
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
