package engine

import (
	"fmt"
	"os"
	"strconv"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/linux"
	"github.com/rc-containers/rc/internal/spec"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/trace"
	"github.com/rc-containers/rc/userns"
)

// A shim needs 2 ms from its fork to the point where it reads its configuration:
// two execve's worth of page faults, the constructor, Go's runtime. `rc run` starts
// it as soon as it has the image and knows where the shim shall stand, and makes the
// spec, the container's folder, records and texts while its constructor runs. Should rc
// fail or be killed before it sends the configuration, the shim reads the end of the
// conversation, knows no container, and exits.

// forming is a shim that was started ahead of its configuration.
type forming struct {
	l        *launch
	conn     *stage.Conn
	starting *userns.Starting
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

// forkAhead starts the shim as soon as there is U0 to join, where it stands well beside
// rc: what is decided later does not change its process.
func (l *launch) forkAhead() error {
	if !l.forksItself() || l.opts.Replace || l.opts.Cgroups == "split" || !l.candidate() {
		return nil
	}
	if l.opts.Cgroups != "disabled" {
		l.where = &look{}
		l.where.found, l.where.err = l.e.subtree()
		if l.home.far || l.where.err == nil && !l.where.found.Inherited() {
			return nil
		}
	}
	return l.fork()
}

// forkStanding is forkAhead where rc itself is in the way of its containers' limits: it
// has been moved by then, and nobody of ours is left where controllers are handed down.
func (l *launch) forkStanding() error {
	if l.ahead != nil || !l.forksItself() || l.home.far {
		return nil
	}
	return l.fork()
}

// forksItself: of a unit's it is decided later what the shim is to the unit. Where home is
// far, the keeper forks it, from all of its request.
func (l *launch) forksItself() bool {
	u := l.e.unit()
	return l.fresh && u.Err == nil && u.Notify == ""
}

func (l *launch) fork() error {
	f, err := l.beginShim(l.shimProgram())
	if err != nil {
		return err
	}
	l.ahead = f
	l.undo.Push(f.callOff)
	return nil
}

// candidate chooses the name that the shim is called by, before anybody claims it.
func (l *launch) candidate() bool {
	if l.rec.Name = l.opts.Name; l.rec.Name == "" {
		l.rec.Name = randomName()
	}
	return spec.CheckName(l.rec.Name) == nil
}

// notAhead has the shim forked at the end, when what was taken for granted is not so.
func (l *launch) notAhead() {
	if f := l.ahead; f != nil {
		f.callOff() // closes l.stand
		l.ahead, l.stand = nil, nil
	}
}

// callOff ends a shim that was never told what to do.
func (f *forming) callOff() {
	if f.conn == nil {
		return // it was
	}
	if conn, proc, err := f.finish(); err == nil {
		_ = conn.Close() // at which it exits
		_, _ = proc.Wait()
		_ = proc.Close()
	}
}

// startShim makes the shim, unless it was made ahead, and gives it its configuration.
func (l *launch) startShim() (conn *stage.Conn, proc *userns.Process, err error) {
	defer trace.Begin("start the shim").End()
	if l.stand != nil && l.home.far {
		defer l.stand.Close()
		return l.forkByKeeper(l.shimProgram())
	}
	f := l.ahead
	if f == nil {
		if f, err = l.beginShim(l.shimProgram()); err != nil {
			return nil, nil, err
		}
	}
	if conn, proc, err = f.finish(); err != nil {
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

// beginShim starts it in the cgroup where it shall stand.
func (l *launch) beginShim(p *userns.Program) (*forming, error) {
	if l.stand != nil && !linux.Without(linux.CloneIntoCgroup) {
		p.Files, p.Plan.CgroupFD = []*os.File{l.stand}, 6 // after U0, which inHome puts first
	} else if l.stand != nil {
		l.moveIn(p)
	}
	conn, starting, err := l.e.fork(l.home, "rc-shim", p)
	if err != nil {
		return nil, err
	}
	return &forming{l, conn, starting}, nil
}

// moveIn has it moved into its cgroup before it goes on.
func (l *launch) moveIn(p *userns.Program) {
	p.Plan.Fork = true // Prepare runs for a child only
	p.Prepare = func(pid int) error {
		return os.WriteFile(linux.ProcFD(l.stand)+"/cgroup.procs", []byte(strconv.Itoa(pid)), 0)
	}
}

// finish waits for its constructor. Where the kernel does not let it be born in its
// cgroup, another one is made and moved.
func (f *forming) finish() (*stage.Conn, *userns.Process, error) {
	conn := f.conn
	f.conn = nil
	proc, err := f.starting.Finish()
	if f.l.stand != nil {
		defer f.l.stand.Close()
		if err != nil && !linux.Without(linux.CloneIntoCgroup) {
			_ = conn.Close()
			p := f.l.shimProgram()
			f.l.moveIn(p)
			if conn, f.starting, err = f.l.e.fork(f.l.home, "rc-shim", p); err != nil {
				return nil, nil, err
			}
			proc, err = f.starting.Finish()
		}
	}
	if err != nil {
		_ = conn.Close()
		return nil, nil, err
	}
	return conn, proc, nil
}
