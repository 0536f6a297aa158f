package engine

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/linux"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/trace"
	"github.com/rc-containers/rc/userns"
)

// A shim needs 2 ms from its fork to the point where it reads its configuration:
// two execve's worth of page faults, the constructor, Go's runtime. `rc run` starts
// it as soon as it knows where it shall stand, and makes the container's folder,
// records and texts meanwhile. Should rc fail or be killed before it sends the
// configuration, the shim reads the end of the conversation, knows no container, and
// exits.

// forming is a shim that was started ahead of its configuration.
type forming struct {
	done chan struct{} // closed when the rest is there
	conn *stage.Conn
	proc *userns.Process
	err  error
}

// smallRuntime is the environment of a shim: one processor's worth of Go runtime
// halves its memory (measured by tests/bench, helpers' PSS).
var smallRuntime = []string{"GOMAXPROCS=1"}

// shimProgram is the shim as a process to be.
func (l *launch) shimProgram() *userns.Program {
	return &userns.Program{
		Args: []string{shortID(l.id), l.rec.Name}, Setsid: true,
		Env: smallRuntime,
		// systemd hears of the end of its own children only (service_set_main_pidref in
		// its src/core/service.c: "not our child"), and kills others without waiting.
		Plan: userns.Plan{NonDumpable: true, Orphan: l.opts.Detach && l.notify != nil},
	}
}

// limitAndFork is limit, after which nothing that is still to be decided changes the
// process of the shim.
func (l *launch) limitAndFork() error {
	if err := l.limit(); err != nil {
		return err
	}
	u := l.e.unit()
	if l.home.far || u.Err != nil || u.Notify != "" {
		return nil // the keeper forks it, from all of its request; a unit decides later what it is
	}
	if _, err := l.e.program("rc-init"); err != nil { // not in the goroutine: it is kept in the engine
		return err
	}
	f := &forming{done: make(chan struct{})}
	p := l.shimProgram()
	go func() {
		defer close(f.done)
		f.conn, f.proc, f.err = l.forkShim(p)
	}()
	l.ahead = f
	l.undo.Push(f.callOff)
	return nil
}

// callOff ends a shim that was never told what to do.
func (f *forming) callOff() {
	<-f.done
	if f.err != nil || f.conn == nil {
		return
	}
	_ = f.conn.Close()
	_ = f.proc.PidFD.SetReadDeadline(time.Now().Add(time.Second))
	_, _ = f.proc.Wait()
	_ = f.proc.Close()
}

// startShim makes the shim, unless it was made ahead, and gives it its configuration.
func (l *launch) startShim() (conn *stage.Conn, proc *userns.Process, err error) {
	defer trace.Begin("start the shim").End()
	switch f := l.ahead; {
	case f != nil:
		<-f.done
		conn, proc, err = f.conn, f.proc, f.err
		f.conn = nil // ours from here
	case l.stand != nil && l.home.far:
		defer l.stand.Close()
		return l.forkByKeeper(l.shimProgram())
	default:
		conn, proc, err = l.forkShim(l.shimProgram())
	}
	if err != nil {
		return nil, nil, err
	}
	if err := sendConfig(conn, l.bytes, l.files); err != nil {
		_ = conn.Close()
		err = l.whyShimDied(proc, hint.New("start the container", fmt.Errorf("%w (%w)", errBrokeOff, err), "try again"))
		_ = proc.Close()
		return nil, nil, err
	}
	return conn, proc, nil
}

// forkShim starts it in the cgroup where it shall stand: born there, or moved
// before it goes on where the kernel does not let us.
func (l *launch) forkShim(p *userns.Program) (*stage.Conn, *userns.Process, error) {
	defer trace.Aside("fork the shim").End()
	if l.stand == nil {
		return l.e.fork(l.home, "rc-shim", p)
	}
	defer l.stand.Close()
	if !linux.Without(linux.CloneIntoCgroup) {
		born := *p
		born.Files, born.Plan.CgroupFD = []*os.File{l.stand}, 6 // after U0, which inHome puts first
		conn, proc, err := l.e.fork(l.home, "rc-shim", &born)
		if err == nil {
			return conn, proc, nil
		}
	}
	p.Plan.Fork = true // Prepare runs for a child only
	p.Prepare = func(pid int) error {
		return os.WriteFile(linux.ProcFD(l.stand)+"/cgroup.procs", []byte(strconv.Itoa(pid)), 0)
	}
	return l.e.fork(l.home, "rc-shim", p)
}
