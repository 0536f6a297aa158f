package shim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/logs"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// callerPipe makes a pipe as rc does: both ends on pollers.
func callerPipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	var p [2]int
	must(t, unix.Pipe2(p[:], unix.O_CLOEXEC|unix.O_NONBLOCK))
	r, w = os.NewFile(uintptr(p[0]), "r"), os.NewFile(uintptr(p[1]), "w")
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

// copied are streams that run, with the payload's ends and the caller's.
type copied struct {
	*streams
	payload     [3]*os.File
	in          *os.File // the caller writes its input here
	outR, errR  *os.File // and reads here
	outW, errW  *os.File
	payloadDone sync.Once
}

func startStreams(t *testing.T, stdin bool, log *logs.Writer) *copied {
	t.Helper()
	c := &copied{streams: &streams{log: log}}
	var err error
	c.payload, err = c.open(false, stdin)
	must(t, err)
	var inR *os.File
	if stdin {
		inR, c.in = callerPipe(t)
	}
	c.outR, c.outW = callerPipe(t)
	c.errR, c.errW = callerPipe(t)
	c.pump(inR, c.outW, c.errW) // pollable closes the given ones
	t.Cleanup(func() { c.end(); c.finish(time.Second) })
	return c
}

// end is the payload's: all its descriptors are closed.
func (c *copied) end() {
	c.payloadDone.Do(func() {
		for _, f := range c.payload {
			if f != nil {
				_ = f.Close()
			}
		}
	})
}

// within fails when f takes longer than a bound that only a hang reaches.
func within(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatalf("%s hangs", what)
	}
}

func TestStreamsAreByteExactAndApart(t *testing.T) {
	c := startStreams(t, true, nil)
	out, errs := bytes.Repeat([]byte("o\x00\xff\r\n"), 60_000), bytes.Repeat([]byte("E"), 90_001)
	var gotOut, gotErr, gotIn []byte
	var wg sync.WaitGroup
	wg.Go(func() { gotOut, _ = io.ReadAll(c.outR) })
	wg.Go(func() { gotErr, _ = io.ReadAll(c.errR) })
	wg.Go(func() { gotIn, _ = io.ReadAll(c.payload[0]) })
	wg.Go(func() {
		_, _ = c.in.Write(out)
		_ = c.in.Close() // the end of the input reaches the payload
	})
	_, err := c.payload[1].Write(out)
	must(t, err)
	_, err = c.payload[2].Write(errs)
	must(t, err)
	_ = c.payload[1].Close()
	_ = c.payload[2].Close()
	within(t, "copying", wg.Wait)
	if !bytes.Equal(gotOut, out) || !bytes.Equal(gotErr, errs) || !bytes.Equal(gotIn, out) {
		t.Errorf("%d, %d and %d bytes arrived", len(gotOut), len(gotErr), len(gotIn))
	}
}

// The payload holds pipes of its own, blocking ones; ours are close-on-exec.
func TestPayloadEnds(t *testing.T) {
	var s streams
	payload, err := s.open(false, false)
	must(t, err)
	if payload[0] != nil || s.in != nil {
		t.Error("a stdin that nobody asked for")
	}
	for i, f := range append(payload[1:], s.out, s.err) {
		flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0)
		must(t, err)
		if ours := i >= 2; (flags&unix.O_NONBLOCK != 0) != ours {
			t.Errorf("end %d: flags %#x", i, flags)
		}
		if fd, _ := unix.FcntlInt(f.Fd(), unix.F_GETFD, 0); fd&unix.FD_CLOEXEC == 0 {
			t.Errorf("end %d leaks into other programs", i)
		}
		defer f.Close()
	}
	if payload, err := s.open(true, true); err != nil || payload != [3]*os.File{} {
		t.Error("a terminal is init's own")
	}
}

// A reader that is slow loses nothing: `rc run IMAGE seq 99999 | less`.
func TestSlowReaderGetsEverything(t *testing.T) {
	c := startStreams(t, false, nil)
	text := bytes.Repeat([]byte("0123456789abcdef"), 8_000) // what two pipes hold, and more: the payload ends
	within(t, "the payload", func() {
		_, _ = c.payload[1].Write(text)
		c.end()
	})
	finished := make(chan struct{})
	go func() { c.finish(50 * time.Millisecond); close(finished) }()
	time.Sleep(400 * time.Millisecond) // far longer than the bound
	var got []byte
	within(t, "reading", func() { got, _ = io.ReadAll(c.outR) })
	if !bytes.Equal(got, text) {
		t.Errorf("%d of %d bytes", len(got), len(text))
	}
	within(t, "finish", func() { <-finished })
}

// A caller that dies breaks its pipes: the payload is neither blocked nor killed.
func TestDeadCaller(t *testing.T) {
	c := startStreams(t, true, nil)
	_ = c.outR.Close()
	_ = c.errR.Close()
	_ = c.in.Close()
	within(t, "the payload", func() {
		for range 20 {
			if _, err := c.payload[1].Write(make([]byte, 64<<10)); err != nil {
				t.Error(err)
			}
			if _, err := c.payload[2].Write(make([]byte, 64<<10)); err != nil {
				t.Error(err)
			}
		}
	})
	if n, err := c.payload[0].Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("stdin: %d %v", n, err)
	}
}

// A caller whose own stdout was closed says so: then the payload gets EPIPE.
func TestCloseStream(t *testing.T) {
	c := startStreams(t, false, nil)
	c.closeStream("stdout")
	var err error
	for end := time.Now().Add(5 * time.Second); err == nil && time.Now().Before(end); {
		_, err = c.payload[1].Write([]byte("x"))
	}
	if !errors.Is(err, unix.EPIPE) {
		t.Errorf("stdout: %v", err)
	}
	if _, err := c.payload[2].Write([]byte("still")); err != nil {
		t.Errorf("stderr: %v", err)
	}
	c.closeStream("stderr")
	c.closeStream("nonsense")
}

func TestDetachKeepsThePayload(t *testing.T) {
	path := t.TempDir() + "/log"
	log, err := logs.Open(path, nil)
	must(t, err)
	c := startStreams(t, true, log)
	_, err = c.payload[1].Write([]byte("before\n"))
	must(t, err)
	got := make([]byte, 7)
	_, err = io.ReadFull(c.outR, got)
	must(t, err)
	c.detach()
	if n, err := c.outR.Read(got); n != 0 || err != io.EOF {
		t.Errorf("the caller still reads: %d %v", n, err)
	}
	_, err = c.payload[1].Write([]byte("after\n"))
	must(t, err)
	ready := []unix.PollFd{{Fd: int32(c.payload[0].Fd()), Events: unix.POLLIN}}
	if n, err := unix.Poll(ready, 0); n != 0 || err != nil {
		t.Errorf("its stdin ended: %#x %v", ready[0].Revents, err)
	}
	c.end()
	within(t, "finish", func() { c.finish(5 * time.Second) })
	if got := logged(t, path); got != "stdout:before\n|stdout:after\n" {
		t.Errorf("%q", got)
	}
}

// A process outside the container may hold a pipe for ever: nobody waits for
// that one longer than the bound, and what was written before is delivered.
func TestFinishIsBounded(t *testing.T) {
	c := startStreams(t, false, nil)
	_, err := c.payload[1].Write([]byte("written"))
	must(t, err)
	begin := time.Now()
	within(t, "finish", func() { c.finish(100 * time.Millisecond) })
	if d := time.Since(begin); d < 50*time.Millisecond || d > 5*time.Second {
		t.Errorf("took %v", d)
	}
	if got, _ := io.ReadAll(c.outR); string(got) != "written" {
		t.Errorf("%q", got)
	}
	c.finish(0) // once more is no harm
}

// A payload that closes its stdin must not keep rc's reader busy.
func TestPayloadClosesItsInput(t *testing.T) {
	c := startStreams(t, true, nil)
	_ = c.payload[0].Close()
	var err error
	within(t, "the caller", func() {
		for err == nil {
			_, err = c.in.Write(make([]byte, 4096))
		}
	})
	if !errors.Is(err, unix.EPIPE) {
		t.Errorf("%v", err)
	}
}

func TestTerminalStream(t *testing.T) {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("needs a terminal: %v", err)
	}
	must(t, unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	must(t, err)
	tty, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	must(t, err)
	var s streams
	s.resize(21, 81) // asked for before the terminal was there
	s.terminal(master)
	size := func() string {
		ws, err := unix.IoctlGetWinsize(int(tty.Fd()), unix.TIOCGWINSZ)
		must(t, err)
		return fmt.Sprint(ws.Row, ws.Col)
	}
	if got := size(); got != "21 81" {
		t.Errorf("size %s", got)
	}
	s.resize(0, 0) // a caller without a terminal
	if got := size(); got != "21 81" {
		t.Errorf("size %s", got)
	}
	inR, in := callerPipe(t)
	outR, outW := callerPipe(t)
	s.pump(inR, outW, nil)
	_, err = in.WriteString("typed\n")
	must(t, err)
	buf := make([]byte, 100)
	k, err := tty.Read(buf)
	if err != nil || string(buf[:k]) != "typed\n" {
		t.Errorf("%q %v", buf[:k], err)
	}
	_, err = tty.WriteString("shown\n")
	must(t, err)
	_ = tty.Close() // the last holder: the master reads EIO
	within(t, "finish", func() { s.finish(5 * time.Second) })
	if got, _ := io.ReadAll(outR); string(got) != "typed\r\nshown\r\n" {
		t.Errorf("%q", got)
	}
}

// logged joins the entries of a log as stream:text|stream:text.
func logged(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	var parts []string
	for line := range strings.Lines(string(data)) {
		var e struct {
			Log, Stream string
			Time        time.Time
		}
		must(t, json.Unmarshal([]byte(line), &e))
		if time.Since(e.Time) > time.Hour || !strings.HasSuffix(line, "}\n") {
			t.Errorf("%q", line)
		}
		parts = append(parts, e.Stream+":"+e.Log)
	}
	return strings.Join(parts, "|")
}

// Both pumps write at once: entries stay whole and complete.
func TestLogIsWholeUnderConcurrency(t *testing.T) {
	path := t.TempDir() + "/log"
	log, err := logs.Open(path, nil)
	must(t, err)
	c := startStreams(t, false, log)
	go func() { _, _ = io.Copy(io.Discard, c.outR) }()
	go func() { _, _ = io.Copy(io.Discard, c.errR) }()
	var wg sync.WaitGroup
	for i := range 2 {
		wg.Go(func() {
			for n := range 500 {
				_, _ = fmt.Fprintf(c.payload[1+i], "%d %s\n", n, strings.Repeat("x", n))
			}
		})
	}
	wg.Wait()
	c.end()
	within(t, "finish", func() { c.finish(10 * time.Second) })
	next := map[string]int{}
	for entry := range strings.SplitSeq(logged(t, path), "|") {
		stream, text, _ := strings.Cut(entry, ":")
		if want := fmt.Sprintf("%d %s\n", next[stream], strings.Repeat("x", next[stream])); text != want {
			t.Fatalf("%s: %q, want %q", stream, text, want)
		}
		next[stream]++
	}
	if next["stdout"] != 500 || next["stderr"] != 500 {
		t.Errorf("%v lines", next)
	}
}
