package shim

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/linux"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/stage/control"
	"github.com/rc-containers/rc/internal/stage/start"
	"github.com/rc-containers/rc/internal/trace"
	"github.com/rc-containers/rc/userns"
)

// execPatience bounds the making of an exec, up to its execve: what it looks at is
// the payload's, who may stop it, or have put something there that never answers.
const execPatience = 30 * time.Second

// further is one more process in the container: of `rc exec`, or a probe. It is
// the shim's child, like init, so it is reaped here whatever the payload does.
type further struct {
	id      string // 64 hex digits, in events
	proc    *userns.Process
	streams streams
}

// execs counts what runs beside the payload, so that the shim does not execute
// itself away from under it.
type execs struct {
	mu      sync.Mutex
	running int
}

func (e *execs) add(n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.running += n
}

// idle tells whether none runs.
func (e *execs) idle() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.running == 0
}

// talkExec serves OpExec; see control.Talk. The descriptors are its own. It returns
// when rc has been told all that it waits for; the process may go on.
func (s *shim) talkExec(conn *stage.Conn, q control.Request, files map[string]*os.File) {
	s.execs.add(1)
	defer trace.Serve(files["trace"], trace.Shim)()
	delete(files, "trace")
	s.work.call()
	x, err := s.exec(q, files)
	if err != nil {
		s.execs.add(-1)
		_ = conn.Send(refuse(err))
		return
	}
	ended := make(chan int, 1)
	go func() {
		code := x.wait()
		x.streams.finish(2 * time.Second) // Docker's bound for who holds a pipe longer than the process lives
		s.event("exec_die", map[string]string{"execID": x.id, "exitCode": strconv.Itoa(code)})
		ended <- code
		s.execs.add(-1)
	}()
	_ = conn.SetDeadline(time.Time{})
	if err := conn.Send(&control.Reply{PID: x.proc.PID, ExecID: x.id}); err != nil || q.Detach {
		x.streams.detach()
		return
	}
	left := make(chan struct{})
	go func() { x.obeyCaller(conn); close(left) }()
	select {
	case <-left: // the process goes on, and nobody reads what it writes
	case code := <-ended:
		_ = conn.Send(&start.Message{Kind: start.KindExited, Exit: &start.Exit{Code: code}})
	}
}

// obeyCaller takes the orders of the rc that is attached to an exec until it leaves.
func (x *further) obeyCaller(conn *stage.Conn) {
	for {
		var m start.Message
		files, err := conn.Recv(&m)
		stage.CloseFiles(files)
		switch {
		case err != nil, m.Kind == start.KindDetach:
			x.streams.detach()
			return
		case m.Kind == start.KindSignal:
			// To the process alone, as the payload's: a terminal reaches its whole group.
			_ = x.proc.Signal(unix.Signal(m.Signal))
		case m.Kind == start.KindResize:
			x.streams.resize(m.Rows, m.Cols)
		case m.Kind == start.KindCloseStream:
			x.streams.closeStream(m.Stream)
		}
	}
}

// exec starts what rc asked for.
func (s *shim) exec(q control.Request, files map[string]*os.File) (*further, error) {
	defer trace.Begin("exec").End()
	defer func() {
		for _, f := range files {
			_ = f.Close()
		}
	}()
	if files["config"] == nil {
		return nil, hint.Newf("run a command in the container", "", "its configuration did not come")
	}
	x := &further{id: q.ExecID}
	if !record.ValidID(x.id) {
		x.id = newExecID()
	}
	x.streams.rows, x.streams.cols = q.Rows, q.Cols
	payload, err := x.streams.open(q.TTY, files["stdin"] != nil && !q.TTY)
	defer stage.CloseFiles(payload[:])
	if err != nil {
		return nil, err
	}
	if err = s.enter(x, files["config"], payload, execPatience); err != nil {
		x.streams.finish(0)
		return nil, err
	}
	x.streams.pump(files["stdin"], files["stdout"], files["stderr"])
	delete(files, "stdin")
	delete(files, "stdout")
	delete(files, "stderr")
	return x, nil
}

// wait reaps the process and returns its exit code, 128+n for a signal n.
func (x *further) wait() int {
	defer trace.Wait("the command's end").End()
	defer x.proc.Close()
	ws, err := x.proc.Wait()
	switch {
	case err != nil: // reaped by killOrphans, which kills first
		return 128 + int(unix.SIGKILL)
	case ws.Signaled():
		return 128 + int(ws.Signal())
	}
	return ws.ExitStatus()
}

// enter starts rc-exec in the container with the sealed config, and returns when
// the command runs, or the refusal is known, or bound is over.
func (s *shim) enter(x *further, config *os.File, payload [3]*os.File, bound time.Duration) error {
	const op = "run a command in the container"
	switch st := s.snapshot(); {
	case st.Status == record.Paused:
		return hint.Newf(op, "rc unpause "+s.cfg.Name, "it is paused").WithCode(1)
	case st.Status != record.Running || s.init == nil:
		return hint.Newf(op, "rc start "+s.cfg.Name, "it is not running").WithCode(1)
	}
	ours, theirs, err := stage.Pair()
	if err != nil {
		return err
	}
	defer ours.Close()
	m := start.Message{Kind: start.KindInit, Files: []string{"config"}}
	list := []*os.File{config}
	if f := s.files["seccomp"]; f != nil {
		m.Files, list = append(m.Files, "seccomp"), append(list, f)
	}
	if f := trace.File(); f != nil {
		defer f.Close()
		m.Files, list = append(m.Files, "trace"), append(list, f)
	}
	if err = ours.Send(&m, list...); err == nil { // waits in the socket
		x.proc, err = s.joined(theirs.File(), payload)
	}
	_ = theirs.Close()
	if err != nil {
		return err
	}
	if err = x.ready(ours, bound); err != nil {
		_ = x.proc.Signal(unix.SIGKILL)
		x.wait()
	}
	return err
}

// ready takes the terminal, if there is one, and the end of file that says that
// the command runs. One that was killed before is told by its wait status.
func (x *further) ready(conv *stage.Conn, bound time.Duration) error {
	defer trace.Wait("the command's execve").End()
	const op = "run a command in the container"
	_ = conv.SetDeadline(time.Now().Add(bound))
	for {
		var m start.Message
		files, err := conv.Recv(&m)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, unix.ECONNRESET):
			return nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			return hint.Newf(op, "look for what is stopped or hangs in it: rc top", "it did not come to run within %v", bound)
		case err != nil:
			return hint.New(op, err, "")
		case m.Kind == start.KindFailed && m.Fail != nil:
			stage.CloseFiles(files)
			return m.Fail.Error()
		case m.Kind == start.KindReady && len(files) == 1 && x.streams.tty == nil:
			x.streams.terminal(files[0])
		default:
			stage.CloseFiles(files)
			return fmt.Errorf("unexpected message %q from an exec", m.Kind)
		}
	}
}

// joined starts rc-exec in the namespaces of the container's init, all of them by
// its pidfd in one setns(2) (Linux 5.8): no path, no pid that may be another's by
// now. The kernel asks for the rights of this process, in U0, over init.
func (s *shim) joined(conv *os.File, payload [3]*os.File) (*userns.Process, error) {
	defer trace.Begin("start rc-exec in the namespaces").End()
	kinds := s.sandboxKinds()
	p := &userns.Program{
		Path: "rc-exec", File: s.files["program"], Args: []string{"rc-exec", s.cfg.ID[:12]},
		Stdin: payload[0], Stdout: payload[1], Stderr: payload[2],
		Conn: conv, Setsid: true, Env: []string{"GOMAXPROCS=1"}, Thread: s.approximation(),
		Files: []*os.File{s.init.PidFD},
		Plan: userns.Plan{
			Join: []userns.Join{{FD: 5, Type: kinds}}, Fork: kinds&unix.CLONE_NEWPID != 0,
			BecomeRoot: true, NonDumpable: true,
		},
	}
	cgroups, err := s.cgroupNamespace()
	if err != nil {
		return nil, notRunning(err)
	}
	defer cgroups.Close()
	p.Files = append(p.Files, cgroups)
	p.Plan.Join = append(p.Plan.Join, userns.Join{FD: 6, Type: unix.CLONE_NEWCGROUP})
	if s.files["cgroup"] == nil || linux.Without(linux.CloneIntoCgroup) {
		return s.moved(p)
	}
	if s.cfg.Systemd == "" {
		if proc, err := bornIn(p, s.files["cgroup"]); !cgroupRefused(err) {
			return proc, notRunning(err)
		}
	}
	// A payload like systemd hands controllers further down, and a system container's
	// never finds a process of ours in its own group while it does.
	if leaf, err := s.group.ExecFD(); err == nil {
		defer leaf.Close()
		if proc, err := bornIn(p, leaf); !cgroupRefused(err) {
			return proc, notRunning(err)
		}
	}
	return s.moved(p)
}

// bornIn starts p in the cgroup that group is open on.
func bornIn(p *userns.Program, group *os.File) (*userns.Process, error) {
	b := *p
	b.Files, b.Plan.CgroupFD = append(slices.Clone(p.Files), group), 5+len(p.Files)
	return userns.Start(&b)
}

// moved is joined where the process cannot be born in its cgroup.
func (s *shim) moved(p *userns.Program) (*userns.Process, error) {
	if s.group != nil {
		p.Plan.Fork = true // Prepare runs for a child only
		p.Prepare = func(pid int) error {
			if s.cfg.Systemd == "" {
				if err := s.group.AddPayload(pid); !errors.Is(err, unix.EBUSY) {
					return err
				}
			}
			if leaf, err := s.group.ExecFD(); err == nil {
				err = os.WriteFile(linux.ProcFD(leaf)+"/cgroup.procs", []byte(strconv.Itoa(pid)), 0)
				_ = leaf.Close()
				if err == nil {
					return nil
				}
			}
			return s.moveBeside(pid) // it may have forbidden further groups, but init stands in one
		}
	}
	proc, err := userns.Start(p)
	return proc, notRunning(err)
}

// moveBeside moves a process into the cgroup of init, below the container's own.
func (s *shim) moveBeside(pid int) error {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", s.init.PID))
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::")
		if _, below, found := strings.Cut(path, "/"+filepath.Base(s.group.Path)+"/"); ok && found {
			return os.WriteFile(filepath.Join(s.group.Path, below, "cgroup.procs"), fmt.Appendf(nil, "%d", pid), 0)
		}
	}
	return unix.EBUSY
}

// notRunning says what ESRCH of setns means: init has ended.
func notRunning(err error) error {
	if errors.Is(err, unix.ESRCH) {
		return hint.Newf("run a command in the container", "", "it has just ended").WithCode(1)
	}
	return err
}

// cgroupNamespace opens init's, which boot.newCgroupNamespace made. It is joined
// apart from the others: see userns.Plan, CgroupFD.
func (s *shim) cgroupNamespace() (*os.File, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/ns/cgroup", s.init.PID))
	if errors.Is(err, unix.ENOENT) {
		err = unix.ESRCH
	}
	if err != nil {
		return nil, err
	}
	// The number was init's if that one has not been reaped by now.
	if err := linux.SignalPidfd(s.init.PidFD, 0); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// sandboxKinds are the namespaces, beside the cgroup namespace, that are not the host's.
func (s *shim) sandboxKinds() int {
	kinds := unix.CLONE_NEWNS
	for _, n := range shared {
		if s.cfg.Clone&n.kind != 0 || s.files["join-"+n.name] != nil {
			kinds |= n.kind
		}
	}
	return kinds
}

func newExecID() string {
	id := make([]byte, 32)
	_, _ = unix.Getrandom(id, 0) // cannot fail once the kernel's pool is up (getrandom(2))
	return hex.EncodeToString(id)
}
