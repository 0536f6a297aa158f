package engine

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/spec"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/stage/start"
)

// pieces splits a text into reads of random lengths.
type pieces struct {
	text []byte
	rnd  *rand.Rand
	end  error
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.text) == 0 {
		return 0, p.end
	}
	n := copy(b[:min(len(b), 1+p.rnd.IntN(5))], p.text)
	p.text = p.text[n:]
	if len(p.text) == 0 && p.rnd.IntN(2) == 0 {
		return n, p.end // a reader may give the last bytes and the end together
	}
	return n, nil
}

// TestCopyUntilProperty: the model is one line: what stands before the first
// place where all keys stand in a row. Small alphabets make partly typed keys
// frequent, and the splits fall everywhere.
func TestCopyUntilProperty(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	random := func(n, letters int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = 'a' + byte(rnd.IntN(letters))
		}
		return b
	}
	for i := range 30000 {
		letters := 1 + rnd.IntN(3)
		text, keys := random(rnd.IntN(30), letters), random(rnd.IntN(5), letters)
		wantOut, _, wantDetach := bytes.Cut(text, keys)
		if len(keys) == 0 {
			wantOut, wantDetach = text, false
		}
		var out bytes.Buffer
		detached := copyUntil(&out, &pieces{bytes.Clone(text), rnd, io.EOF}, keys)
		if detached != wantDetach || !bytes.Equal(out.Bytes(), wantOut) {
			t.Fatalf("case %d: keys %q in %q: %q %v, want %q %v", i, keys, text, out.Bytes(), detached, wantOut, wantDetach)
		}
	}
}

func TestCopyUntilEnds(t *testing.T) {
	var out bytes.Buffer
	if copyUntil(&out, iotest.ErrReader(errors.New("gone")), DefaultDetachKeys) {
		t.Error("an error is no detaching")
	}
	if copyUntil(iotest.TruncateWriter(&out, 0), strings.NewReader("x"), nil) {
		t.Error("nor is an end")
	}
	r, w := io.Pipe()
	r.Close() // the container is gone: no use in reading on
	endless := iotest.OneByteReader(strings.NewReader(strings.Repeat("x", 100)))
	if copyUntil(w, endless, DefaultDetachKeys) {
		t.Error("a failed write is no detaching")
	}
}

// A key that is held back is sent as soon as the next one is another: nothing
// that the user typed is late by more than a key.
func TestCopyUntilIsPrompt(t *testing.T) {
	from, keyboard := io.Pipe()
	container, to := io.Pipe()
	go copyUntil(to, from, DefaultDetachKeys)
	got := make([]byte, 8)
	for _, c := range []struct{ typed, arrives string }{{"a", "a"}, {"\x10b", "\x10b"}, {"\x11", "\x11"}, {"\x10\x10x", "\x10\x10x"}} {
		_, err := keyboard.Write([]byte(c.typed))
		must(t, err)
		n, err := io.ReadAtLeast(container, got, len(c.arrives))
		if err != nil || string(got[:n]) != c.arrives {
			t.Errorf("%q arrives as %q %v", c.typed, got[:n], err)
		}
	}
}

func TestOpenStreams(t *testing.T) {
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	must(t, err)
	defer null.Close()
	s := Streams{In: null, Out: null, Err: null}
	for _, c := range []struct {
		o     spec.Options
		names string
	}{
		{spec.Options{Detach: true, Interactive: true}, ""},
		{spec.Options{}, "stderr stdout"},
		{spec.Options{Interactive: true}, "stderr stdin stdout"},
		{spec.Options{TTY: true}, "stdout"},
	} {
		l := &launch{e: new(Engine), opts: &c.o, files: map[string]*os.File{}}
		a, err := s.open(l)
		must(t, err)
		var names []string
		for _, name := range []string{"stderr", "stdin", "stdout"} {
			if f := l.files[name]; f != nil {
				names = append(names, name)
				flags, _ := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0)
				cloexec, _ := unix.FcntlInt(f.Fd(), unix.F_GETFD, 0)
				if flags&unix.O_NONBLOCK == 0 || cloexec&unix.FD_CLOEXEC == 0 {
					t.Errorf("%s: flags %#x %#x", name, flags, cloexec)
				}
			}
		}
		if got := strings.Join(names, " "); got != c.names || len(l.files) != len(names) {
			t.Errorf("%+v gives the shim %q", c.o, got)
		}
		a.handOver()
		for _, f := range l.files {
			if _, err := f.Stat(); !errors.Is(err, os.ErrClosed) {
				t.Error("the shim's end stays open here")
			}
		}
		for _, f := range []*os.File{a.toIn, a.fromOut, a.fromErr} {
			if f != nil {
				_ = f.Close()
			}
		}
	}
	_, err = s.open(&launch{opts: &spec.Options{TTY: true, Interactive: true}, files: map[string]*os.File{}})
	if err == nil || !strings.Contains(err.Error(), "the input is not a terminal; leave out -t") || hint.ExitCode(err) != 1 {
		t.Errorf("%v", err)
	}
	if IsTerminal(null) {
		t.Error("/dev/null is no terminal")
	}
}

// session is an attached start whose shim is the test.
type session struct {
	*attachment
	l        *launch
	shim     *stage.Conn
	shimEnds map[string]*os.File
	result   chan error
	code     int
}

// attach begins to follow; input and output are pipes or files of the test's.
func attach(t *testing.T, w *workshop, o spec.Options, in, out *os.File) *session {
	t.Helper()
	ours, theirs, err := stage.Pair()
	must(t, err)
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	s := &session{l: &launch{e: w.Engine, id: ident('a'), opts: &o, files: map[string]*os.File{}}, shim: theirs, shimEnds: map[string]*os.File{}, result: make(chan error, 1)}
	s.attachment, err = Streams{In: in, Out: out, Err: out, DetachKeys: DefaultDetachKeys}.open(s.l)
	must(t, err)
	for name, f := range s.l.files { // as the socket would pass them
		fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		must(t, err)
		s.shimEnds[name] = os.NewFile(uintptr(fd), name)
	}
	s.handOver()
	go func() {
		code, err := s.follow(s.l, ours)
		s.code = code
		s.result <- err
	}()
	return s
}

func (s *session) wait(t *testing.T) error {
	t.Helper()
	select {
	case err := <-s.result:
		return err
	case <-time.After(10 * time.Second):
		t.Fatal("follow hangs")
		return nil
	}
}

func (s *session) end(t *testing.T, code int) {
	t.Helper()
	for _, f := range s.shimEnds {
		_ = f.Close()
	}
	must(t, s.shim.Send(&start.Message{Kind: start.KindExited, Exit: &start.Exit{Code: code}}))
}

func files(t *testing.T, in string) (input, output *os.File) {
	t.Helper()
	dir := t.TempDir()
	must(t, os.WriteFile(dir+"/in", []byte(in), 0o600))
	input, err := os.Open(dir + "/in")
	must(t, err)
	output, err = os.Create(dir + "/out")
	must(t, err)
	t.Cleanup(func() { input.Close(); output.Close() })
	return input, output
}

// Input and output are byte-exact, and all output is there before follow returns.
func TestFollowRelays(t *testing.T) {
	w := newWorkshop(t)
	in, out := files(t, "in\x00\xff\r\n"+strings.Repeat("x", 200_000))
	s := attach(t, w, spec.Options{Interactive: true}, in, out)
	got := make(chan []byte)
	go func() { b, _ := io.ReadAll(s.shimEnds["stdin"]); got <- b }()
	text := "out\x00\r\n" + strings.Repeat("y", 300_000)
	_, err := s.shimEnds["stdout"].WriteString(text)
	must(t, err)
	if b := <-got; len(b) != 200_006 || string(b[:6]) != "in\x00\xff\r\n"[:6] {
		t.Errorf("%d bytes of input arrived", len(b))
	}
	s.end(t, 7)
	if err := s.wait(t); err != nil || s.code != 7 {
		t.Errorf("%d %v", s.code, err)
	}
	if b, _ := os.ReadFile(out.Name()); string(b) != text {
		t.Errorf("%d bytes of output, want %d", len(b), len(text))
	}
}

func TestFollowEndings(t *testing.T) {
	for name, c := range map[string]struct {
		m    *start.Message
		want func(error) bool
	}{
		"failed":       {&start.Message{Kind: start.KindFailed, Fail: start.Fail(hint.New("x", unix.ENOSPC, ""))}, func(err error) bool { return errors.Is(err, unix.ENOSPC) }},
		"another kind": {&start.Message{Kind: start.KindStarted}, func(err error) bool { return strings.Contains(err.Error(), `unexpected message "started"`) }},
		"no code":      {&start.Message{Kind: start.KindExited}, func(err error) bool { return strings.Contains(err.Error(), "unexpected") }},
		"killed": {nil, func(err error) bool {
			return strings.Contains(err.Error(), "its shim was killed") && errors.Is(err, io.EOF)
		}},
	} {
		w := newWorkshop(t)
		in, out := files(t, "")
		s := attach(t, w, spec.Options{}, in, out)
		for _, f := range s.shimEnds {
			_ = f.Close()
		}
		if c.m != nil {
			must(t, s.shim.Send(c.m))
		} else {
			s.shim.Close()
		}
		if err := s.wait(t); err == nil || !c.want(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Our reader is gone, or the disk is full: the payload is told, and rc goes on
// reading, so that nothing waits for us.
func TestFollowWithoutAReader(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	must(t, err)
	defer full.Close()
	r, broken, err := os.Pipe()
	must(t, err)
	must(t, r.Close())
	defer broken.Close()
	for name, out := range map[string]*os.File{"full": full, "broken": broken} {
		w := newWorkshop(t)
		in, _ := files(t, "")
		s := attach(t, w, spec.Options{}, in, out)
		_, err := s.shimEnds["stdout"].WriteString("first")
		must(t, err)
		var m start.Message
		must(t, s.shim.SetDeadline(time.Now().Add(5*time.Second)))
		if _, err := s.shim.Recv(&m); err != nil || m.Kind != start.KindCloseStream || m.Stream != "stdout" {
			t.Fatalf("%s: %+v %v", name, m, err)
		}
		must(t, s.shimEnds["stdout"].SetWriteDeadline(time.Now().Add(5*time.Second)))
		if _, err := s.shimEnds["stdout"].Write(make([]byte, 1<<20)); err != nil {
			t.Errorf("%s: the payload waits for rc: %v", name, err)
		}
		s.end(t, 141)
		if err := s.wait(t); err != nil || s.code != 141 {
			t.Errorf("%s: %d %v", name, s.code, err)
		}
	}
}

// terminal makes a pair: the user's side and the one that a process has.
func terminal(t *testing.T) (user, tty *os.File) {
	t.Helper()
	user, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("needs a terminal: %v", err)
	}
	must(t, unix.IoctlSetPointerInt(int(user.Fd()), unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(int(user.Fd()), unix.TIOCGPTN)
	must(t, err)
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	must(t, err)
	t.Cleanup(func() { user.Close(); tty.Close() })
	return user, tty
}

// On a terminal: raw mode while attached, its size is told, ^P^Q detaches and
// the terminal is as before.
func TestFollowOnATerminal(t *testing.T) {
	user, tty := terminal(t)
	must(t, unix.IoctlSetWinsize(int(user.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 31, Col: 91}))
	before, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	must(t, err)
	w := newWorkshop(t)
	s := attach(t, w, spec.Options{Interactive: true, TTY: true}, tty, tty)
	var m start.Message
	must(t, s.shim.SetDeadline(time.Now().Add(5*time.Second)))
	if _, err := s.shim.Recv(&m); err != nil || m.Kind != start.KindResize || m.Rows != 31 || m.Cols != 91 {
		t.Fatalf("%+v %v", m, err)
	}
	during, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	must(t, err)
	if during.Lflag&(unix.ECHO|unix.ICANON|unix.ISIG) != 0 || during.Oflag&unix.OPOST != 0 {
		t.Errorf("not raw: %#x", during.Lflag)
	}
	_, err = user.WriteString("ls\r\x03")
	must(t, err)
	got := make([]byte, 4)
	if _, err := io.ReadFull(s.shimEnds["stdin"], got); err != nil || string(got) != "ls\r\x03" {
		t.Errorf("%q %v: ^C must reach the container", got, err)
	}
	_, err = user.Write(DefaultDetachKeys)
	must(t, err)
	if err := s.wait(t); err != nil || !s.left || s.code != 0 {
		t.Errorf("%v, left %v, code %d", err, s.left, s.code)
	}
	if _, err := s.shim.Recv(&m); err != nil || m.Kind != start.KindDetach {
		t.Errorf("%+v %v", m, err)
	}
	after, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	must(t, err)
	if *after != *before {
		t.Error("the terminal is not as it was")
	}
}

// Signals that rc gets go to the payload, by name of the order of messages.
func TestFollowForwardsSignals(t *testing.T) {
	w := newWorkshop(t)
	in, out := files(t, "")
	s := attach(t, w, spec.Options{}, in, out)
	must(t, s.shim.SetDeadline(time.Now().Add(5*time.Second)))
	time.Sleep(50 * time.Millisecond) // until it listens
	for _, sig := range []unix.Signal{unix.SIGUSR1, unix.SIGTERM, unix.SIGINT} {
		must(t, unix.Kill(os.Getpid(), sig))
		var m start.Message
		if _, err := s.shim.Recv(&m); err != nil || m.Kind != start.KindSignal || m.Signal != int(sig) {
			t.Fatalf("%v: %+v %v", sig, m, err)
		}
	}
	s.end(t, 143)
	if err := s.wait(t); err != nil || s.code != 143 {
		t.Errorf("%d %v", s.code, err)
	}
}

func TestExpect(t *testing.T) {
	l := &launch{}
	for name, c := range map[string]struct {
		m    any
		text string
	}{
		"the wanted":            {&start.Message{Kind: start.KindCreated, PID: 5}, ""},
		"another":               {&start.Message{Kind: start.KindStarted}, `unexpected message "started"`},
		"a failure":             {&start.Message{Kind: start.KindFailed, Fail: start.Fail(hint.New("mount /x", unix.EPERM, "fix it"))}, "mount /x: operation not permitted; fix it"},
		"a failure without one": {&start.Message{Kind: start.KindFailed}, `unexpected message "failed"`},
		"garbage":               {[]int{1}, "its shim was killed"},
		"the end":               {nil, "its shim was killed"},
	} {
		a, b, err := stage.Pair()
		must(t, err)
		if c.m != nil {
			must(t, b.Send(c.m))
		} else {
			b.Close()
		}
		m, err := l.expect(a, start.KindCreated)
		if c.text == "" && (err != nil || m.PID != 5) || c.text != "" && (err == nil || !strings.Contains(err.Error(), c.text)) {
			t.Errorf("%s: %v", name, err)
		}
		a.Close()
		b.Close()
	}
}

// A file that comes with a message is never kept: the shim may be an impostor.
func TestExpectClosesFiles(t *testing.T) {
	a, b, err := stage.Pair()
	must(t, err)
	defer a.Close()
	defer b.Close()
	null, err := os.Open("/dev/null")
	must(t, err)
	defer null.Close()
	before := openFiles(t)
	must(t, b.Send(&start.Message{Kind: start.KindCreated}, null, null))
	if _, err := (&launch{}).expect(a, start.KindCreated); err != nil {
		t.Error(err)
	}
	if after := openFiles(t); after != before {
		t.Errorf("%d descriptors leaked", after-before)
	}
}
