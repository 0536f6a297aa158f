package shim

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/logs"
	"github.com/rc-containers/rc/internal/trace"
)

// streams carry the payload's standard streams. The payload never holds a
// descriptor of the caller's: it has pipes, or a terminal, that end here. (A
// file given as stdin could be opened for writing through /proc/self/fd/0.)
//
//	payload ── pipe or terminal ── shim ─┬─ log
//	                                     ├─ pipe ── rc run ── its stdin, stdout, stderr
//	                                     └─ pipe ── rc attach …
//
// A caller that dies breaks its pipes: the shim goes on reading, so the payload
// is neither blocked nor killed. A caller whose own stdout was closed says so
// (CloseStream); see callers.go.
type streams struct {
	in, out, err *os.File // our ends of the payload's pipes
	tty          *os.File // the terminal's master instead
	rows, cols   uint16   // asked for before the terminal was there

	mu        sync.Mutex // guards callers and over
	callers   []*caller
	over      [len(streamNames)]bool // the payload has closed its end
	first     *caller                // who started the payload, attached
	log       *logs.Writer
	pumps     sync.WaitGroup
	ending    atomic.Bool // the payload has ended: no reader waits any more
	halted    atomic.Bool // the copying stands still (suspend)
	feeding   atomic.Int32
	wrote     atomic.Int64 // when the payload last did, by ticks()
	closeOnce sync.Once
}

// carried is what streams need to go on in another process, or in this one: the
// open ends by name (in, out, err, tty), and lines that the payload has begun to
// write and that the log does not hold yet.
type carried struct {
	files map[string]*os.File
	lines map[string][]byte
}

// quiet tells whether nobody is attached and no input waits to be delivered.
func (s *streams) quiet() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.callers {
		if c.out != ([len(streamNames)]*os.File{}) {
			return false
		}
	}
	return s.feeding.Load() == 0
}

// events names what of carried is to be waited for: not what has ended, which would
// be an event for ever.
func (s *streams) events() (names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.over[stdout] {
		names = append(names, "stream-out", "stream-tty")
	}
	if !s.over[stderr] {
		names = append(names, "stream-err")
	}
	return names
}

// suspend stops the copying and returns when no byte is on its way: what the
// payload has written is in the log, in carried, or still in its pipe. A slow log
// is waited for.
func (s *streams) suspend() carried {
	s.halted.Store(true)
	c := carried{files: map[string]*os.File{}}
	for name, f := range map[string]*os.File{"in": s.in, "out": s.out, "err": s.err, "tty": s.tty} {
		if f == nil || f.SetReadDeadline(time.Now()) != nil {
			continue // closed: the pipeline that read it ended
		}
		c.files[name] = f
	}
	s.pumps.Wait()
	c.lines = s.log.Suspend()
	return c
}

// resume goes on with what suspend returned, here or in another process. The log,
// which suspend closed, has been opened again with the unfinished lines.
func (s *streams) resume(c carried) {
	s.in, s.out, s.err, s.tty = c.files["in"], c.files["out"], c.files["err"], c.files["tty"]
	s.halted.Store(false)
	for _, f := range []*os.File{s.out, s.err, s.tty} {
		if f != nil {
			_ = f.SetReadDeadline(time.Time{})
		}
	}
	s.copyOut()
}

// open makes the payload's ends. With a terminal it starts on nothing: init
// connects the terminal itself.
func (s *streams) open(terminal, stdin bool) (payload [3]*os.File, err error) {
	if terminal {
		return payload, nil
	}
	if stdin {
		if payload[0], s.in, err = pipe(false); err != nil {
			return payload, err
		}
	}
	if s.out, payload[1], err = pipe(true); err != nil {
		return payload, err
	}
	s.err, payload[2], err = pipe(true)
	return payload, err
}

// pipe returns both ends; ours is non-blocking, for Go's poller, and the
// payload's is not, because programs do not expect EAGAIN.
func pipe(weRead bool) (r, w *os.File, err error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, hint.New("make a pipe", err, "raise the number of open files: ulimit -n")
	}
	ours := p[1]
	if weRead {
		ours = p[0]
	}
	_ = unix.SetNonblock(ours, true)
	return os.NewFile(uintptr(p[0]), "pipe"), os.NewFile(uintptr(p[1]), "pipe"), nil
}

// pollable gives f to Go's poller: a waiting read then holds no thread.
func pollable(f *os.File) *os.File {
	if f == nil {
		return nil
	}
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return f
	}
	_ = f.Close()
	_ = unix.SetNonblock(fd, true)
	return os.NewFile(uintptr(fd), "stream")
}

func (s *streams) terminal(master *os.File) {
	s.tty = pollable(master)
	if s.rows > 0 {
		s.resize(s.rows, s.cols)
	}
}

func (s *streams) resize(rows, cols uint16) {
	s.rows, s.cols = rows, cols
	if s.tty == nil || rows == 0 {
		return
	}
	if raw, err := s.tty.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) {
			_ = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols})
		})
	}
}

// pump starts the copying between the payload and the ends of the caller who
// started it; all nil when nobody is attached.
func (s *streams) pump(in, out, errw *os.File) {
	if in != nil || out != nil || errw != nil {
		s.first = newCaller(in, out, errw)
		s.first.once, s.first.waited = true, true
		s.join(s.first)
	}
	s.copyOut()
}

// copyOut starts the copying of what the payload writes.
func (s *streams) copyOut() {
	out := s.out
	if s.tty != nil {
		out = s.tty
	}
	if out != nil {
		s.pumps.Go(func() { s.drain(out, stdout) })
	}
	if s.tty == nil && s.err != nil {
		s.pumps.Go(func() { s.drain(s.err, stderr) })
	}
}

// maxPipe is what a pipe can hold, in bytes: an unprivileged payload can raise it
// so far (/proc/sys/fs/pipe-max-size, pipe(7)).
const maxPipe = 1 << 20

// fewBytes is what is read at a time at first: most payloads say little, and 32 KiB
// are eight pages to clear at each start. One page: pipes hold whole ones.
const fewBytes = 4 << 10

// drain copies what the payload writes until it closes its end.
func (s *streams) drain(from *os.File, stream int) {
	buf := make([]byte, fewBytes)
	for left := maxPipe; left > 0; {
		n, err := s.read(from, buf)
		if s.ending.Load() {
			left -= n
		}
		if n > 0 {
			s.wrote.Store(ticks())
			s.log.Write(streamNames[stream], buf[:n]) // first: it waits for no reader
			s.deliver(stream, buf[:n])
		}
		if n == fewBytes {
			buf = make([]byte, 32<<10)
		}
		if errors.Is(err, errHalted) {
			return
		}
		if err != nil { // EIO: the last holder of the terminal is gone (tty_ioctl(4))
			break
		}
	}
	s.endOf(stream)
}

// read waits for what the payload writes. Once nobody may wait any more, it takes
// what is there already and then ends (EAGAIN).
func (s *streams) read(from *os.File, buf []byte) (int, error) {
	if !s.ending.Load() {
		n, err := from.Read(buf)
		if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		if s.halted.Load() {
			return 0, errHalted
		}
	}
	raw, err := from.SyscallConn() // an expired deadline refuses Read even what is there
	if err != nil {
		return 0, err
	}
	var n int
	var rerr error
	if err := raw.Control(func(fd uintptr) { n, rerr = unix.Read(int(fd), buf) }); err != nil {
		return 0, err
	}
	if n == 0 && rerr == nil {
		rerr = io.EOF
	}
	return max(n, 0), rerr
}

// closeStream is closeFor of the caller who started the payload.
func (s *streams) closeStream(name string) { s.closeFor(s.first, name) }

// detach lets the caller who started the payload go; the payload keeps running.
func (s *streams) detach() { s.leave(s.first) }

// finish waits until everything that the payload wrote is delivered, however slow
// the caller's reader is. A process outside the container may hold a pipe open for
// ever (--pid=host, a descriptor passed through a shared socket): for what such a
// one may still write, nobody waits longer than the bound.
func (s *streams) finish(bound time.Duration) {
	defer trace.Begin("drain the streams").End()
	drained := make(chan struct{})
	go func() { s.pumps.Wait(); close(drained) }()
	select {
	case <-drained:
	case <-time.After(bound):
		s.ending.Store(true)
		for _, f := range []*os.File{s.out, s.err, s.tty} {
			if f != nil {
				_ = f.SetReadDeadline(time.Now())
			}
		}
		<-drained
	}
	s.closeOnce.Do(func() {
		for _, f := range []*os.File{s.in, s.out, s.err, s.tty} {
			if f != nil {
				_ = f.Close()
			}
		}
		s.log.Close()
	})
}

var errHalted = errors.New("the copying of streams was suspended")

var errNoInit = errors.New("the container has no process")

// errStarting is a container between two states: who asks again finds it in one.
var errStarting = fmt.Errorf("it is being started, or waits for its restart (%w)", unix.EAGAIN)
