package logs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"golang.org/x/sys/unix"
)

// trouble is what a full disk leaves behind. Entries that find no space are
// dropped whole and counted, and one line says so when there is space again. Of
// an entry that the disk took a part of, the rest is kept and written first: an
// entry is torn only where the process that writes it is killed.
type trouble struct {
	rest    []byte
	whole   int64 // size of the file up to the end of its last whole entry
	dropped int64 // entries
	why     error // of the first of them
}

// flush writes the encoded entries.
func (l *Writer) flush() {
	out := l.out
	l.out = l.out[:0]
	if len(out) == 0 {
		return
	}
	if err := l.recover(); err != nil {
		l.drop(out, err)
		return
	}
	n, err := l.put(out)
	if err == nil {
		l.trouble.whole = l.last().size
		return
	}
	cut := bytes.LastIndexByte(out[:n], '\n') + 1
	l.trouble.whole += int64(cut)
	if cut < n {
		end := n + bytes.IndexByte(out[n:], '\n') + 1
		l.trouble.rest = bytes.Clone(out[n:end])
		n = end
	}
	l.drop(out[n:], err)
}

func (l *Writer) drop(entries []byte, why error) {
	if n := bytes.Count(entries, []byte{'\n'}); n > 0 {
		if l.trouble.dropped == 0 {
			l.trouble.why = why
		}
		l.trouble.dropped += int64(n)
	}
}

// recover writes what must come before the next entry.
func (l *Writer) recover() error {
	t := &l.trouble
	if len(t.rest) > 0 {
		n, err := l.put(t.rest)
		if t.rest = t.rest[n:]; err != nil {
			return err
		}
		t.rest, t.whole = nil, l.last().size
	}
	if t.dropped == 0 {
		return nil
	}
	text := fmt.Sprintf("rc: %d entries of this log were lost here: %v\n", t.dropped, t.why)
	notice := append(appendEntry(nil, []byte(text), "stderr", l.stamp, nil), '}', '\n')
	n, err := l.put(notice)
	if err != nil {
		if n > 0 {
			t.rest, t.dropped = notice[n:], 0
		}
		return err
	}
	t.dropped, t.whole = 0, l.last().size
	return nil
}

// settle writes what is left at the end; a torn entry that finds no space even
// then is taken back.
func (l *Writer) settle() {
	if len(l.out) > 0 {
		l.flush()
	}
	if l.recover() != nil && len(l.trouble.rest) > 0 && unix.Ftruncate(l.fd, l.trouble.whole) == nil {
		l.last().size = l.trouble.whole
	}
}

// put is write(2) until all is written. The result is how much was.
func (l *Writer) put(b []byte) (int, error) {
	done := 0
	for done < len(b) {
		n, err := unix.Write(l.fd, b[done:])
		if err == unix.EINTR {
			continue
		}
		if err == nil && n == 0 {
			err = io.ErrShortWrite
		}
		if err != nil {
			return done, err
		}
		done += n
		l.last().size += int64(n)
	}
	return done, nil
}

// rotate goes on in a new file; false where none can be made: then the old one
// grows.
func (l *Writer) rotate() bool {
	if len(l.trouble.rest) > 0 {
		return false // the rest belongs to this file
	}
	if l.at < 0 {
		l.at = max(firstAt(l.fd), 0)
	}
	l.pruneTo(max(l.keep-1, 1)) // first: on a full disk this makes the space
	last := l.last()
	fd, err := l.dir.open(last.seq+1, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_APPEND)
	if err != nil {
		return false
	}
	_ = unix.Fchmod(l.fd, 0o600|successor)
	_ = unix.Close(l.fd)
	l.fd = fd
	l.at += last.size
	l.files = append(l.files, segment{seq: last.seq + 1})
	l.trouble.whole = 0
	l.prune()
	return true
}

func (l *Writer) prune() { l.pruneTo(l.keep) }

// pruneTo removes the oldest files until so many are left, but none that a reader
// holds and none behind it, unless that is too much: then as many as need be.
func (l *Writer) pruneTo(files int) {
	var total int64
	for _, f := range l.files {
		total += f.size
	}
	bound := heldFactor * l.max * int64(l.keep)
	if l.laggard >= 0 && !busy(lock(l.laggard, unix.F_WRLCK)) {
		l.forget()
	}
	gone := 0
	for len(l.files)-gone > files {
		f := l.files[gone]
		if l.laggard >= 0 && total <= bound {
			break // what the reader of a file that is gone will read next
		}
		ok, held := l.dir.remove(f.seq, total > bound)
		if !ok {
			break
		}
		if held >= 0 {
			l.forget()
			l.laggard = held
		}
		total -= f.size
		gone++
	}
	l.files = slices.Delete(l.files, 0, gone)
}

// forget lets go of the file that was removed under a reader.
func (l *Writer) forget() {
	if l.laggard >= 0 {
		_ = unix.Close(l.laggard)
		l.laggard = -1
	}
}

// firstAt reads the place of a file in the whole log from its first entry; -1
// where that cannot be read. The first file of all has none: 0.
func firstAt(fd int) int64 {
	buf := make([]byte, 64<<10)
	for {
		n, err := unix.Pread(fd, buf, 0)
		if err != nil || n <= 0 {
			return -1
		}
		if line, _, ok := bytes.Cut(buf[:n], []byte{'\n'}); ok {
			var first struct {
				At int64 `json:"at"`
			}
			if json.Unmarshal(line, &first) != nil {
				return -1
			}
			return first.At
		}
		if n < len(buf) || len(buf) > maxEntry {
			return -1
		}
		buf = make([]byte, 4*len(buf))
	}
}

// maxEntry bounds what a reader takes for one entry, in bytes: ours have 16 KiB
// of text and what labels and variables a user chose to repeat in each.
const maxEntry = 8 << 20
