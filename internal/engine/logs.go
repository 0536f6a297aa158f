package engine

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/logs"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/spec"
)

// logConfig is the container's log as the record has it.
func (l *launch) logConfig() record.LogConfig {
	c := l.plan.Log
	l.rec.Log = c // the tag is a text of the record
	c.Tag = spec.LogTag(&l.rec)
	if c.Driver == "journald" {
		c.Image = l.rec.ImageName
	}
	return c
}

// LogsQuery is what `rc logs` was asked for.
type LogsQuery struct {
	Follow, Timestamps, Details bool

	Tail         int       // lines from the end; negative: all
	Since, Until time.Time // zero for no bound
	Out, Err     *os.File
}

// Logs prints a container's log, its two streams apart. The exit code is 1 where a
// part of it was gone before it could be read.
func (e *Engine) Logs(ref string, q LogsQuery) (int, error) {
	id, err := e.Store.FindContainer(ref)
	if err != nil {
		return 0, err
	}
	c, err := e.Store.LoadContainer(id)
	if err != nil {
		return 0, hint.New("read container "+ref, hint.Cause(err), deleteFix(err, "it", ref)).WithCode(1)
	}
	if c.Log.Driver == "none" {
		return 0, hint.Newf("show the log of container "+ref, "run it with another --log-driver", "it has none: it was made with --log-driver none").WithCode(1)
	}
	p := newLogPrinter(&q)
	code := 0
	path := filepath.Join(e.Store.ContainerDir(id), "log")
	torn, err := logs.Read(path, logs.Query{
		Tail: q.Tail, Since: q.Since, Until: q.Until, Follow: q.Follow,
		Entry: p.print, Idle: p.flush,
		Ended: func() bool { return e.silent(id) },
		Lost: func(bytes int64) {
			_ = p.flush()
			code = 1
			e.Warn(lostText(ref, bytes))
		},
	})
	if e.silent(id) {
		logs.Tidy(path, &c.Log) // what we held when the writer wanted to remove it
	}
	err = errors.Join(err, p.flush())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return 0, e.noLog(ref, c)
	case torn > 0:
		e.Warn(fmt.Sprintf("%d entries in the log of container %s are torn, because their writer was killed, and left out", torn, ref))
	}
	return code, err
}

func lostText(ref string, bytes int64) string {
	if bytes < 0 {
		return "container " + ref + " was removed before all of its log could be read: the rest is lost"
	}
	return fmt.Sprintf("%d bytes of the log of container %s are lost: they were removed before they could be read, because this reader was stopped or too slow", bytes, ref)
}

// noLog says why there is no file.
func (e *Engine) noLog(ref string, c *record.Container) error {
	st, err := e.Store.LoadState(c.ID)
	if err == nil && st != nil && st.Status != record.Created && c.AutoRemove {
		return hint.Newf("show the log of container "+ref, "run it with -d or with --log-driver json-file",
			"it has none: it runs with --rm in somebody's foreground, where its output goes").WithCode(1)
	}
	return nil // it has not been started
}

// restartGrace is for how long a follower waits for the second half of a `rc
// restart`, or of a stop and a start.
const restartGrace = 500 * time.Millisecond

// silent tells whether nobody writes to a container's log any more.
func (e *Engine) silent(id string) bool {
	if alive, err := e.Store.Alive(id); err == nil && alive {
		return false
	}
	st, err := e.Store.LoadState(id)
	if err != nil || st == nil {
		return true
	}
	return !shimLives(st) && !(st.Stopped && time.Since(st.Finished) < restartGrace)
}

// logPrinter writes entries to the caller's stdout and stderr.
type logPrinter struct {
	q        *LogsQuery
	out, err *bufio.Writer
	last     *bufio.Writer
	middle   map[string]bool // streams whose last entry did not end its line
}

func newLogPrinter(q *LogsQuery) *logPrinter {
	p := &logPrinter{q: q, out: bufio.NewWriterSize(q.Out, 64<<10), middle: map[string]bool{}}
	p.err, p.last = p.out, p.out
	if !sameFile(q.Out, q.Err) { // a terminal, 2>&1: one writer keeps the order
		p.err = bufio.NewWriterSize(q.Err, 64<<10)
	}
	return p
}

func sameFile(a, b *os.File) bool {
	var sa, sb unix.Stat_t
	return unix.Fstat(int(a.Fd()), &sa) == nil && unix.Fstat(int(b.Fd()), &sb) == nil && sa.Dev == sb.Dev && sa.Ino == sb.Ino && sa.Rdev == sb.Rdev
}

func (p *logPrinter) print(e *logs.Entry) error {
	w := p.out
	if e.Stream == "stderr" {
		w = p.err
	}
	if w != p.last {
		if err := p.last.Flush(); err != nil {
			return err
		}
		p.last = w
	}
	if p.q.Timestamps || p.q.Details {
		if !p.middle[e.Stream] {
			p.head(w, e)
		}
		p.middle[e.Stream] = len(e.Line) > 0 && e.Line[len(e.Line)-1] != '\n'
	}
	_, err := w.Write(e.Line)
	return err
}

// head is what stands before a line: Docker's order and spelling
// (api/server/httputils/write_log_stream.go).
func (p *logPrinter) head(w *bufio.Writer, e *logs.Entry) {
	if p.q.Timestamps {
		_, _ = w.WriteString(e.Time().Format("2006-01-02T15:04:05.000000000Z07:00") + " ")
	}
	if p.q.Details {
		attrs := e.Attrs()
		var pairs []string
		for _, key := range slices.Sorted(maps.Keys(attrs)) {
			pairs = append(pairs, queryEscape(key)+"="+queryEscape(attrs[key]))
		}
		_, _ = w.WriteString(strings.Join(pairs, ",") + " ")
	}
}

// queryEscape is net/url's, which rc does not link.
func queryEscape(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("-_.~", c) >= 0:
			b.WriteByte(c)
		case c == ' ':
			b.WriteByte('+')
		default:
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
	return b.String()
}

func (p *logPrinter) flush() error { return errors.Join(p.out.Flush(), p.err.Flush()) }
