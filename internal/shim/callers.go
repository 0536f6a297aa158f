package shim

import (
	"errors"
	"io"
	"os"
	"slices"
	"time"
)

// A stream of output, by its number among the standard ones.
const (
	stdout = iota
	stderr
)

var streamNames = [...]string{stdout: "stdout", stderr: "stderr"}

// callerPatience is how long an attached reader may take nothing before it is let
// go. The payload waits that long and no longer: Docker lets it wait for ever once
// the client's buffer of 1 MB is full (docker container attach); here the buffer is
// the caller's pipe, which rc makes as large.
var callerPatience = 10 * time.Second // tests are less patient

// caller is one rc that is attached: our ends of its pipes. There may be several;
// each gets all that is written from the moment on at which it comes.
type caller struct {
	in   *os.File
	out  [len(streamNames)]*os.File // nil: not wanted, or over; guarded by streams.mu
	once bool                       // the end of its input ends the payload's (Docker's StdinOnce)

	// waited is the caller that started the payload, in whose foreground it runs: it
	// is waited for, however slow, as any program waits for its terminal.
	waited bool
	behind chan struct{} // closed when it was let go because it did not read
	left   bool          // guarded by streams.mu
}

func newCaller(in, out, errw *os.File) *caller {
	return &caller{in: pollable(in), out: [...]*os.File{pollable(out), pollable(errw)}, behind: make(chan struct{})}
}

// join attaches a caller.
func (s *streams) join(c *caller) {
	s.mu.Lock()
	s.callers = append(s.callers, c)
	for stream, over := range s.over {
		if over && c.out[stream] != nil {
			_ = c.out[stream].Close() // it reads the end at once
			c.out[stream] = nil
		}
	}
	s.mu.Unlock()
	if c.in != nil {
		s.feeding.Add(1)
		go s.feed(c)
	}
}

// leave lets a caller go; the payload keeps running, and its input stays open. first
// tells whether it was there until now.
func (s *streams) leave(c *caller) (first bool) {
	if c == nil {
		return false
	}
	s.mu.Lock()
	first, c.left = !c.left, true
	s.callers = slices.DeleteFunc(s.callers, func(o *caller) bool { return o == c })
	for stream := range c.out {
		c.shut(stream)
	}
	s.mu.Unlock()
	if c.in != nil {
		_ = c.in.Close()
	}
	return first
}

// shut closes one stream of a caller, under streams.mu. A write that waits on it ends.
func (c *caller) shut(stream int) {
	if c.out[stream] != nil {
		_ = c.out[stream].Close()
		c.out[stream] = nil
	}
}

// leaveAll gives up every reader.
func (s *streams) leaveAll() {
	s.mu.Lock()
	all := slices.Clone(s.callers)
	s.mu.Unlock()
	for _, c := range all {
		s.leave(c)
	}
}

// sink is one caller's end of one stream.
type sink struct {
	*caller
	to *os.File
}

func (s *streams) sinks(stream int) (list []sink) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.callers {
		if c.out[stream] != nil {
			list = append(list, sink{c, c.out[stream]})
		}
	}
	return list
}

// deliver gives everybody what the payload wrote. One that is gone is forgotten.
func (s *streams) deliver(stream int, data []byte) {
	for _, k := range s.sinks(stream) {
		if !k.waited {
			_ = k.to.SetWriteDeadline(time.Now().Add(callerPatience))
		}
		_, err := k.to.Write(data)
		switch {
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded):
			if s.leave(k.caller) { // else the other stream was as late
				close(k.behind)
			}
		default:
			s.mu.Lock()
			k.shut(stream)
			s.mu.Unlock()
		}
	}
}

// endOf lets every caller read the end of a stream, those that come later too.
func (s *streams) endOf(stream int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over[stream] = true
	for _, c := range s.callers {
		c.shut(stream)
	}
}

// closeFor is a caller whose own reader has gone. Where the payload ran for it
// alone, the pipe breaks, and the payload gets its SIGPIPE, as in any pipeline: with a
// log too, `rc run IMAGE yes | head -1` shall end. `rc attach` ends nobody.
func (s *streams) closeFor(c *caller, name string) {
	stream := slices.Index(streamNames[:], name)
	if stream < 0 {
		return
	}
	if c != nil {
		s.mu.Lock()
		c.shut(stream)
		s.mu.Unlock()
	}
	f := [...]*os.File{s.out, s.err}[stream]
	if (c == nil || c.waited) && f != nil && len(s.sinks(stream)) == 0 {
		_ = f.Close()
	}
}

// feed copies a caller's input. Its end closes the payload's stdin where that was
// the caller's alone, unless it detached: then it stays open for a later attach.
func (s *streams) feed(c *caller) {
	defer s.feeding.Add(-1)
	to := s.in
	if s.tty != nil {
		to = s.tty
	}
	if to == nil {
		_ = c.in.Close()
		return
	}
	_, _ = io.Copy(struct{ io.Writer }{to}, struct{ io.Reader }{c.in})
	_ = c.in.Close()
	s.mu.Lock()
	left := c.left
	s.mu.Unlock()
	if s.tty == nil && c.once && !left {
		_ = s.in.Close()
	}
}
