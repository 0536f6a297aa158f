package engine

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/cgroup"
	"github.com/rc-containers/rc/internal/atomicfile"
	"github.com/rc-containers/rc/internal/linux"
	"github.com/rc-containers/rc/internal/record"
)

// reconcile repairs a container whose life lock is free: a half-made one is
// removed; one that its record calls alive lost its shim, so its orphan is ended
// (it has lost its streams), its fate recorded, and its restart policy obeyed.
func (e *Engine) reconcile(id string) error {
	c, st, err := e.peek(id)
	if sound(c, st, err) {
		return nil
	}
	lock, err := e.Store.TakeLife(id)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil // alive after all, or somebody else repairs it
	}
	if err != nil {
		return err
	}
	defer e.Store.DropLife(id, lock)
	c, st, err = e.peek(id) // anew, under the lock
	if errors.Is(err, errLost) {
		return e.rebuild(id)
	}
	if err != nil {
		return err
	}
	if c != nil && (atRest(st) || shimLives(st)) {
		return nil
	}
	if path, err := e.Store.ControlPath(id); err == nil {
		_ = os.Remove(path)
	}
	if c != nil && st == nil && !c.AutoRemove && e.hasRun(id) {
		e.dropGroup(id) // a payload may live on that no state names
		return e.saveLost(id, "its state was lost")
	}
	if c == nil || st == nil || st.Status == record.Created && st.Fresh {
		if e.endOrphan(st); st == nil || st.Cgroup == "" {
			e.dropGroup(id)
		}
		return e.erase(id, c, true)
	}
	return e.recordEnd(c, st)
}

// sound tells whether what peek read needs no repair by us: it is another host's,
// or at rest.
func sound(c *record.Container, st *record.State, err error) bool {
	return err == nil && c != nil && (c.MachineID != record.MachineID() || atRest(st))
}

// atRest tells whether a state is one that no process has to keep true: it has
// ended, or was made by `rc create` and not started yet.
func atRest(st *record.State) bool {
	return st != nil && (st.Status == record.Exited || st.Status == record.Created && !st.Fresh && st.ShimPID == 0)
}

// recordEnd writes down what became of a container whose shim is gone.
func (e *Engine) recordEnd(c *record.Container, st *record.State) error {
	fate := e.endOrphan(st)
	if c.AutoRemove {
		return e.erase(c.ID, c, true)
	}
	was, had := st.Status, st.Net
	st.PID, st.PIDStart, st.ShimPID, st.ShimStart, st.Cgroup, st.Net = 0, 0, 0, 0, "", nil
	st.NextStart = time.Time{}
	switch {
	case was == record.Created: // the payload has never run: it can still be started
		st.Error = "its start was interrupted"
	case was == record.Restarting: // it had ended before: that code is the truth
		st.Status, st.Error = record.Exited, "its shim was killed while it waited to restart"
	default:
		st.Status, st.Finished, st.ExitCode, st.Error = record.Exited, time.Now(), fate.code, fate.text
		e.event(c, "die", map[string]string{"exitCode": exitText(fate.code)})
		_ = e.Store.AppendEvents(record.NetworkEvents("disconnect", c.ID, c.Network, had)...)
	}
	if st.BootID != record.BootID() && was != record.Created {
		st.Error = "the host was restarted while it ran"
	}
	sameBoot := st.BootID == record.BootID()
	if sameBoot && st.Status == record.Exited && restartWanted(c, st) {
		e.reviveLater(c.ID)
	}
	if err := record.SaveState(e.Store.ContainerDir(c.ID), st, atomicfile.Fast); err != nil {
		return &unsavedState{st, err}
	}
	return nil
}

// unsavedState is what reconcile found out and could not write down, as on a
// full disk: `ps` shows it all the same, and `rm` needs no byte.
type unsavedState struct {
	state *record.State
	err   error
}

func (u *unsavedState) Error() string { return u.err.Error() }
func (u *unsavedState) Unwrap() error { return u.err }

// peek reads what is recorded of a container: nothing of one whose making was
// interrupted. One that has got as far as a state is never taken for that, whatever
// a power cut left of its files: its data is the user's.
func (e *Engine) peek(id string) (*record.Container, *record.State, error) {
	c, err := e.Store.LoadContainer(id)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	st, serr := e.Store.LoadState(id)
	switch {
	case err != nil && st != nil:
		return nil, nil, errLost
	case err != nil:
		return nil, nil, nil
	case serr == nil && st == nil:
		if _, err := os.Lstat(filepath.Join(e.Store.ContainerDir(id), "state.json")); err == nil {
			st = &record.State{Status: record.Running} // of an earlier boot
		}
	}
	return c, st, serr
}

var errLost = errors.New("its record was lost in a power cut")

// rebuild writes a record in the place of one that a power cut took: what else is
// on the disk tells the name and the image. So the container is listed, its files
// can be copied out, and it can be removed as any other.
func (e *Engine) rebuild(id string) error {
	c := &record.Container{Version: 1, ID: id, MachineID: record.MachineID()}
	if info, err := os.Lstat(e.Store.ContainerDir(id)); err == nil {
		c.Created = info.ModTime()
	}
	for _, name := range namesIn(e.Store.Path("container-names")) {
		if holder, err := e.Store.NameHolder(name); err == nil && holder == id {
			c.Name = name
		}
	}
	for _, image := range namesIn(e.Store.Path("images")) {
		if _, err := os.Lstat(e.Store.Path("images", image, "users", id)); err == nil {
			c.Image, c.ImageName = image, shortID(image)
		}
	}
	if c.Name == "" {
		var err error
		if c.Name, err = e.claimName("", id); err != nil {
			return err
		}
	}
	if err := e.saveLost(id, errLost.Error()); err != nil {
		return err
	}
	return e.Store.SaveContainer(c)
}

// saveLost writes the state of a container of which nobody knows how it ended.
func (e *Engine) saveLost(id, why string) error {
	st := &record.State{Status: record.Exited, ExitCode: -1, Finished: time.Now(), BootID: record.BootID(), Error: why}
	return record.SaveState(e.Store.ContainerDir(id), st, atomicfile.Fast)
}

// hasRun tells a container without a state from a half-made one: a log is opened once
// the state is on the disk, so what is beside it is the user's data.
func (e *Engine) hasRun(id string) bool {
	_, err := os.Lstat(filepath.Join(e.Store.ContainerDir(id), "log"))
	return err == nil
}

// fate is the end of a payload as somebody who is not its parent can know it.
type fate struct {
	code   int // -1: not known
	text   string
	killed bool // by us
}

// endOrphan kills a payload without a shim. Its pid alone is not trusted: start
// time and boot must agree, and the signal goes by pidfd.
func (e *Engine) endOrphan(st *record.State) fate {
	end := fate{code: -1, text: "its shim was killed; the exit code is not known"}
	if st == nil {
		return end
	}
	if st.PID > 0 {
		who := linux.Identity{PID: st.PID, StartTime: st.PIDStart, BootID: st.BootID}
		if pidfd, err := who.Open(); err == nil {
			end.killed = who.Alive() && linux.SignalPidfd(pidfd, unix.SIGKILL) == nil
			_ = pidfd.SetReadDeadline(time.Now().Add(5 * time.Second))
			_ = linux.WaitPidfd(pidfd)
			end.learn(pidfd)
			_ = pidfd.Close()
		}
	}
	if st.Cgroup != "" && st.BootID == record.BootID() {
		e.removeGroup(cgroup.Open(st.Cgroup))
	}
	return end
}

// learn asks the kernel how the payload ended (PIDFD_INFO_EXIT, Linux 6.15):
// between its shim's death and our signal it may have ended by itself. Its new
// parent has to reap it first, which takes a moment.
func (f *fate) learn(pidfd *os.File) {
	for range 20 {
		ws, err := linux.ExitStatus(pidfd)
		if err == nil && ws.Exited() {
			f.code, f.text = ws.ExitStatus(), "its shim was killed; it ended by itself"
			return
		}
		if err == nil && ws.Signaled() {
			f.code = 128 + int(ws.Signal())
			break
		}
		if linux.Without(linux.PidfdInfo) {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if f.killed {
		f.code, f.text = 137, "its shim was killed, so the container was ended"
	}
}
