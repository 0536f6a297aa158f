package userns

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/trace"
)

const (
	planFD    = 3
	connFD    = 4
	firstFile = 5
)

// Program is one of rc's programs that link nsjoin, about to be started. All
// files are borrowed: the caller keeps and closes its own.
type Program struct {
	Path                  string
	File                  *os.File // executed instead of what Path names, if set; Path is its name then
	Args                  []string // with Args[0]; empty: Path alone
	Env                   []string // exactly this; nil is an empty environment
	Dir                   string
	Stdin, Stdout, Stderr *os.File   // nil: /dev/null
	Conn                  *os.File   // descriptor 4; nil: closed
	Files                 []*os.File // descriptor 5 and on
	Plan                  Plan
	Setsid                bool     // the process, not an intermediate, leads a new session
	MapIDs                *Mapping // of a Plan.Unshare with CLONE_NEWUSER

	// Prepare, if set, runs with the pid of the clone child while that waits
	// before its first own step; an error ends it. While a child in a new user
	// namespace waits here it is still dumpable, so OpenNamespace works, and it
	// can be moved into a cgroup.
	Prepare func(pid int) error

	// Thread, if set, runs first on a thread that starts the program and then ends:
	// for what a child inherits of its thread alone (affinity, nice) and no user can
	// take back. An error is Start's.
	Thread func() error
}

// forkFix names the bound that fork(2) met: EAGAIN is the number of processes.
func forkFix(err error) string {
	if errors.Is(err, unix.EAGAIN) {
		return "you have too many processes and threads: end some, or raise the bound (ulimit -u)"
	}
	return ""
}

// Start executes p and returns when its constructor is done and Go's main is
// about to run. A step that fails is a *hint.Error which names it and unwraps to
// the errno; nothing of p is left then. The process is a child of the caller's,
// who must not reap it by wait4(-1) behind Process.Wait.
func Start(p *Program) (process *Process, err error) {
	if p.Thread == nil {
		return start(p)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with this function
		if err = p.Thread(); err == nil {
			process, err = start(p)
		}
	}()
	<-done
	return process, err
}

func start(p *Program) (*Process, error) {
	s, err := Begin(p)
	if err != nil {
		return nil, err
	}
	return s.Finish()
}

// Starting is a program whose constructor runs while its starter does something else.
type Starting struct {
	p    *Program
	ours *starting
}

// Begin is Start up to the execve, for a Program without a Thread. Finish has to follow.
func Begin(p *Program) (*Starting, error) {
	if p.Plan.Unshare&unix.CLONE_NEWUSER != 0 && p.MapIDs == nil {
		return nil, hint.Newf("start "+p.Path, "", "a user namespace without ID maps")
	}
	ours, err := p.exec()
	if err != nil {
		return nil, err
	}
	return &Starting{p, ours}, nil
}

// Finish is the rest of Start.
func (s *Starting) Finish() (*Process, error) {
	defer s.ours.sock.Close()
	// What its starter did meanwhile may have taken longer than a constructor may: to
	// copy an image, say.
	_ = s.ours.sock.SetReadDeadline(time.Now().Add(constructorLimit))
	process, err := s.ours.converse(s.p)
	if err != nil {
		if errors.Is(err, errEnded) {
			err = hint.New("start "+s.p.Path, s.ours.howEnded(), "try again; what kills it may say so in the host's log: dmesg, journalctl -k")
		}
		s.ours.abandon()
		return nil, err
	}
	return process, nil
}

// starting is a program whose constructor runs.
type starting struct {
	sock  *os.File // its reports come here; a byte lets it go on
	first *Process // what was executed
	child *Process // what it cloned, once that is known
}

// exec starts the program with the descriptors of the convention.
func (p *Program) exec() (*starting, error) {
	defer trace.Aside("fork and execve").End()
	report := firstFile + len(p.Files)
	plan, err := p.Plan.seal(report, p)
	if err != nil {
		return nil, hint.New("start "+p.Path, err, "")
	}
	defer plan.Close()
	// SEQPACKET keeps reports of the intermediate and of its child apart.
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, hint.New("start "+p.Path, err, "")
	}
	defer unix.Close(pair[1])
	sock, err := pollable(pair[0])
	if err != nil {
		_ = unix.Close(pair[0])
		return nil, hint.New("start "+p.Path, err, "")
	}
	pid, err := p.forkExec(append([]*os.File{plan, p.Conn}, p.Files...), pair[1])
	if err != nil {
		_ = sock.Close()
		return nil, hint.New("start "+p.Path, err, forkFix(err))
	}
	first, err := newProcess(pid)
	if err != nil {
		_ = sock.Close() // its next report fails, which ends it
		return nil, err
	}
	return &starting{sock: sock, first: first}, nil
}

// pollable hands a socket to Go's poller: who waits there holds no thread, which
// with one processor would have to be replaced.
func pollable(fd int) (*os.File, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	f := os.NewFile(uintptr(fd), "report")
	return f, f.SetReadDeadline(time.Now().Add(constructorLimit))
}

func (p *Program) forkExec(files []*os.File, report int) (int, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	defer null.Close()
	fds := make([]uintptr, 0, planFD+len(files)+1)
	for _, f := range []*os.File{p.Stdin, p.Stdout, p.Stderr} {
		if f == nil {
			f = null
		}
		fds = append(fds, f.Fd())
	}
	for _, f := range files {
		fds = append(fds, f.Fd()) // of nil: -1, which is "closed"
	}
	args := p.Args
	if len(args) == 0 {
		args = []string{p.Path}
	}
	env := p.Env
	if env == nil {
		env = []string{}
	}
	fds = append(fds, uintptr(report))
	path := p.Path
	if p.File != nil {
		// By the number that it has in the child: Go puts the child's descriptors in their
		// places before the execve (forkAndExecInChild1 in package syscall), and a number
		// of ours may be another's by then. The constructor closes what comes after report.
		path = "/proc/self/fd/" + strconv.Itoa(len(fds))
		fds = append(fds, p.File.Fd())
	}
	pid, err := syscall.ForkExec(path, args, &syscall.ProcAttr{Dir: p.Dir, Env: env, Files: fds, Sys: &syscall.SysProcAttr{}})
	runtime.KeepAlive(p)
	runtime.KeepAlive(files)
	return pid, err
}

// converse follows the constructor until it is done.
//
//	constructor                     here
//	joins, unshares
//	NEED_MAPS            ────►      newuidmap, newgidmap
//	                     ◄────      go
//	clone3, maps, CLONED ────►      pidfd, Prepare         (the intermediate ends)
//	child                ◄────      go, after a Prepare; else the child goes on by itself
//	READY                ────►
func (s *starting) converse(p *Program) (*Process, error) {
	defer trace.Aside("constructor: namespaces, maps").End()
	for {
		m, err := receive(s.sock)
		if err == nil && m.pid > 0 && s.child == nil {
			s.child, err = newProcess(m.pid)
		}
		if err != nil {
			return nil, hint.New("start "+p.Path, err, "")
		}
		switch m.step {
		case stepReady:
			return s.settle()
		case stepNeedMaps:
			err = writeMaps(s.first.PID, p.MapIDs)
		case stepCloned:
			if p.Prepare == nil {
				continue
			}
			err = p.Prepare(s.child.PID)
		default:
			err = m.failure(p)
		}
		if err == nil {
			if _, err = s.sock.Write([]byte{1}); errors.Is(err, unix.EPIPE) {
				err = errEnded
			}
		}
		if err != nil {
			return nil, err
		}
	}
}

// settle reaps the intermediate, which has nothing left to do.
func (s *starting) settle() (*Process, error) {
	if s.child == nil {
		return s.first, nil
	}
	_, _ = s.first.Wait()
	_ = s.first.Close()
	return s.child, nil
}

// ErrKilled is the end by SIGKILL of a program that was not set up yet. It is how the
// kernel refuses a birth in a cgroup (Plan.CgroupFD) that cgroup.kill was once written
// to: it holds the parent's count of kills against the child's (measured with Linux
// 6.18; kargs->kill_seq in cgroup_css_set_fork of kernel/cgroup/cgroup.c).
// Into such a group a process can still be moved.
var ErrKilled = errors.New("signal 9")

// howEnded is errEnded with the reason that those give who went without a word; who does
// not end within a second is left to abandon.
func (s *starting) howEnded() error {
	err := errEnded
	for _, p := range []**Process{&s.first, &s.child} {
		if *p == nil || (*p).PidFD.SetReadDeadline(time.Now().Add(time.Second)) != nil {
			continue
		}
		ws, werr := (*p).Wait()
		_ = (*p).PidFD.SetReadDeadline(time.Time{})
		switch {
		case werr != nil:
			continue
		case ws.Signaled() && ws.Signal() == unix.SIGKILL:
			err = fmt.Errorf("%w: %w", err, ErrKilled)
		case ws.Signaled():
			err = fmt.Errorf("%w: signal %d", err, ws.Signal())
		case p == &s.first && s.child != nil && ws.ExitStatus() == 0: // as it should
		default:
			err = fmt.Errorf("%w: exit code %d", err, ws.ExitStatus())
		}
		_ = (*p).Close()
		*p = nil
	}
	return err
}

// abandon ends and reaps what was started.
func (s *starting) abandon() {
	for _, p := range []*Process{s.first, s.child} {
		if p != nil {
			_ = p.Signal(unix.SIGKILL)
			_, _ = p.Wait()
			_ = p.Close()
		}
	}
}
