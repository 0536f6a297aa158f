package linux

import (
	"io/fs"

	"golang.org/x/sys/unix"
)

// ReadFile is os.ReadFile in three or four system calls instead of ten: os.File
// tries first whether the poller takes the file, which a regular one never does.
// For small files on the way to a start. Errors are *fs.PathError.
func ReadFile(path string) ([]byte, error) {
	fd, err := openFile(path, unix.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	data := make([]byte, 0, 1024)
	for {
		n, err := unix.Read(fd, data[len(data):cap(data)])
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return nil, &fs.PathError{Op: "read", Path: path, Err: err}
		case n == 0:
			return data, nil
		}
		if data = data[:len(data)+n]; len(data) == cap(data) {
			data = append(make([]byte, 0, 8*cap(data)), data...)
		}
	}
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
	if err != nil {
		return &fs.PathError{Op: "write", Path: path, Err: err}
	}
	return nil
}

func openFile(path string, flags int, mode uint32) (int, error) {
	for {
		fd, err := unix.Open(path, flags|unix.O_CLOEXEC, mode)
		if err == nil {
			return fd, nil
		}
		if err != unix.EINTR { // of FUSE and NFS
			return -1, &fs.PathError{Op: "open", Path: path, Err: err}
		}
	}
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
