// Package logs keeps what a payload wrote: the shim writes it, `rc logs` reads it.
package logs

import (
	"bytes"
	"os"
	"os/signal"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
)

// Writer is the container's output in Docker's json-file format, one object a
// line (encode.go), in files of a bounded size and number (files.go). What is
// written is in the file when Write returns: a follower sees it at once. A file
// that cannot be written never blocks nor fails the caller (full.go). A nil Writer
// drops everything.
type Writer struct {
	mu      sync.Mutex
	dir     folder
	fd      int
	files   []segment // oldest first; the last one is written to
	at      int64     // bytes in the files before the last; -1: not yet known
	max     int64     // bytes of one file; 0 for no bound
	keep    int       // files
	attrs   []byte
	stamp   []byte
	parts   [2]part // unfinished lines of stdout, stderr
	arena   arena
	out     []byte // entries, not yet written; in the arena
	trouble trouble
	journal *journal // nil without the driver
	leave   bool     // AutoRemove
	laggard int      // a file that was removed under its reader, who holds it still; -1 for none
}

// segment is one file.
type segment struct {
	seq  int
	size int64
}

type part struct {
	name string
	line []byte // in the arena
}

// Options say how a container's output is kept.
type Options struct {
	Config     record.LogConfig
	ID, Name   string
	AutoRemove bool              // the folder goes when the container ends: Close waits for readers that lag
	Unfinished map[string][]byte // of Suspend: lines that the process before us had not seen the end of
}

// maxLine bounds one log entry, in bytes: Docker splits at 16 KiB too.
const maxLine = 16 << 10

// Bounds of a log whose owner chose none. Docker has none, and fills disks.
const (
	DefaultMaxSize = 16 << 20 // bytes
	DefaultMaxFile = 5
)

// bounds reads LogConfig's zero values: no choice is the default, a size alone is
// one file (Docker's max-file is 1), and a negative size is no bound.
func bounds(c *record.LogConfig) (size int64, files int) {
	size, files = c.MaxSize, c.MaxFile
	switch {
	case size < 0:
		return 0, 1
	case size > 0:
		return size, max(files, 1)
	case files == 0:
		files = DefaultMaxFile
	}
	return DefaultMaxSize, files
}

// Open opens the log at path, for appending; o may be nil. With the driver "none"
// the result is nil: a Writer that drops everything.
func Open(path string, o *Options) (*Writer, error) {
	if o == nil {
		o = &Options{}
	}
	if o.Config.Driver == "none" {
		return nil, nil
	}
	l := &Writer{fd: -1, at: -1, laggard: -1, attrs: attributes(o.attrs()), leave: o.AutoRemove}
	l.max, l.keep = bounds(&o.Config)
	l.parts[0].name, l.parts[1].name = "stdout", "stderr"
	err := l.open(path)
	if err != nil {
		return nil, hint.New("open the container's log", err, "free some disk space")
	}
	survive()
	if o.Config.Driver == "journald" {
		l.journal = newJournal(o)
	}
	for i := range l.parts {
		if rest := o.Unfinished[l.parts[i].name]; len(rest) > 0 {
			l.write(l.parts[i].name, rest)
		}
	}
	return l, nil
}

// survive makes a file beyond the caller's `ulimit -f` an error (EFBIG) like a full
// disk: Go's runtime ends a process that gets SIGXFSZ and has not asked for it.
// Not SIG_IGN, which would be handed on to the payload.
var survive = sync.OnceFunc(func() { signal.Notify(make(chan os.Signal, 1), unix.SIGXFSZ) })

// attrs are Docker's: what --log-opt chose, the tag among it.
func (o *Options) attrs() [][2]string {
	attrs := o.Config.Attrs
	if o.Config.Opts["tag"] != "" {
		attrs = append(attrs[:len(attrs):len(attrs)], [2]string{"tag", o.Config.Tag})
	}
	return attrs
}

// open finds the last file, or makes the first.
func (l *Writer) open(path string) (err error) {
	if l.dir, err = openFolder(path); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			l.dir.close()
		}
	}()
	seqs, err := l.dir.list()
	if err != nil {
		return err
	}
	if len(seqs) == 0 {
		seqs = []int{0}
	}
	for _, seq := range seqs {
		var st unix.Stat_t
		_ = unix.Fstatat(l.dir.fd, l.dir.name(seq), &st, unix.AT_SYMLINK_NOFOLLOW)
		l.files = append(l.files, segment{seq, st.Size})
	}
	if l.fd, err = l.dir.open(l.last().seq, unix.O_RDWR|unix.O_CREAT|unix.O_APPEND); err != nil {
		return err
	}
	l.trouble.whole = l.last().size
	l.freshLine()
	return nil
}

// freshLine ends a line that a killed writer left torn: readers pass over it.
func (l *Writer) freshLine() {
	last := []byte{'\n'}
	if l.last().size > 0 {
		_, _ = unix.Pread(l.fd, last, l.last().size-1)
	}
	if last[0] != '\n' {
		l.trouble.rest = []byte{'\n'}
	}
}

func (l *Writer) last() *segment { return &l.files[len(l.files)-1] }

// Write takes what the payload wrote to "stdout" or "stderr".
func (l *Writer) Write(stream string, data []byte) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.write(stream, data)
}

func (l *Writer) write(stream string, data []byte) {
	if l.fd < 0 || !l.arena.open() {
		return // closed: late output of a process that outlived the payload
	}
	p, size := &l.parts[0], len(data)
	if stream == l.parts[1].name {
		p = &l.parts[1]
	}
	l.clock()
	l.out = l.arena.out()
	for len(data) > 0 {
		data = data[l.take(p, data):]
	}
	l.flush()
	l.arena.used(size, &l.parts, &l.mu)
}

// clock reads the time once for all entries of a Write: they arrived together.
func (l *Writer) clock() {
	l.stamp = time.Now().UTC().AppendFormat(l.stamp[:0], "2006-01-02T15:04:05.000000000Z")
}

// take makes an entry of the beginning of data, or keeps it until its line ends.
// The result is how much of data it took.
func (l *Writer) take(p *part, data []byte) int {
	room := maxLine - len(p.line)
	end := bytes.IndexByte(data[:min(room, len(data))], '\n') + 1
	if len(p.line) == 0 && (end > 0 || len(data) >= maxLine) { // the usual case: nothing is copied
		if end == 0 {
			end = whole(data[:maxLine])
		}
		l.entry(p.name, data[:end])
		return end
	}
	taken := end
	if end == 0 {
		taken = min(room, len(data))
	}
	if p.line == nil {
		p.line = l.arena.part(p == &l.parts[1])
	}
	p.line = append(p.line, data[:taken]...)
	switch {
	case end > 0:
		l.entry(p.name, p.line)
		p.line = p.line[:0]
	case len(p.line) >= maxLine:
		n := whole(p.line)
		l.entry(p.name, p.line[:n])
		p.line = p.line[:copy(p.line, p.line[n:])]
	}
	return taken
}

// entry encodes one line. An entry is never divided between two files.
func (l *Writer) entry(stream string, line []byte) {
	if len(l.out) > 0 && len(l.out)+worst(len(line))+len(l.attrs) > cap(l.out) {
		l.flush()
	}
	begin := len(l.out)
	l.out = appendEntry(l.out, line, stream, l.stamp, l.attrs)
	if l.max > 0 && l.last().size+int64(len(l.out))+2 > l.max && l.last().size+int64(begin) > 0 {
		l.turn(begin)
	} else {
		l.out = append(l.out, '}', '\n')
	}
	if l.journal != nil {
		before := l.journal.dropped
		if l.journal.send(stream, line, l.stamp); l.journal.dropped != before {
			l.say(l.journal.notice(false))
		}
	}
}

// say adds a line of our own to the log.
func (l *Writer) say(text string) {
	if text != "" {
		l.out = append(appendEntry(l.out, []byte(text), "stderr", l.stamp, nil), '}', '\n')
	}
}

// turn begins a new file with the entry at begin of out.
func (l *Writer) turn(begin int) {
	entry := l.out[begin:]
	l.out = l.out[:begin]
	l.flush() // leaves the bytes behind it alone
	moved := l.rotate()
	l.out = append(l.out[:0], entry...)
	if moved {
		l.out = appendAt(l.out, l.at)
	} else {
		l.out = append(l.out, '}', '\n')
	}
}

// Suspend closes the log and hands over the unfinished lines, for the process
// that goes on in our place.
func (l *Writer) Suspend() map[string][]byte {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	unfinished := map[string][]byte{}
	for i := range l.parts {
		if p := &l.parts[i]; len(p.line) > 0 {
			unfinished[p.name] = bytes.Clone(p.line)
			p.line = nil
		}
	}
	if l.fd >= 0 {
		l.close()
		l.dir.close()
	}
	return unfinished
}

// Close writes the unfinished lines and closes the log.
func (l *Writer) Close() {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fd < 0 {
		return
	}
	if l.arena.open() {
		l.clock()
		l.out = l.arena.out()
		for i := range l.parts {
			if p := &l.parts[i]; len(p.line) > 0 {
				l.entry(p.name, p.line)
			}
			l.parts[i].line = nil
		}
	}
	l.close()
	if l.leave {
		l.awaitReaders(4 * time.Second) // `rc rm -f` waits 5 s for us
	}
	l.dir.close()
}

func (l *Writer) close() {
	if l.journal != nil && len(l.stamp) > 0 {
		l.say(l.journal.notice(true))
		l.journal.hangUp()
	}
	l.settle()
	l.prune()
	l.forget()
	_ = unix.Close(l.fd)
	l.fd = -1
	l.arena.close()
	l.out = nil
}

// awaitReaders waits, before the folder is removed, for readers that are still
// before the last file: the last one itself they have open.
func (l *Writer) awaitReaders(bound time.Duration) {
	for end := time.Now().Add(bound); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		lagging := false
		for _, f := range l.files[:len(l.files)-1] {
			lagging = lagging || l.dir.held(f.seq)
		}
		if !lagging {
			return
		}
	}
}
