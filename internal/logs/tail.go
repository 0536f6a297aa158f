package logs

import (
	"bytes"
	"time"

	"golang.org/x/sys/unix"
)

// start is where the reading begins. The caller holds the first of seqs.
func (r *reader) start(seqs []int) (place, error) {
	if r.q.Tail >= 0 {
		return r.tail(seqs)
	}
	return place{seq: r.skip(seqs)}, nil
}

// skip passes over files that are older than Since as a whole: those whose
// successor begins before it.
func (r *reader) skip(seqs []int) int {
	at := 0
	for ; at+1 < len(seqs) && !r.q.Since.IsZero(); at++ {
		if begin, ok := r.firstTime(seqs[at+1]); !ok || !begin.Before(r.q.Since) {
			break
		}
	}
	return seqs[at]
}

func (r *reader) firstTime(seq int) (time.Time, bool) {
	fd, err := r.dir.open(seq, unix.O_RDONLY)
	if err != nil {
		return time.Time{}, false
	}
	defer unix.Close(fd)
	buf := make([]byte, 128<<10)
	n, _ := unix.Pread(fd, buf, 0)
	line, _, ok := bytes.Cut(buf[:max(n, 0)], []byte{'\n'})
	if !ok || !r.entry.decode(line, &r.text) {
		return time.Time{}, false
	}
	return r.entry.Time(), true
}

// tail counts lines from the end. Pieces of one line count as one, and so does
// the unfinished end of a stream.
func (r *reader) tail(seqs []int) (place, error) {
	var open [2]bool // an entry of stdout, stderr was met
	lines, start := 0, place{seq: -1}
	for i := len(seqs) - 1; i >= 0; i-- {
		fd, err := r.dir.open(seqs[i], unix.O_RDONLY)
		if err != nil {
			return start, readError(err)
		}
		size := int64(-1)
		if seqs[i] == r.stop.seq {
			size = r.stop.off
		}
		enough := false
		err = backwards(fd, size, func(off int64, line []byte) bool {
			if start.seq < 0 { // the end of the last whole entry
				start = place{seqs[i], off + int64(len(line)) + 1}
			}
			stream := 0
			if bytes.Contains(line, []byte(`","stream":"stderr"`)) {
				stream = 1
			}
			if endsLine(line) || !open[stream] {
				if lines == r.q.Tail {
					enough = true
					return false
				}
				lines++
			}
			open[stream] = true
			start = place{seqs[i], off}
			return true
		})
		_ = unix.Close(fd)
		if err != nil {
			return start, readError(err)
		}
		if enough {
			return start, nil
		}
	}
	if start.seq < 0 {
		start.seq = seqs[len(seqs)-1]
	}
	return start, nil
}

// backwards calls f for each whole line of a file, the last one first, until it
// returns false. size is where to begin; negative for the end.
func backwards(fd int, size int64, f func(off int64, line []byte) bool) error {
	if size < 0 {
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			return err
		}
		size = st.Size
	}
	var later []byte // of the chunk behind: the end of a line that begins before it
	torn := true     // what follows the last line end
	for end := size; end > 0; {
		begin := max(0, end-128<<10)
		data := make([]byte, end-begin, int(end-begin)+len(later))
		if n, err := unix.Pread(fd, data, begin); err != nil || n < len(data) {
			return err
		}
		data = append(data, later...)
		for {
			at := bytes.LastIndexByte(data, '\n')
			if at < 0 {
				break
			}
			if line := data[at+1:]; !torn && len(line) > 0 && !f(begin+int64(at)+1, line) {
				return nil
			}
			torn, data = false, data[:at]
		}
		later, end = data, begin
	}
	if !torn && len(later) > 0 {
		f(0, later)
	}
	return nil
}
