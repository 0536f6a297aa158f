package shim

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/linux"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/stage/control"
	"github.com/rc-containers/rc/internal/stage/start"
	"github.com/rc-containers/rc/userns"
)

const testID = "abcdabcdabcdabcdabcdabcdabcdabcdabcdabcdabcdabcdabcdabcdabcdabcd"

// stand is a shim whose payload is an ordinary process, listening on its socket.
type stand struct {
	*shim
	path string
}

func newStand(t *testing.T, payload ...string) *stand {
	t.Helper()
	return newPatientStand(t, 10*time.Second, payload...)
}

func newPatientStand(t *testing.T, patience time.Duration, payload ...string) *stand {
	t.Helper()
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	store, err := record.Open(t.TempDir())
	must(t, err)
	s := &shim{done: make(chan struct{}), store: store, files: map[string]*os.File{"join-net": os.Stdin}, // some descriptor: a joined namespace
		cfg: &start.Config{ID: testID, Dir: t.TempDir(), Spec: &specs.Spec{Hostname: "box"}, StopSignal: int(unix.SIGTERM), StopAfter: patience, Clone: unix.CLONE_NEWUSER | unix.CLONE_NEWIPC | unix.CLONE_NEWPID | unix.CLONE_NEWNS, UIDMap: []userns.IDMap{{Size: 9}}}}
	s.state.Status = record.Running
	if len(payload) > 0 {
		cmd := exec.Command(payload[0], payload[1:]...)
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		pidfd, err := linux.OpenPidfd(cmd.Process.Pid)
		must(t, err)
		s.launched, s.init = true, &userns.Process{PID: cmd.Process.Pid, PidFD: pidfd}
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		_, _ = out.Read(make([]byte, 1)) // it says that it is ready
	}
	must(t, s.listen())
	t.Cleanup(s.closeControl)
	path, err := store.ControlPath(testID)
	must(t, err)
	return &stand{s, path}
}

// endsWith plays awaitEnd: the payload is waited for and the end announced.
func (s *stand) endsWith() {
	go func() {
		_, _ = s.init.Wait()
		s.update(func(st *record.State) { st.Status, st.ExitCode = record.Exited, 143 })
		s.finish()
	}()
}

func (s *stand) ask(q control.Request) (*control.Reply, error) {
	r, files, err := control.Ask(s.path, q, 15*time.Second)
	stage.CloseFiles(files)
	return r, err
}

const sleepy = "echo ready; exec sleep 300"

func TestStateAndSignal(t *testing.T) {
	s := newStand(t, "sh", "-c", sleepy)
	s.endsWith()
	if r, err := s.ask(control.Request{Op: control.OpState}); err != nil || r.State.Status != record.Running {
		t.Errorf("%+v %v", r, err)
	}
	for _, sig := range []int{-1, 65, 4711} {
		if _, err := s.ask(control.Request{Op: control.OpSignal, Signal: sig}); !errors.Is(err, unix.EINVAL) {
			t.Errorf("signal %d: %v", sig, err)
		}
	}
	if _, err := s.ask(control.Request{Op: control.OpSignal, Signal: int(unix.SIGTERM)}); err != nil {
		t.Error(err)
	}
	r, err := s.ask(control.Request{Op: control.OpWait})
	if err != nil || r.State.Status != record.Exited || r.State.ExitCode != 143 {
		t.Errorf("%+v %v", r, err)
	}
	// It is gone: nothing is signalled, whoever has the pid now.
	if _, err := s.ask(control.Request{Op: control.OpSignal, Signal: int(unix.SIGTERM)}); err != nil {
		t.Errorf("%v", err)
	}
}

func TestNoInitYet(t *testing.T) {
	s := newStand(t)
	for _, op := range []control.Op{control.OpSignal, control.OpNamespaces} {
		if _, err := s.ask(control.Request{Op: op, Signal: 9}); err == nil || !strings.Contains(err.Error(), "no process") {
			t.Errorf("%s: %v", op, err)
		}
	}
}

func TestStop(t *testing.T) {
	const stubborn = `trap "" TERM; echo ready; while :; do sleep 0.1; done`
	for name, c := range map[string]struct {
		script        string
		timeout, own  time.Duration
		atLeast, most time.Duration
	}{
		"obedient":             {sleepy, time.Minute, 0, 0, 5 * time.Second},
		"stubborn":             {stubborn, 300 * time.Millisecond, time.Minute, 250 * time.Millisecond, 5 * time.Second},
		"its own patience":     {stubborn, -1, 300 * time.Millisecond, 250 * time.Millisecond, 5 * time.Second},
		"no patience":          {stubborn, 0, time.Minute, 0, 5 * time.Second},
		"slow, asked for ever": {`trap "sleep 0.7; exit 3" TERM; echo ready; while :; do sleep 0.1; done`, -1, -time.Second, 500 * time.Millisecond, 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			s := newPatientStand(t, c.own, "sh", "-c", c.script)
			s.endsWith()
			begin := time.Now()
			r, err := s.ask(control.Request{Op: control.OpStop, Timeout: c.timeout})
			if d := time.Since(begin); err != nil || r.State.Status != record.Exited || d < c.atLeast || d > c.most {
				t.Errorf("%+v %v after %v", r, err, d)
			}
		})
	}
}

func TestNamespaces(t *testing.T) {
	s := newStand(t, "sh", "-c", sleepy)
	r, files, err := control.Ask(s.path, control.Request{Op: control.OpNamespaces}, 5*time.Second)
	must(t, err)
	defer stage.CloseFiles(files)
	// Its own namespaces and those that it joined; the host's are not its to lend.
	if r.Hostname != "box" || len(r.UIDMap) != 1 || strings.Join(r.Files, " ") != "u0 user net ipc pid mnt" || len(files) != 6 {
		t.Fatalf("%+v", r)
	}
	for i, f := range files {
		kind := r.Files[i]
		if kind == "u0" {
			kind = "user"
		}
		var got, want unix.Stat_t
		must(t, unix.Fstat(int(f.Fd()), &got))
		must(t, unix.Stat("/proc/self/ns/"+kind, &want)) // the payload shares all of ours
		if got.Ino != want.Ino {
			t.Errorf("%s is another namespace", r.Files[i])
		}
	}
	s.endsWith()
	must(t, s.signal(unix.SIGKILL))
	<-s.done
	if _, err := s.ask(control.Request{Op: control.OpNamespaces}); err == nil {
		t.Error("lent the namespaces of a recycled pid")
	}
}

// TestHostileClients: whatever a client sends or leaves out, the shim stands and
// the next one is served at once.
func TestHostileClients(t *testing.T) {
	s := newStand(t, "sh", "-c", sleepy)
	null, err := os.Open("/dev/null")
	must(t, err)
	defer null.Close()
	many := make([]*os.File, stage.MaxFiles)
	for i := range many {
		many[i] = null
	}
	raw := func(c *stage.Conn, text string) {
		_ = unix.Sendmsg(int(c.File().Fd()), []byte(text), nil, nil, unix.MSG_NOSIGNAL)
	}
	served := func(what string) {
		t.Helper()
		if r, err := s.ask(control.Request{Op: control.OpState}); err != nil || r.State.Status != record.Running {
			t.Errorf("after %s: %+v %v", what, r, err)
		}
	}
	for what, attack := range map[string]func(*stage.Conn){
		"nothing and gone":  func(c *stage.Conn) { c.Close() },
		"garbage":           func(c *stage.Conn) { raw(c, "\x00\xff{{{") },
		"a list":            func(c *stage.Conn) { raw(c, "[]") },
		"an unknown op":     func(c *stage.Conn) { raw(c, `{"Op":"format-disk"}`) },
		"no op":             func(c *stage.Conn) { raw(c, `{}`) },
		"wrong types":       func(c *stage.Conn) { raw(c, `{"Op":"signal","Signal":"KILL"}`) },
		"a huge number":     func(c *stage.Conn) { raw(c, `{"Op":"stop","Timeout":1e300}`) },
		"many files":        func(c *stage.Conn) { _ = c.Send(control.Request{Op: control.OpState}, many...) },
		"oversize":          func(c *stage.Conn) { raw(c, strings.Repeat(" ", stage.MaxPacket+10)) },
		"no reading":        func(c *stage.Conn) { _ = c.Send(control.Request{Op: control.OpState}); c.Close() },
		"many requests":     func(c *stage.Conn) { raw(c, `{"Op":"state"}`); raw(c, `{"Op":"state"}`) },
		"a wait, then gone": func(c *stage.Conn) { raw(c, `{"Op":"wait"}`); c.Close() },
	} {
		c, err := stage.Dial(s.path)
		must(t, err)
		attack(c)
		served(what)
		c.Close()
	}
	if s.signal(0) != nil {
		t.Error("the payload died of it")
	}
}

func TestUnknownRequestIsNamed(t *testing.T) {
	s := newStand(t, "sh", "-c", sleepy)
	_, err := s.ask(control.Request{Op: "checkpoint"})
	if err == nil || errors.Is(err, control.ErrGone) || !strings.Contains(err.Error(), "obey checkpoint") || !strings.Contains(err.Error(), "older than the request") {
		t.Errorf("%v", err)
	}
}

// A flood of silent clients: others are served beside them, and they are cut off.
func TestFlood(t *testing.T) {
	t.Parallel()
	s := func() *stand { // Setenv and Parallel exclude each other
		store, err := record.Open(t.TempDir())
		must(t, err)
		store.UseRuntime(t.TempDir())
		dir, _ := store.Runtime()
		must(t, os.Mkdir(dir+"/c", 0o700))
		sh := &shim{done: make(chan struct{}), store: store, cfg: &start.Config{ID: testID, Dir: t.TempDir(), Spec: &specs.Spec{}}}
		must(t, sh.listen())
		path, _ := store.ControlPath(testID)
		return &stand{sh, path}
	}()
	defer s.closeControl()
	var silent []*stage.Conn
	for range 300 {
		c, err := stage.Dial(s.path)
		must(t, err)
		defer c.Close()
		silent = append(silent, c)
	}
	begin := time.Now()
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if _, err := s.ask(control.Request{Op: control.OpState}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if d := time.Since(begin); d > 3*time.Second {
		t.Errorf("others waited %v", d)
	}
	for _, c := range []*stage.Conn{silent[0], silent[299]} {
		must(t, c.SetDeadline(time.Now().Add(10*time.Second)))
		if _, err := c.Recv(new(control.Reply)); err != io.EOF {
			t.Errorf("a silent client: %v", err)
		}
	}
}

// A shim that has given up its socket takes it for lost no more.
func TestNoReopeningAfterTheEnd(t *testing.T) {
	store, err := record.Open(t.TempDir())
	must(t, err)
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	_, err = store.Runtime() // makes it, and records it
	must(t, err)
	s := &shim{done: make(chan struct{}), store: store, files: map[string]*os.File{}, cfg: &start.Config{ID: testID, Dir: t.TempDir(), Spec: &specs.Spec{}}}
	path, err := store.ControlPath(testID)
	must(t, err)
	s.reopen()
	if _, err := os.Lstat(path); err != nil {
		t.Fatalf("a lost socket is not made anew: %v", err)
	}
	s.closeControl()
	s.reopen()
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("there is a socket again: %v", err)
	}
	if life := s.files["life"]; life != nil {
		store.DropLife(testID, life)
	}
}

// The end is told to those who wait for it before the process exits.
func TestLastAnswers(t *testing.T) {
	s := newStand(t, "sh", "-c", sleepy)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if r, err := s.ask(control.Request{Op: control.OpWait}); err != nil || r.State.Status != record.Exited {
				t.Errorf("%+v %v", r, err)
			}
		})
	}
	time.Sleep(100 * time.Millisecond) // until all wait
	s.update(func(st *record.State) { st.Status = record.Exited })
	s.finish()
	s.lastAnswers(5 * time.Second) // after this, nothing of the shim runs
	s.closeControl()
	wg.Wait()
}

func TestLastAnswersAreBounded(t *testing.T) {
	s := newStand(t)
	c, err := stage.Dial(s.path)
	must(t, err)
	defer c.Close()
	must(t, c.Send(control.Request{Op: control.OpWait})) // done is never closed
	time.Sleep(50 * time.Millisecond)
	within(t, "lastAnswers", func() { s.lastAnswers(50 * time.Millisecond) })
}

// The attached rc's messages; it goes without a word at the end.
func TestServeCaller(t *testing.T) {
	s := newStand(t, "sh", "-c", `trap 'echo usr1' USR1; echo ready; while :; do sleep 0.05; done`)
	ours, theirs, err := stage.Pair()
	must(t, err)
	defer theirs.Close()
	s.rc = ours
	r, w, err := pipe(true)
	must(t, err)
	defer w.Close()
	s.streams.out = r
	served := make(chan struct{})
	go func() { s.serveCaller(ours); close(served) }()
	must(t, theirs.Send(&start.Message{Kind: start.KindSignal, Signal: int(unix.SIGUSR1)}))
	must(t, theirs.Send(&start.Message{Kind: "unknown"}))
	must(t, theirs.Send(&start.Message{Kind: start.KindResize, Rows: 12, Cols: 34}))
	must(t, theirs.Send(&start.Message{Kind: start.KindCloseStream, Stream: "stdout"}))
	theirs.Close()
	within(t, "serveCaller", func() { <-served })
	if s.streams.rows != 12 || s.streams.cols != 34 {
		t.Errorf("size %d %d", s.streams.rows, s.streams.cols)
	}
	if _, err := w.Write([]byte("x")); !errors.Is(err, unix.EPIPE) {
		t.Errorf("%v", err)
	}
	if s.signal(0) != nil {
		t.Error("the container went with its caller")
	}
}
