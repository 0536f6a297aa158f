package logs

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
)

// Query says what to read of a log, and what to tell whom.
type Query struct {
	Tail         int       // lines from the end; negative: all
	Since, Until time.Time // bounds, included; zero for none
	Follow       bool      // wait for more, until Ended

	// Entry takes one entry; an error of its ends the reading.
	Entry func(*Entry) error
	// Ended tells a follower that nobody will write any more. It is asked again
	// whenever all was read.
	Ended func() bool
	// Idle is called before a follower waits: what was kept back is to be shown.
	Idle func() error
	// Lost is told of entries that were removed before they could be read: bytes of
	// the files, negative when not known.
	Lost func(bytes int64)
}

// reader is at one place of a log. It holds a lock on the file it reads.
type reader struct {
	q     *Query
	dir   folder
	fd    int // -1 before the first file
	seq   int
	off   int64 // of the next entry
	buf   []byte
	text  []byte
	entry Entry
	stop  place // not followed: what is written later is not read
	done  bool  // Until was reached
	torn  int
}

// place is a point in the log.
type place struct {
	seq int
	off int64
}

// bufSize is what is read at once, in bytes; it grows for a longer entry.
const bufSize = 256 << 10

// Read reads the log at path. errors.Is(err, fs.ErrNotExist) when there is none.
// The second result counts entries that are torn, because their writer was killed
// in them; they are passed over.
func Read(path string, q Query) (torn int, err error) {
	q.complete()
	dir, err := openFolder(path)
	if err != nil {
		return 0, err
	}
	defer dir.close()
	var w *Watcher
	if q.Follow { // before the first look, so that nothing is missed
		w = Watch(fmt.Sprintf("/proc/self/fd/%d", dir.fd))
		defer w.Close()
	}
	r := &reader{q: &q, dir: dir, fd: -1, stop: place{-1, 0}, buf: make([]byte, 0, bufSize)}
	defer r.close()
	if err := r.begin(); err != nil && !(q.Follow && errors.Is(err, fs.ErrNotExist)) {
		return 0, err
	}
	if q.Follow {
		return r.torn, r.follow(w)
	}
	_, err = r.readAll()
	return r.torn, err
}

func (q *Query) complete() {
	if q.Ended == nil {
		q.Ended = func() bool { return true }
	}
	if q.Idle == nil {
		q.Idle = func() error { return nil }
	}
	if q.Lost == nil {
		q.Lost = func(int64) {}
	}
}

func (r *reader) close() {
	if r.fd >= 0 {
		_ = unix.Close(r.fd)
		r.fd = -1
	}
}

// begin finds where to start. The oldest file is held until then, so that none
// of those after it goes away.
func (r *reader) begin() error {
	if err := r.oldest(-1); err != nil {
		return err
	}
	seqs, err := r.dir.list()
	if err != nil {
		return err
	}
	seqs = seqs[after(seqs, r.seq-1):]
	if len(seqs) == 0 {
		return nil
	}
	if !r.q.Follow {
		r.stop.seq = seqs[len(seqs)-1]
		var st unix.Stat_t
		if err := unix.Fstatat(r.dir.fd, r.dir.name(r.stop.seq), &st, unix.AT_SYMLINK_NOFOLLOW); err == nil {
			r.stop.off = st.Size
		}
	}
	start, err := r.start(seqs)
	if err != nil || start.seq == r.seq {
		r.off = start.off
		return err
	}
	fd, err := r.dir.take(start.seq)
	if err != nil {
		return readError(err)
	}
	r.move(fd, start)
	return nil
}

func (r *reader) move(fd int, to place) {
	r.close()
	r.fd, r.seq, r.off, r.buf = fd, to.seq, to.off, r.buf[:0]
}

func readError(err error) error {
	return hint.New("read the container's log", err, "").WithCode(1)
}

// after is the index of the first sequence number above seq.
func after(seqs []int, seq int) int {
	for i, s := range seqs {
		if s > seq {
			return i
		}
	}
	return len(seqs)
}

// oldest takes the oldest file after seq.
func (r *reader) oldest(seq int) error {
	for {
		seqs, err := r.dir.list()
		if err != nil {
			return err
		}
		i := after(seqs, seq)
		if i == len(seqs) {
			return &os.PathError{Op: "open", Path: r.dir.base, Err: unix.ENOENT}
		}
		fd, err := r.dir.take(seqs[i])
		switch {
		case err == nil:
			r.move(fd, place{seq: seqs[i]})
			return nil
		case !errors.Is(err, unix.ENOENT):
			return readError(err)
		}
		time.Sleep(time.Millisecond) // it is being removed just now
	}
}

// readAll reads to the end of the last file; progress tells whether there was
// anything.
func (r *reader) readAll() (progress bool, err error) {
	for r.fd >= 0 && !r.done {
		more, err := r.readOn()
		if err != nil {
			return progress, err
		}
		if more {
			progress = true
			continue
		}
		if r.stop.seq >= 0 && r.seq >= r.stop.seq {
			break
		}
		moved, err := r.next()
		if err != nil || !moved {
			return progress, err
		}
		progress = true
	}
	return progress, nil
}

// readOn reads what one read(2) brings and passes the whole entries on. What comes
// short of an entry's end is read again later, as nothing says that it stays.
func (r *reader) readOn() (bool, error) {
	have := len(r.buf)
	room := cap(r.buf) - have
	if r.seq == r.stop.seq {
		room = int(min(int64(room), r.stop.off-r.off-int64(have)))
	}
	n, err := unix.Pread(r.fd, r.buf[have:have+room], r.off+int64(have))
	if err == unix.EINTR {
		return true, nil
	}
	if err != nil {
		return false, readError(err)
	}
	r.buf = r.buf[:have+n]
	used, err := r.pass(r.buf)
	r.off += int64(used)
	if n < room || n == 0 {
		r.buf = r.buf[:0]
		return used > 0, err
	}
	r.buf = r.buf[:copy(r.buf, r.buf[used:])]
	if len(r.buf) == cap(r.buf) {
		if len(r.buf) > maxEntry {
			return false, readError(errors.New("an entry has no end"))
		}
		r.buf = append(make([]byte, 0, 4*cap(r.buf)), r.buf...)
	}
	return true, err
}

// pass hands on the entries in data; used is up to where.
func (r *reader) pass(data []byte) (used int, err error) {
	for !r.done {
		end := bytes.IndexByte(data[used:], '\n')
		if end < 0 {
			return used, nil
		}
		line := data[used : used+end]
		used += end + 1
		if len(line) == 0 {
			continue
		}
		if !r.entry.decode(line, &r.text) {
			r.torn++
			continue
		}
		if ok := r.wanted(); !ok {
			continue
		}
		if err := r.q.Entry(&r.entry); err != nil {
			return used, err
		}
	}
	return used, nil
}

func (r *reader) wanted() bool {
	if !r.q.Since.IsZero() && r.entry.Time().Before(r.q.Since) {
		return false
	}
	if !r.q.Until.IsZero() && r.entry.Time().After(r.q.Until) {
		r.done = true // times only go on, but for somebody who sets the clock
		return false
	}
	return true
}

// rest reads what was written to this file before the next one was begun.
func (r *reader) rest() error {
	for !r.done {
		if more, err := r.readOn(); err != nil || !more {
			return err
		}
	}
	return nil
}

// next goes on to the next file, if there is one; true to look again.
func (r *reader) next() (bool, error) {
	fd, err := r.dir.take(r.seq + 1)
	if errors.Is(err, unix.ENOENT) {
		return r.gap()
	}
	if err != nil {
		return false, readError(err)
	}
	err = r.rest()
	r.move(fd, place{seq: r.seq + 1})
	return true, err
}

// gap looks why there is no next file. Usually it is not there yet. But the files
// that a reader held for too long are removed, and so is the folder of a container.
func (r *reader) gap() (bool, error) {
	var st unix.Stat_t
	if err := unix.Fstat(r.fd, &st); err != nil {
		return false, readError(err)
	}
	seqs, err := r.dir.list() // after Fstat: a successor is made before its predecessor is marked
	if err != nil {
		return false, readError(err)
	}
	i := after(seqs, r.seq)
	switch {
	case i == len(seqs) && st.Mode&successor == 0:
		return false, nil
	case i == len(seqs):
		err := r.rest()
		r.done = true
		r.q.Lost(-1)
		return false, err
	case seqs[i] == r.seq+1: // made just now
		return true, nil
	}
	if err := r.rest(); err != nil || r.done {
		return false, err
	}
	from := firstAt(r.fd)
	before := r.off
	fd, err := r.dir.take(seqs[i])
	if err != nil {
		time.Sleep(time.Millisecond) // that one goes, too
		return true, nil
	}
	r.move(fd, place{seq: seqs[i]})
	missing := int64(-1)
	if to := firstAt(fd); from >= 0 && to > from {
		missing = to - from - before
	}
	r.q.Lost(missing)
	return true, nil
}
