package linux

import (
	"math"

	"golang.org/x/sys/unix"
)

// Open is open(2) with O_CLOEXEC, again where a signal interrupted it, as FUSE and NFS
// let one: Go's runtime preempts threads by signals. The error is the bare errno.
func Open(path string, flags int, mode uint32) (int, error) {
	for {
		fd, err := unix.Open(path, flags|unix.O_CLOEXEC, mode)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

// openFile is Open whose error, a *fs.PathError, names the path.
func openFile(path string, flags int, mode uint32) (int, error) {
	fd, err := Open(path, flags, mode)
	return fd, fail("open", path, err)
}

// ReadFile is os.ReadFile in three or four system calls instead of ten: os.File
// tries first whether the poller takes the file, which a regular one never does.
// For small files on the way to a start. A FIFO in the place of one is not waited for
// (O_NONBLOCK, open(2)): it reads as empty. Errors are *fs.PathError.
func ReadFile(path string) ([]byte, error) {
	fd, err := openFile(path, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	data, err := ReadAll(fd, 1024, math.MaxInt)
	if err != nil {
		return nil, fail("read", path, err)
	}
	return data, nil
}

// ReadAll reads fd to its end, most bytes at the most. room, at least 1, is
// how many it probably takes: with more than it has no second buffer is made. The error is the bare errno.
func ReadAll(fd, room, most int) ([]byte, error) {
	data := make([]byte, 0, min(room, most))
	for len(data) < most {
		if len(data) == cap(data) {
			data = append(make([]byte, 0, min(8*cap(data), most)), data...)
		}
		n, err := unix.Read(fd, data[len(data):cap(data)])
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return nil, err
		case n == 0:
			return data, nil
		}
		data = data[:len(data)+n]
	}
	return data, nil
}

// WriteFile is os.WriteFile in as few: flags are those of open(2) beside
// O_WRONLY|O_CLOEXEC, such as O_CREAT|O_EXCL.
func WriteFile(path string, data []byte, flags int, mode uint32) error {
	fd, err := openFile(path, unix.O_WRONLY|flags, mode)
	if err != nil {
		return err
	}
	err = WriteAll(fd, data)
	if cerr := unix.Close(fd); err == nil {
		err = cerr
	}
	return fail("write", path, err)
}

// WriteAll writes data to fd, however many calls it takes.
func WriteAll(fd int, data []byte) error {
	for len(data) > 0 {
		n, err := unix.Write(fd, data)
		if err != nil && err != unix.EINTR {
			return err
		}
		data = data[max(n, 0):]
	}
	return nil
}
