package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/atomicfile"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/linux"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/stage/control"
)

// forEver stands for a wait without end in a request, where a negative time means
// the container's own.
const forEver = 100 * 365 * 24 * time.Hour

// StopOptions are the flags of `rc stop` and `rc restart`.
type StopOptions struct {
	Signal  int            // 0: the container's own
	Timeout *time.Duration // from the signal to SIGKILL; negative: never; nil: the container's own
}

// Stop asks a container to end and kills it when it does not. One that does not
// run is left alone, as Docker does; its restart policy is called off.
func (e *Engine) Stop(ref string, o StopOptions) error {
	entry, err := e.find(ref, "stop container "+ref)
	if err != nil {
		return err
	}
	e.doNotRevive(entry.ID)
	if entry, err = e.settled(entry, "stop container "+ref); err != nil {
		return err
	}
	if !entry.Alive {
		e.markStopped(entry)
		return nil
	}
	return e.stop(entry, o, false)
}

// settled waits for a container that is on its way up or down at this moment: its
// lock is held, and its state does not say by whom.
func (e *Engine) settled(entry *Entry, op string) (*Entry, error) {
	for range 500 {
		if !entry.Alive || !atRest(&entry.State) && entry.State.Status != record.Created {
			return entry, nil
		}
		time.Sleep(10 * time.Millisecond)
		next, err := e.Load(entry.ID)
		if errors.Is(err, fs.ErrNotExist) {
			entry.Alive = false // --rm, or a start that failed
			return entry, nil
		}
		if err != nil {
			return nil, err
		}
		entry = next
	}
	return nil, hint.New(op, errBusy, "try again").WithCode(1)
}

// stop ends a live one. keep spares a container with --rm.
func (e *Engine) stop(entry *Entry, o StopOptions, keep bool) error {
	op := "stop container " + shortID(entry.ID)
	q := control.Request{Op: control.OpStop, Signal: o.Signal, Timeout: -1, Keep: keep}
	patience := entry.StopAfter
	if o.Timeout != nil {
		patience, q.Timeout = *o.Timeout, *o.Timeout
	}
	bound := time.Duration(0)
	if patience >= 0 {
		bound = patience + time.Minute // the last output may take a while to write
	} else if o.Timeout != nil {
		q.Timeout = forEver
	}
	_, err := e.ask(entry.ID, q, bound)
	if errors.Is(err, control.ErrGone) {
		err = e.stopDirectly(entry, o, patience)
	}
	if err != nil {
		return hint.New(op, hint.Reason(err), fixOf(err)).WithCode(1)
	}
	return e.awaitRest(entry.ID, &entry.State, op)
}

// ask sends one request to a container's shim.
func (e *Engine) ask(id string, q control.Request, bound time.Duration) (*control.Reply, error) {
	path, err := e.Store.ControlPath(id)
	if err != nil {
		return nil, err
	}
	r, files, err := control.Ask(path, q, bound)
	stage.CloseFiles(files)
	return r, err
}

// stopDirectly signals a payload whose shim does not answer (its socket went with
// the runtime folder, or it is stopped itself). Its shim, if it lives, sees the end.
func (e *Engine) stopDirectly(entry *Entry, o StopOptions, patience time.Duration) error {
	st := &entry.State
	who := linux.Identity{PID: st.PID, StartTime: st.PIDStart, BootID: st.BootID}
	pidfd, err := who.Open()
	if err != nil {
		return nil // it has ended meanwhile
	}
	defer pidfd.Close()
	sig := o.Signal
	if sig == 0 {
		sig = entry.StopSignal
	}
	if err := linux.SignalPidfd(pidfd, unix.Signal(sig)); err != nil {
		return ignoreGone(err)
	}
	if patience >= 0 {
		_ = pidfd.SetReadDeadline(time.Now().Add(patience))
	}
	if linux.WaitPidfd(pidfd) == nil {
		return nil
	}
	return ignoreGone(linux.SignalPidfd(pidfd, unix.SIGKILL))
}

func ignoreGone(err error) error {
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	return err
}

// awaitRest returns when the shim in st has recorded the end and is gone. Somebody
// else may have started the container since: that is another shim.
func (e *Engine) awaitRest(id string, st *record.State, op string) error {
	for try := range 600 {
		if st != nil && st.ShimPID > 0 {
			if !shimLives(st) {
				return nil
			}
		} else if alive, err := e.Store.Alive(id); err != nil || !alive {
			return err
		}
		time.Sleep(min(time.Duration(try)*time.Millisecond, 10*time.Millisecond))
	}
	return hint.Newf(op, fmt.Sprintf("look at its shim: pgrep -af %s", shortID(id)), "it did not end within 5 s").WithCode(1)
}

// markStopped keeps in a record at rest that its user wants it so. A full disk
// keeps it from being written, and is no reason to fail.
func (e *Engine) markStopped(entry *Entry) {
	if entry.Restart.Name == "" || entry.Restart.Name == "no" || entry.State.Stopped || entry.State.Status != record.Exited {
		return
	}
	lock, err := e.Store.TakeLife(entry.ID)
	if err != nil {
		return
	}
	defer e.Store.DropLife(entry.ID, lock)
	if st, err := e.Store.LoadState(entry.ID); err == nil && st != nil && st.Status == record.Exited {
		st.Stopped = true
		_ = record.SaveState(e.Store.ContainerDir(entry.ID), st, atomicfile.Fast)
	}
}

// Signal sends a signal to a container's first process.
func (e *Engine) Signal(ref string, sig int) error {
	op := "kill container " + ref
	entry, err := e.find(ref, op)
	if err != nil {
		return err
	}
	if !entry.Alive {
		if e.doNotRevive(entry.ID) {
			e.markStopped(entry)
		}
		return hint.Newf(op, "see `rc ps -a`", "it is not running").WithCode(1)
	}
	_, err = e.ask(entry.ID, control.Request{Op: control.OpSignal, Signal: sig}, askTimeout)
	if errors.Is(err, control.ErrGone) {
		st := &entry.State
		who := linux.Identity{PID: st.PID, StartTime: st.PIDStart, BootID: st.BootID}
		pidfd, oerr := who.Open()
		if oerr != nil {
			return hint.Newf(op, "see `rc ps -a`", "it is not running").WithCode(1)
		}
		defer pidfd.Close()
		err = linux.SignalPidfd(pidfd, unix.Signal(sig))
	}
	if err != nil {
		return hint.New(op, hint.Reason(err), fixOf(err)).WithCode(1)
	}
	if unix.Signal(sig) == unix.SIGKILL {
		return e.awaitRest(entry.ID, &entry.State, op) // as Docker's: a start that follows finds it at rest
	}
	return nil
}

// end kills a running container and returns when its shim has let it go. A frozen
// payload dies of SIGKILL all the same (kernel, cgroup-v2.rst, "cgroup.freeze").
func (e *Engine) end(id string) error {
	st, serr := e.Store.LoadState(id)
	_, err := e.ask(id, control.Request{Op: control.OpSignal, Signal: int(unix.SIGKILL)}, askTimeout)
	// One that is being started has no socket yet; one that is leaving, none any more.
	for began := time.Now(); errors.Is(err, control.ErrGone) && (st == nil || atRest(st)) && time.Since(began) < lifePatience; {
		if alive, aerr := e.Store.Alive(id); aerr != nil || !alive {
			return aerr
		}
		time.Sleep(10 * time.Millisecond)
		st, serr = e.Store.LoadState(id)
		_, err = e.ask(id, control.Request{Op: control.OpSignal, Signal: int(unix.SIGKILL)}, askTimeout)
	}
	if err != nil && serr == nil {
		// Its socket went with the runtime folder, or it has no process yet: its shim
		// sees the end of what there is.
		e.endOrphan(st)
	}
	return e.awaitRest(id, st, "kill container "+shortID(id))
}

// Restart stops a container, if it runs, and starts it.
func (e *Engine) Restart(ref string, o StopOptions) error {
	op := "restart container " + ref
	entry, err := e.find(ref, op)
	if err != nil {
		return err
	}
	e.doNotRevive(entry.ID)
	if entry, err = e.settled(entry, "stop container "+ref); err != nil {
		return err
	}
	if entry.Alive {
		if err := e.stop(entry, o, true); err != nil {
			return err
		}
	}
	if _, err := e.Start(entry.ID, StartOptions{}); err != nil {
		return hint.New(op, hint.Reason(err), fixOf(err)).WithCode(1)
	}
	e.event(&entry.Container, "restart", nil)
	return nil
}

// Pause freezes every process of a container, or lets them go on.
func (e *Engine) Pause(ref string, freeze bool) error {
	op, verb := control.OpPause, "pause"
	if !freeze {
		op, verb = control.OpUnpause, "unpause"
	}
	what := verb + " container " + ref
	entry, err := e.find(ref, what)
	if err != nil {
		return err
	}
	switch paused := entry.State.Status == record.Paused; {
	case !entry.Alive || entry.State.Status != record.Running && !paused:
		return hint.Newf(what, "see `rc ps -a`", "it is not running").WithCode(1)
	case freeze && paused:
		return hint.Newf(what, "rc unpause "+ref, "it is already paused").WithCode(1)
	case !freeze && !paused:
		return hint.Newf(what, "see `rc ps`", "it is not paused").WithCode(1)
	}
	r, err := e.ask(entry.ID, control.Request{Op: op}, askTimeout)
	if err != nil {
		return hint.New(what, hint.Reason(err), fixOf(err)).WithCode(1)
	}
	if r.Note != "" {
		e.Warn(what + ": " + r.Note)
	}
	return nil
}

// Wait returns the exit code of a container once it does not run: at once for one
// that has ended, at its next end for one with a restart policy.
func (e *Engine) Wait(ref string) (int, error) {
	what := "wait for container " + ref
	entry, err := e.find(ref, what)
	if err != nil {
		return 0, err
	}
	if !entry.Alive {
		return entry.State.ExitCode, nil
	}
	r, err := e.ask(entry.ID, control.Request{Op: control.OpWait}, 0)
	if err == nil && r.State != nil {
		return r.State.ExitCode, nil
	}
	if err != nil && !errors.Is(err, control.ErrGone) {
		return 0, hint.New(what, hint.Reason(err), fixOf(err)).WithCode(1)
	}
	return e.waitDirectly(entry, what)
}

// waitDirectly waits for a shim that does not answer, or has just been killed.
func (e *Engine) waitDirectly(entry *Entry, what string) (int, error) {
	if pidfd, err := shimOf(&entry.State).Open(); err == nil {
		_ = linux.WaitPidfd(pidfd)
		_ = pidfd.Close()
	}
	after, err := e.Load(entry.ID)
	if err != nil {
		return 0, hint.New(what, hint.Reason(err), "see `rc ps -a`").WithCode(1)
	}
	return after.State.ExitCode, nil
}
