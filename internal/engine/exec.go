package engine

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/spec"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/stage/control"
	"github.com/rc-containers/rc/internal/stage/start"
	"github.com/rc-containers/rc/internal/trace"
)

// execPatience bounds the wait for an exec to run: a little more than the shim's.
const execPatience = 35 * time.Second

// Exec runs one more command in a running container and, unless detached, stays
// until it ends. The result is the command's exit code.
func (e *Engine) Exec(ref string, o *spec.ExecOptions, s Streams) (int, error) {
	op := "run a command in container " + ref
	entry, err := e.findRunning(ref, op)
	if err != nil {
		return 0, err
	}
	c, err := e.LoadConfig(entry.ID)
	if err != nil {
		return 0, err
	}
	x, err := execConfig(c, o)
	if err != nil {
		return 0, err
	}
	q := control.Request{Op: control.OpExec, TTY: o.TTY, Detach: o.Detach, ExecID: newID()}
	if !o.Detach {
		q.Rows, q.Cols = s.size()
		x.Inside.Rows, x.Inside.Cols = q.Rows, q.Cols
	}
	sealed, err := stage.Seal("rc-exec", x)
	if err != nil {
		return 0, err
	}
	t := &talk{e: e, id: entry.ID, op: op, q: q}
	t.give("config", sealed)
	if f := trace.File(); f != nil {
		t.give("trace", f)
	}
	t.begun = func() {
		line := strings.Join(o.Command, " ") // moby, daemon/exec.go
		e.events(&entry.Container, map[string]string{"execID": q.ExecID}, "exec_create: "+line, "exec_start: "+line)
	}
	return t.run(s, o.TTY, o.Interactive)
}

// findRunning is find of a container that must run, and not be paused.
func (e *Engine) findRunning(ref, op string) (*Entry, error) {
	defer trace.Begin("find the container").End()
	entry, err := e.find(ref, op)
	switch {
	case err != nil:
		return nil, err
	case entry.State.Status == record.Paused:
		return nil, hint.Newf(op, "rc unpause "+ref, "it is paused").WithCode(1)
	case entry.State.Status == record.Restarting:
		return nil, hint.Newf(op, "wait until it runs: rc ps", "it is restarting").WithCode(1)
	case !entry.Running():
		return nil, hint.Newf(op, "rc start "+ref, "it is not running").WithCode(1)
	}
	return entry, nil
}

// execConfig is what rc-exec is told: the container's own, changed by the flags.
func execConfig(c *start.Config, o *spec.ExecOptions) (*start.ExecConfig, error) {
	defer trace.Begin("make the configuration").End()
	p, err := spec.Exec(&spec.ExecInput{Options: o, Process: c.Spec.Process, UIDMap: c.UIDMap, GIDMap: c.GIDMap, Environ: os.Environ()})
	if err != nil {
		return nil, err
	}
	in := c.Inside
	in.Init, in.CopyUp, in.Without = false, nil, os.Getenv("RC_TEST_WITHOUT")
	in.Stdin = o.Interactive && !o.TTY && !o.Detach
	if o.User != "" {
		in.Username = p.User.Username
	}
	in.HomeSet = slices.ContainsFunc(p.Env, func(kv string) bool { return strings.HasPrefix(kv, "HOME=") })
	if o.Privileged {
		// No filter: the calls that would reach the user's keys are taken away apart.
		in.Privileged, in.Seccomp, in.GuardKeys = true, false, mapsCaller(c.UIDMap)
	}
	return &start.ExecConfig{Process: p, Inside: in}, nil
}

// talk is one control.Talk: a request with descriptors, after which the streams
// are relayed.
type talk struct {
	e     *Engine
	id    string
	op    string // in refusals
	q     control.Request
	files []*os.File
	begun func()            // just before the shim is asked; may be nil
	tune  func(*attachment) // last changes before the relaying; may be nil
}

func (t *talk) give(name string, f *os.File) {
	t.q.Files, t.files = append(t.q.Files, name), append(t.files, f)
}

// run asks the shim, connected to the caller's streams, and follows.
func (t *talk) run(s Streams, tty, input bool) (int, error) {
	defer func() { stage.CloseFiles(t.files) }()
	a := &attachment{Streams: s}
	if !t.q.Detach {
		var err error
		if a, err = s.connect(tty, input, t.give); err != nil {
			return 0, err
		}
		a.gone, a.warn = t.brokeOff, t.e.Warn
	}
	path, err := t.e.Store.ControlPath(t.id)
	if err != nil {
		return 0, err
	}
	conn, err := stage.Dial(path)
	if err != nil {
		return 0, hint.New(t.op, fmt.Errorf("%w (%w)", control.ErrGone, err), "see `rc ps -a`").WithCode(1)
	}
	defer conn.Close()
	if t.begun != nil {
		t.begun()
	}
	if err := t.ask(conn); err != nil {
		return 0, err
	}
	if t.q.Detach {
		return 0, nil
	}
	a.handOver()
	if t.tune != nil {
		t.tune(a)
	}
	return a.relay(conn)
}

// ask sends the request and waits for the word that it is done.
func (t *talk) ask(conn *stage.Conn) error {
	defer trace.Wait("the shim's word that it runs").End()
	_ = conn.SetDeadline(time.Now().Add(execPatience))
	if err := conn.Send(&t.q, t.files...); err != nil {
		return hint.New(t.op, fmt.Errorf("%w (%w)", control.ErrGone, err), "see `rc ps -a`").WithCode(1)
	}
	var r control.Reply
	files, err := conn.Recv(&r)
	stage.CloseFiles(files)
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, unix.ECONNRESET):
		return hint.Newf(t.op, "see `rc ps -a`", "it has just ended").WithCode(1)
	case err != nil:
		return hint.New(t.op, fmt.Errorf("%w (%w)", control.ErrGone, err), "see `rc ps -a`").WithCode(1)
	case r.Fail != nil:
		return r.Fail.Error()
	}
	_ = conn.SetDeadline(time.Time{})
	return nil
}

func newID() string {
	id := make([]byte, 32)
	_, _ = unix.Getrandom(id, 0) // cannot fail once the kernel's pool is up (getrandom(2))
	return hex.EncodeToString(id)
}

// brokeOff says why the shim hung up: it was killed, or the container was.
func (t *talk) brokeOff(seen error) error {
	return hint.New(t.op, fmt.Errorf("its shim went away (%w)", seen), "see `rc ps -a`")
}

// AttachOptions are the flags of `rc attach`.
type AttachOptions struct {
	NoStdin bool // --no-stdin
}

// Attach connects the caller to a running container's streams until that ends; the
// result is the container's exit code. Several may be attached at once.
func (e *Engine) Attach(ref string, o AttachOptions, s Streams) (int, error) {
	op := "attach to container " + ref
	entry, err := e.findRunning(ref, op)
	if err != nil {
		return 0, err
	}
	t := &talk{e: e, id: entry.ID, op: op, q: control.Request{Op: control.OpAttach}}
	t.tune = func(a *attachment) {
		a.enlarge()
		a.redraw, a.guest = entry.TTY, true
		e.adopt(a, entry.ID)
	}
	return t.run(s, entry.TTY, entry.Interactive && !o.NoStdin)
}
