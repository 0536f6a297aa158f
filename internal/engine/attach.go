package engine

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/stage/start"
	"github.com/rc-containers/rc/internal/trace"
)

// Streams are the caller's own.
type Streams struct {
	In, Out, Err *os.File
	DetachKeys   []byte // typed in a row on a terminal, they detach; empty: never
	NoSignals    bool   // --sig-proxy=false: signals are the caller's alone
}

// DefaultDetachKeys is ^P^Q, Docker's.
var DefaultDetachKeys = []byte{0x10, 0x11}

// attachment is the caller's side of a container's streams: our ends of the
// pipes whose other ends the shim has, and the saved state of the terminal.
type attachment struct {
	Streams
	tty, input             bool              // the container has a terminal; our input is connected
	gone                   func(error) error // what a conversation that breaks off means
	warn                   func(string)
	redraw                 bool          // the terminal shows nothing yet of what its programs have drawn
	guest                  bool          // it runs without us: when our reader is gone, we leave
	unread                 chan struct{} // closed then, of a guest
	once                   sync.Once
	toIn, fromOut, fromErr *os.File
	theirs                 []*os.File
	saved                  *unix.Termios
	writes                 sync.WaitGroup
	lost                   atomic.Pointer[hint.Error] // why output could not be written
	detached               chan struct{}
	left                   bool   // by the detach keys: the container goes on
	stop                   func() // what SIGTERM means to a unit's own process; nil: it is passed on
}

// size is that of the first terminal among the streams: with input from a pipe,
// the one that shows the output.
func (s Streams) size() (rows, cols uint16) {
	for _, f := range []*os.File{s.In, s.Out, s.Err} {
		if f == nil {
			continue
		}
		if ws, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err == nil {
			return ws.Row, ws.Col
		}
	}
	return 0, 0
}

// IsTerminal tells whether f is a terminal.
func IsTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// open makes the pipes that an attached start needs.
func (s Streams) open(l *launch) (*attachment, error) {
	if l.opts.Detach {
		return &attachment{Streams: s}, nil
	}
	a, err := s.connect(l.opts.TTY, l.opts.Interactive, func(name string, f *os.File) { l.files[name] = f })
	if err != nil {
		return nil, err
	}
	a.gone, a.warn = func(err error) error { return l.e.shimDied(l.id, err) }, l.e.Warn
	return a, nil
}

// connect makes pipes for what goes between us and a process of a container, and
// gives away the ends that are the shim's.
func (s Streams) connect(tty, input bool, give func(string, *os.File)) (*attachment, error) {
	a := &attachment{Streams: s, tty: tty, input: input, detached: make(chan struct{}), unread: make(chan struct{})}
	if tty && input && !IsTerminal(s.In) {
		return nil, hint.Newf("attach the terminal", "leave out -t, or run it in a terminal", "the input is not a terminal").WithCode(1)
	}
	ends := []struct {
		name string
		ours **os.File
		on   bool
	}{{"stdin", &a.toIn, input}, {"stdout", &a.fromOut, true}, {"stderr", &a.fromErr, !tty}}
	for _, end := range ends {
		if !end.on {
			continue
		}
		r, w, err := pipe()
		if err != nil {
			return nil, err
		}
		theirs := w
		if *end.ours = r; end.name == "stdin" {
			theirs, *end.ours = r, w
		}
		give(end.name, theirs)
		a.theirs = append(a.theirs, theirs)
	}
	return a, nil
}

// enlarge gives the pipes the size of Docker's buffer for an attached client: the
// shim lets a reader go that takes nothing for long. The kernel may refuse, where
// many are attached (pipe(7), pipe-user-pages-soft).
func (a *attachment) enlarge() {
	for _, f := range []*os.File{a.fromOut, a.fromErr} {
		if f == nil {
			continue
		}
		if raw, err := f.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) { _, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, 1<<20) })
		}
	}
}

// pipe makes both ends non-blocking: both are on a Go poller, here or in the shim.
func pipe() (*os.File, *os.File, error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, nil, hint.New("make a pipe", err, "raise the number of open files: ulimit -n")
	}
	return os.NewFile(uintptr(p[0]), "pipe"), os.NewFile(uintptr(p[1]), "pipe"), nil
}

// handOver closes the shim's ends here, so that its death ends our reads.
func (a *attachment) handOver() {
	for _, f := range a.theirs {
		_ = f.Close()
	}
}

// follow is relay of a container that we started.
func (a *attachment) follow(_ *launch, conn *stage.Conn) (int, error) { return a.relay(conn) }

// relay copies until the container's process ends, or the caller detaches or goes
// away.
func (a *attachment) relay(conn *stage.Conn) (int, error) {
	defer trace.Wait("the payload's end").End()
	send := &sender{conn: conn}
	if err := a.rawMode(a.tty && a.input); err != nil {
		return 0, err
	}
	defer a.restore()
	// A write to a closed stdout must be an error that we pass on, not our end.
	signal.Ignore(unix.SIGPIPE)
	a.copyAll(send)
	defer a.forward(send)()
	if !a.guest && (a.toIn == nil || !a.tty) {
		return a.finish(lastWord(conn)) // nothing else can come first
	}
	end := make(chan ending, 1)
	go func() { end <- lastWord(conn) }()
	select {
	case <-a.detached:
		send.message(&start.Message{Kind: start.KindDetach})
		a.left = true
		return 0, nil
	case <-a.unread:
		send.message(&start.Message{Kind: start.KindDetach})
		a.left = true
		if lost := a.lost.Load(); lost != nil {
			return 0, lost
		}
		return 128 + int(unix.SIGPIPE), nil // as any program in a pipeline
	case e := <-end:
		return a.finish(e)
	}
}

// ending is the shim's last message, or why there is none.
type ending struct {
	m   start.Message
	err error
}

func lastWord(conn *stage.Conn) (e ending) {
	var files []*os.File
	files, e.err = conn.Recv(&e.m)
	stage.CloseFiles(files)
	return e
}

// finish waits for what is still to be written and judges.
func (a *attachment) finish(e ending) (int, error) {
	if a.saved == nil {
		forwardSignals(nil) // from here on a signal is for us, should our reader be slow
	}
	if e.err == nil && e.m.Kind == start.KindFailed && e.m.Fail != nil {
		return 0, e.m.Fail.Error() // let go: what else we read is not all
	}
	a.writes.Wait()
	switch {
	case e.err != nil:
		a.restore()
		return 0, a.gone(e.err)
	case e.m.Kind != start.KindExited || e.m.Exit == nil:
		return 0, fmt.Errorf("unexpected message %q from the shim", e.m.Kind)
	}
	return a.verdict(e.m.Exit.Code)
}

// verdict is the payload's code, unless output was lost: success would be a lie.
func (a *attachment) verdict(code int) (int, error) {
	lost := a.lost.Load()
	switch {
	case lost == nil:
		return code, nil
	case code == 0:
		return 0, lost
	}
	a.restore()
	a.warn(lost.Error())
	return code, nil
}

// sender serialises the goroutines that speak to the shim.
type sender struct {
	mu   sync.Mutex
	conn *stage.Conn
}

func (s *sender) message(m *start.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.conn.Send(m) // a dead shim shows in the reader
}

// copyAll copies between our streams and the pipes.
func (a *attachment) copyAll(send *sender) {
	copyOut := func(from, to *os.File, name string) {
		_, err := io.Copy(struct{ io.Writer }{to}, struct{ io.Reader }{from})
		if err != nil {
			// Our reader left (`rc run … | head -1`), or the disk is full: the
			// payload gets its SIGPIPE, and never waits for us.
			send.message(&start.Message{Kind: start.KindCloseStream, Stream: name})
			if !a.guest {
				_, _ = io.Copy(io.Discard, from)
			}
		}
		if err != nil && a.guest {
			defer a.once.Do(func() { close(a.unread) })
		}
		if err != nil && !errors.Is(err, unix.EPIPE) {
			a.lost.CompareAndSwap(nil, hint.New("write the container's "+name, hint.Cause(err), ""))
		}
	}
	a.writes.Go(func() { copyOut(a.fromOut, a.Out, "stdout") })
	if a.fromErr != nil {
		a.writes.Go(func() { copyOut(a.fromErr, a.Err, "stderr") })
	}
	if a.toIn == nil {
		return
	}
	go func() {
		defer a.toIn.Close()
		if !a.tty {
			_, _ = io.Copy(struct{ io.Writer }{a.toIn}, struct{ io.Reader }{a.In})
			return
		}
		if copyUntil(a.toIn, a.In, a.DetachKeys) {
			close(a.detached)
		}
	}()
}

// copyUntil copies until the keys were typed in a row (true) or the input ends.
// A partly typed sequence is held back and sent when it turns out to be none.
func copyUntil(to io.Writer, from io.Reader, keys []byte) bool {
	buf := make([]byte, 4096)
	held := 0 // so many of the keys were typed
	for {
		n, err := from.Read(buf)
		out := make([]byte, 0, n+len(keys))
		for _, c := range buf[:n] {
			for held > 0 && c != keys[held] {
				next := overlap(keys, held)
				out = append(out, keys[:held-next]...)
				held = next
			}
			if len(keys) == 0 || c != keys[held] {
				out = append(out, c)
				continue
			}
			if held++; held == len(keys) {
				_, _ = to.Write(out)
				return true
			}
		}
		if err != nil {
			out = append(out, keys[:held]...)
		}
		if _, werr := to.Write(out); werr != nil || err != nil {
			return false
		}
	}
}

// overlap is how many of the first held keys can be the start of another try:
// with the keys a,a,b and "aa" typed, one more a leaves "aa" typed.
func overlap(keys []byte, held int) int {
	next := held - 1
	for next > 0 && string(keys[:next]) != string(keys[held-next:held]) {
		next--
	}
	return next
}

// rawMode lets every key reach the container's terminal.
func (a *attachment) rawMode(on bool) error {
	if !on {
		return nil
	}
	fd := int(a.In.Fd())
	old, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return hint.New("read the terminal's mode", err, "")
	}
	raw := *old // cfmakeraw(3)
	raw.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	raw.Oflag &^= unix.OPOST
	raw.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	raw.Cflag = raw.Cflag&^(unix.CSIZE|unix.PARENB) | unix.CS8
	raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(fd, unix.TCSETSW, &raw); err != nil {
		return hint.New("set the terminal's mode", err, "")
	}
	a.saved = old
	return nil
}

func (a *attachment) restore() {
	if a.saved != nil {
		_ = unix.IoctlSetTermios(int(a.In.Fd()), unix.TCSETSW, a.saved)
		a.saved = nil
	}
}

// forward passes signals to the payload, and the terminal's size. A hang-up is
// not passed on: the container must not die because its caller's terminal did.
func (a *attachment) forward(send *sender) (stop func()) {
	var sizes chan os.Signal
	if a.tty {
		sizes = make(chan os.Signal, 1)
		signal.Notify(sizes, unix.SIGWINCH)
		resize := func() {
			if rows, cols := a.size(); rows > 0 {
				if a.redraw { // a terminal of another size is drawn anew (docker/cli, resizeTTY)
					a.redraw = false
					send.message(&start.Message{Kind: start.KindResize, Rows: rows + 1, Cols: cols})
				}
				send.message(&start.Message{Kind: start.KindResize, Rows: rows, Cols: cols})
			}
		}
		resize()
		go func() {
			for range sizes {
				resize()
			}
		}()
	}
	if !a.NoSignals {
		a.forwardAll(send)
	}
	return func() {
		forwardSignals(nil)
		if sizes != nil {
			signal.Stop(sizes)
		}
	}
}

func (a *attachment) forwardAll(send *sender) {
	forwardSignals(func(sig unix.Signal) {
		if a.stop != nil && sig == unix.SIGTERM {
			go a.stop() // the manager's word is about the container, not about its terminal
			return
		}
		if sig == unix.SIGHUP && a.stop == nil {
			a.restore()
			os.Exit(128 + int(sig))
		}
		send.message(&start.Message{Kind: start.KindSignal, Signal: int(sig)})
	})
}

// forwardSignals calls pass for each signal that a user or a supervisor sends, instead
// of what was called before; with nil they do what they do to any process. SIGPIPE and
// SIGURG are Go's own, SIGCHLD ours, SIGTSTP and its like the shell's.
//
// They are asked for once and never given back: for each, signal.Stop waits for the
// runtime's thread of masks, 16 thread switches between the end of a payload and ours.
func forwardSignals(pass func(unix.Signal)) {
	signals.pass.Store(&pass)
	if pass != nil {
		askForSignals()
	}
}

// readySignals is for a caller that is about to wait for the shim anyway: asking is a
// thread of the runtime's and two switches for each signal, which is better done
// before there is something to forward them to. Until then they do what they do to any
// process.
func (a *attachment) readySignals() {
	if !a.NoSignals {
		signals.pass.CompareAndSwap(nil, new(func(unix.Signal)))
		askForSignals()
	}
}

func askForSignals() {
	signals.once.Do(func() {
		c := make(chan os.Signal, 64)
		signal.Notify(c, unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2, unix.SIGALRM, unix.SIGCONT)
		go func() {
			for s := range c {
				obey(s.(syscall.Signal))
			}
		}()
	})
}

var signals struct {
	once sync.Once
	pass atomic.Pointer[func(unix.Signal)]
}

func obey(sig unix.Signal) {
	switch pass := *signals.pass.Load(); {
	case pass != nil:
		pass(sig)
	case sig != unix.SIGCONT: // which has done its work
		signal.Reset(sig)
		_ = unix.Kill(os.Getpid(), sig)
	}
}
