package linux

import (
	"io/fs"

	"golang.org/x/sys/unix"
)

// Names lists what is in a folder, in no order, without "." and "..". Of os's way it
// spares the runtime's poller, which looks at every descriptor that os opens, and an
// object an entry.
func Names(dir string) ([]string, error) {
	fd, err := OpenFolder(dir)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: dir, Err: err}
	}
	defer unix.Close(fd)
	names, err := NamesAt(fd)
	if err != nil {
		err = &fs.PathError{Op: "readdirent", Path: dir, Err: err}
	}
	return names, err
}

// OpenFolder opens a folder whose names shall be read, or that paths start at. The
// error is the bare errno.
func OpenFolder(dir string) (int, error) {
	for {
		fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

// NamesAt is Names of an open folder, from where its descriptor stands. Its error is
// an errno; what it had read till then comes with it.
func NamesAt(fd int) (names []string, err error) {
	var buf [8 << 10]byte
	for {
		n, err := unix.Getdents(fd, buf[:])
		if err == unix.EINTR { // of FUSE and NFS
			continue
		}
		if n <= 0 || err != nil {
			return names, err
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names)
	}
}
