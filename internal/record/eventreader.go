package record

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/lazyjson"
)

// EventReader reads the stream of events from one place on, across the files that
// it is put aside to.
type EventReader struct {
	path string
	f    *os.File // nil: there was no stream yet
	ino  uint64
	off  int64
	buf  []byte
	Lost bool // files were removed before they were read
}

// ReadEvents begins at the oldest event that is kept, or, without history, behind
// the newest.
func (s *Store) ReadEvents(history bool) (*EventReader, error) {
	r := &EventReader{path: s.EventsPath()}
	if history {
		return r, r.begin()
	}
	err := r.open(r.path)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err == nil {
		r.off, err = r.f.Seek(0, 2)
	}
	return r, err
}

func (r *EventReader) begin() error {
	for {
		for _, n := range EventNumbers(r.path) {
			if err := r.open(r.path + "." + strconv.Itoa(n)); err == nil {
				return nil
			}
		}
		// None was put aside: this one is the first, unless it is put aside now.
		if err := r.open(r.path); err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}
		if r.current() {
			return nil
		}
	}
}

func (r *EventReader) open(path string) error {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		_ = f.Close()
		return err
	}
	r.Close()
	r.f, r.ino, r.off = f, st.Ino, 0
	return nil
}

// Close lets the file go.
func (r *EventReader) Close() {
	if r.f != nil {
		_ = r.f.Close()
		r.f = nil
	}
}

func (r *EventReader) current() bool {
	var st unix.Stat_t
	return unix.Lstat(r.path, &st) == nil && st.Ino == r.ino
}

// Next calls each for the events that are there; it returns when there are no
// more for now.
func (r *EventReader) Next(each func(*Event) error) error {
	for {
		if r.f == nil {
			if err := r.begin(); err != nil || r.f == nil {
				return err
			}
		}
		current := r.current() // before the last look: then nothing can be added behind it
		for {
			more, err := r.read(each)
			if err != nil {
				return err
			}
			if !more {
				break
			}
		}
		if current {
			return nil
		}
		if moved, err := r.successor(); err != nil || !moved {
			return err
		}
	}
}

// read passes on the whole lines of one read(2).
func (r *EventReader) read(each func(*Event) error) (more bool, err error) {
	if r.buf == nil {
		r.buf = make([]byte, 256<<10)
	}
	n, err := unix.Pread(int(r.f.Fd()), r.buf, r.off)
	if err == unix.EINTR {
		return true, nil
	}
	if err != nil {
		return false, &os.PathError{Op: "read", Path: r.path, Err: err}
	}
	data := r.buf[:n]
	for {
		end := bytes.IndexByte(data, '\n')
		if end < 0 {
			break
		}
		var e Event
		// A line that a full disk has cut off is none.
		if lazyjson.Unmarshal(data[:end], &e) == nil && e.Type != "" {
			if err := each(&e); err != nil {
				return false, err
			}
		}
		data, r.off = data[end+1:], r.off+int64(end)+1
	}
	switch {
	case n < len(r.buf):
		return false, nil
	case len(data) == n: // a line longer than the buffer: labels of a megabyte
		r.buf = make([]byte, 4*n)
	}
	return true, nil
}

// successor opens the file after the one that was read to its end.
func (r *EventReader) successor() (bool, error) {
	for range 100 {
		numbers := EventNumbers(r.path)
		ours := slices.IndexFunc(numbers, func(n int) bool {
			var st unix.Stat_t
			return unix.Lstat(r.path+"."+strconv.Itoa(n), &st) == nil && st.Ino == r.ino
		})
		switch {
		case ours < 0: // removed meanwhile: two files were filled since we looked
			r.Lost = true
			r.Close()
			return true, r.begin()
		case ours+1 < len(numbers):
			if r.open(r.path+"."+strconv.Itoa(numbers[ours+1])) == nil {
				return true, nil
			}
			continue
		}
		before := *r
		r.f = nil
		err := r.open(r.path)
		if errors.Is(err, fs.ErrNotExist) { // nothing was appended since
			*r = before
			return false, nil
		}
		if err != nil {
			*r = before
			return false, err
		}
		// Is it the very next, or was that put aside between our two looks?
		if again := EventNumbers(r.path); len(again) > 0 && again[len(again)-1] == numbers[ours] {
			_ = before.f.Close()
			return true, nil
		}
		r.Close()
		*r = before
	}
	return false, nil
}
