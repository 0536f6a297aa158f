package cgroup

import (
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// dir is an open folder of a cgroup tree. Everything in the tree is reached from
// one, never by a longer path: names below a payload's group are the payload's.
type dir struct {
	fd   int
	path string // for messages only
}

const dirFlags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC

func openDir(path string) (*dir, error) {
	fd, err := unix.Open(path, dirFlags, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return &dir{fd, path}, nil
}

// at opens the folder name in d.
func (d *dir) at(name string) (*dir, error) {
	path := d.path
	if len(path) < unix.PathMax { // a payload can nest without end; a message needs no more
		path = filepath.Join(path, name)
	}
	fd, err := unix.Openat(d.fd, name, dirFlags, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return &dir{fd, path}, nil
}

func (d *dir) close() { unix.Close(d.fd) }

// mkdir makes the group name in d. Others may read it: that is how ps-like tools
// show a process's group; what may be written is the kernel's choice of modes.
func (d *dir) mkdir(name string) error {
	if err := unix.Mkdirat(d.fd, name, 0o755); err != nil {
		return &os.PathError{Op: "mkdir", Path: filepath.Join(d.path, name), Err: err}
	}
	return nil
}

// open opens the interface file name in d.
func (d *dir) open(name string, flags int) (*os.File, error) {
	path := filepath.Join(d.path, name)
	fd, err := unix.Openat(d.fd, name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// read returns the text of the interface file name in d. The kernel writes these
// texts; a list of processes is the only long one.
func (d *dir) read(name string) (string, error) {
	f, err := d.open(name, unix.O_RDONLY)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(f)
	return string(text), err
}

// write puts value into the interface file name in d, in one write, as the
// kernel wants it.
func (d *dir) write(name, value string) error {
	// O_TRUNC is for the plain files of a test's tree; the kernel's take no notice.
	f, err := d.open(name, unix.O_WRONLY|unix.O_TRUNC)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	if closed := f.Close(); err == nil {
		err = closed
	}
	return err
}

// fields reads the words of the interface file name; none when it cannot be read.
func (d *dir) fields(name string) []string {
	text, err := d.read(name)
	if err != nil {
		return nil
	}
	return strings.Fields(text)
}

// has tells whether the interface file name exists in d.
func (d *dir) has(name string) bool {
	return unix.Faccessat(d.fd, name, unix.F_OK, 0) == nil
}

// children lists the groups in d, in no order.
func (d *dir) children() ([]string, error) {
	// A descriptor of its own: the position in a folder belongs to the open file.
	f, err := d.open(".", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	entries, err := f.ReadDir(-1)
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, err
}
