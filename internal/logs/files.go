package logs

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/record"
)

// The files of a log are log, log.1, log.2, … in the order of their age. None is
// ever renamed, so a reader that has read one to its end knows the name of the
// next. A reader holds a read lock (an open file description lock, fcntl(2)) on
// the file it reads and takes that of the next before it lets go; the writer
// removes a file only with a write lock on it, from the oldest up to the first
// that it cannot lock. A lock dies with its holder. A file that has a successor
// carries the sticky bit, which means nothing on a file (inode(7)): so a reader
// knows that something is missing when the successor is not there.
const successor = unix.S_ISVTX

// heldFactor bounds what readers can keep from being removed, in times of the
// log's own bound (files × size). A reader that is stopped for ever must not fill
// the disk; it is told what it lost.
const heldFactor = 8

// folder is where the files of one log stand.
type folder struct {
	fd   int
	base string // "log"
}

func openFolder(path string) (folder, error) {
	dir := filepath.Dir(path)
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return folder{fd: -1}, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	return folder{fd, filepath.Base(path)}, nil
}

func (d folder) close() { _ = unix.Close(d.fd) }

// name is that of the file with a sequence number; 0 is the first.
func (d folder) name(seq int) string {
	if seq == 0 {
		return d.base
	}
	return d.base + "." + strconv.Itoa(seq)
}

// open never follows a link, and never waits: a payload cannot reach the folder,
// but the user can put anything there.
func (d folder) open(seq, flags int) (int, error) {
	for {
		fd, err := unix.Openat(d.fd, d.name(seq), flags|unix.O_CLOEXEC|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

// list returns the sequence numbers that are there, the oldest first.
func (d folder) list() ([]int, error) {
	fd, err := unix.Openat(d.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), d.base)
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil && !errors.Is(err, unix.ENOENT) { // the folder was removed: it has none
		return nil, err
	}
	var seqs []int
	for _, name := range names {
		number, ok := strings.CutPrefix(name, d.base+".")
		seq, err := strconv.Atoi(number)
		switch {
		case name == d.base:
			seqs = append(seqs, 0)
		case ok && err == nil && seq > 0 && d.name(seq) == name: // not log.007, nor log.-1
			seqs = append(seqs, seq)
		}
	}
	slices.Sort(seqs)
	return seqs, nil
}

// lock takes a lock on the whole file without waiting.
func lock(fd int, kind int16) error {
	return unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &unix.Flock_t{Type: kind, Whence: unix.SEEK_SET})
}

func busy(err error) bool { return errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) }

// remove deletes a file. Where a reader holds it, that is done only by force, and
// the result is the file, to ask whether the reader still does. A file system
// without locks (some NFS) has no readers to wait for: they see the gap.
func (d folder) remove(seq int, force bool) (gone bool, held int) {
	fd, err := d.open(seq, unix.O_RDWR)
	if err != nil {
		return errors.Is(err, unix.ENOENT), -1
	}
	taken := busy(lock(fd, unix.F_WRLCK))
	if taken && !force {
		_ = unix.Close(fd)
		return false, -1
	}
	err = unix.Unlinkat(d.fd, d.name(seq), 0)
	gone = err == nil || errors.Is(err, unix.ENOENT)
	if !taken || !gone {
		_ = unix.Close(fd)
		return gone, -1
	}
	return true, fd
}

// held tells whether a reader holds a file.
func (d folder) held(seq int) bool {
	fd, err := d.open(seq, unix.O_RDWR)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	return busy(lock(fd, unix.F_WRLCK))
}

// take opens a file for reading and locks it. errors.Is(err, fs.ErrNotExist)
// when it is not there, or is just being removed.
func (d folder) take(seq int) (int, error) {
	fd, err := d.open(seq, unix.O_RDONLY)
	if err != nil {
		return -1, err
	}
	var st unix.Stat_t
	err = lock(fd, unix.F_RDLCK)
	if serr := unix.Fstat(fd, &st); serr != nil || busy(err) || st.Nlink == 0 {
		_ = unix.Close(fd)
		return -1, unix.ENOENT
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		_ = unix.Close(fd)
		return -1, unix.EINVAL
	}
	return fd, nil
}

// Current is the file of the log at path that is written to; "" where there is none.
func Current(path string) string {
	d, err := openFolder(path)
	if err != nil {
		return ""
	}
	defer d.close()
	seqs, err := d.list()
	if err != nil || len(seqs) == 0 {
		return ""
	}
	return filepath.Join(filepath.Dir(path), d.name(seqs[len(seqs)-1]))
}

// Tidy removes the oldest files of a log that nobody writes to any more, down to
// the number that its bounds allow: those that a slow reader kept from its writer.
// It stops at the first that another reader still holds.
func Tidy(path string, c *record.LogConfig) {
	d, err := openFolder(path)
	if err != nil {
		return
	}
	defer d.close()
	seqs, err := d.list()
	if err != nil {
		return
	}
	_, keep := bounds(c)
	for _, seq := range seqs[:max(len(seqs)-keep, 0)] {
		if gone, _ := d.remove(seq, false); !gone {
			return
		}
	}
}
