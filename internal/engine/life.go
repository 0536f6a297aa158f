package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/cgroup"
	"github.com/rc-containers/rc/internal/atomicfile"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/linux"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/stage/control"
	"github.com/rc-containers/rc/internal/stage/start"
	"github.com/rc-containers/rc/userns"
)

// askTimeout bounds every question to a shim: one that is stopped or starved
// must not hang the command.
const askTimeout = 5 * time.Second

// Entry is one container as `rc ps` sees it now.
type Entry struct {
	record.Container
	State record.State
	Alive bool // its shim lives
}

// List returns the containers, newest first, after repairing what a killed
// process left behind. It takes no lock that a running container holds.
func (e *Engine) List() ([]Entry, error) {
	ids, err := e.Store.ContainerIDs()
	if err != nil {
		return nil, hint.New("list the containers", rootCause(err), "")
	}
	var list []Entry
	for _, id := range ids {
		entry, err := e.Load(id)
		if errors.Is(err, fs.ErrNotExist) {
			continue // half-made, or removed while we looked
		}
		if err != nil {
			e.Warn("container " + shortID(id) + ": " + err.Error())
			continue
		}
		list = append(list, *entry)
	}
	e.sweep(len(ids))
	e.emptyTrash()
	e.reviveKeeper(list)
	sort.Slice(list, func(i, j int) bool { return list[i].Created.After(list[j].Created) })
	return list, nil
}

// Load reads one container's truth: what its record says, corrected by whether
// its shim lives. errors.Is(err, fs.ErrNotExist) when there is none.
func (e *Engine) Load(id string) (*Entry, error) {
	for try := 0; ; try++ {
		entry, err := e.look(id)
		if err != nil {
			return nil, err
		}
		// Running without a shim: another command repairs it at this moment, and
		// what we read is about to change.
		st := &entry.State
		broken := st.Status == record.Running && entry.MachineID == record.MachineID() && !shimLives(st) && !hidden(st.ShimPID)
		if !broken || try == 20 {
			return entry, nil
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (e *Engine) look(id string) (*Entry, error) {
	alive, err := e.Store.Alive(id)
	if err != nil {
		return nil, err
	}
	if !alive {
		err = e.reconcile(id)
	}
	var unsaved *unsavedState
	if err != nil && !errors.As(err, &unsaved) {
		return nil, err
	}
	c, err := e.Store.LoadContainer(id)
	if err != nil {
		return nil, err
	}
	if unsaved != nil {
		return &Entry{*c, *unsaved.state, false}, nil
	}
	st, err := e.Store.LoadState(id)
	if err != nil {
		return nil, err
	}
	if st == nil {
		st = &record.State{Status: record.Created}
	}
	return &Entry{*c, *st, alive || shimLives(st)}, nil
}

// shimLives looks at the process itself. Its lock says the same, except where a
// logout took the runtime folder away from under it.
func shimLives(st *record.State) bool {
	return st != nil && st.ShimPID > 0 && !dying(st.ShimPID) &&
		linux.Identity{PID: st.ShimPID, StartTime: st.ShimStart, BootID: st.BootID}.Alive()
}

// dying tells whether a process was killed although its last threads are still on
// their way out: the kernel calls it alive until then, and its lock is held.
func dying(pid int) bool {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(text), ") ") // proc_pid_stat(5): state follows the name
	return strings.HasPrefix(rest, "Z") || strings.HasPrefix(rest, "X")
}

// hidden tells whether a process exists that /proc does not show (proc(5),
// hidepid): then nothing can be said of it.
func hidden(pid int) bool {
	_, err := os.Stat("/proc/" + strconv.Itoa(pid))
	return pid > 0 && errors.Is(err, fs.ErrNotExist) && unix.Kill(pid, 0) == nil
}

// reconcile repairs a container whose life lock is free: a half-made one is
// removed; one that its record calls alive lost its shim, so its orphan is
// ended (it has lost its streams) and its fate recorded.
func (e *Engine) reconcile(id string) error {
	c, st, err := e.peek(id)
	if err == nil && c != nil && (c.MachineID != record.MachineID() || st != nil && st.Status == record.Exited) {
		return nil // another host's, or at rest
	}
	lock, err := e.Store.TakeLife(id)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil // alive after all, or somebody else repairs it
	}
	if err != nil {
		return err
	}
	defer e.Store.DropLife(id, lock)
	if c, st, err = e.peek(id); err != nil { // anew, under the lock
		return err
	}
	if st != nil && st.Status == record.Exited || c != nil && shimLives(st) {
		return nil
	}
	if path, err := e.Store.ControlPath(id); err == nil {
		_ = os.Remove(path)
	}
	if c == nil || st == nil || st.Status == record.Created {
		if e.endOrphan(st); st == nil || st.Cgroup == "" {
			dropGroup(id)
		}
		return e.erase(id, c)
	}
	killed := e.endOrphan(st)
	if c.AutoRemove {
		return e.erase(id, c)
	}
	st.Status, st.Finished, st.PID, st.PIDStart = record.Exited, time.Now(), 0, 0
	st.ExitCode, st.Error = -1, "its shim was killed; the exit code is not known"
	if killed {
		st.ExitCode, st.Error = 137, "its shim was killed, so the container was ended"
	}
	if st.BootID != record.BootID() {
		st.Error = "the host was restarted while it ran"
	}
	if err := record.SaveState(e.Store.ContainerDir(id), st, atomicfile.Fast); err != nil {
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

func (e *Engine) peek(id string) (*record.Container, *record.State, error) {
	c, err := e.Store.LoadContainer(id)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	st, err := e.Store.LoadState(id)
	return c, st, err
}

// endOrphan kills a payload without a shim. Its pid alone is not trusted: start
// time and boot must agree, and the signal goes by pidfd.
func (e *Engine) endOrphan(st *record.State) bool {
	if st == nil {
		return false
	}
	killed := false
	if st.PID > 0 {
		who := linux.Identity{PID: st.PID, StartTime: st.PIDStart, BootID: st.BootID}
		if pidfd, err := who.Open(); err == nil {
			killed = who.Alive() && linux.SignalPidfd(pidfd, unix.SIGKILL) == nil
			_ = pidfd.SetReadDeadline(time.Now().Add(5 * time.Second))
			_ = linux.WaitPidfd(pidfd)
			_ = pidfd.Close()
		}
	}
	if st.Cgroup != "" && st.BootID == record.BootID() {
		g := cgroup.Open(st.Cgroup)
		_ = g.Kill()
		_ = g.Remove()
	}
	return killed
}

// erase removes a container that is at rest; the caller holds its life lock.
func (e *Engine) erase(id string, c *record.Container) error {
	var trees []string
	// Of a shim that was killed after it had saved the end.
	if path, err := e.Store.ControlPath(id); err == nil {
		_ = os.Remove(path)
	}
	if c != nil {
		if err := e.Store.DropName(c.Name, id); err != nil {
			return err
		}
		trees = e.dropVolumes(c)
	}
	trash, err := e.Store.Trash(id)
	if err != nil {
		return hint.New("remove container "+shortID(id), rootCause(err), "")
	}
	if c != nil && c.Image != "" {
		if err := e.Store.ReleaseImage(c.Image, id); err != nil {
			return err
		}
	}
	return e.removeTrees(append(trees, trash))
}

// removeTrees deletes folders: ourselves where every file is ours, else through
// a helper in U0, where files of subordinate ids can be deleted.
func (e *Engine) removeTrees(trees []string) error {
	var left []string
	for _, t := range trees {
		if err := os.RemoveAll(t); err != nil {
			rel, err := filepath.Rel(e.Store.Root, t)
			if err != nil {
				return err
			}
			left = append(left, rel)
		}
	}
	if len(left) == 0 {
		return nil
	}
	h, err := e.enter()
	if err != nil {
		return err
	}
	conn, proc, err := e.converse(h, "rc-tidy", &start.TidyConfig{Root: e.Store.Root, Paths: left}, nil, &userns.Program{})
	if err != nil {
		return err
	}
	defer conn.Close()
	defer proc.Close()
	var m start.Message
	files, err := conn.Recv(&m)
	stage.CloseFiles(files)
	_, _ = proc.Wait()
	if err != nil {
		return hint.New("delete "+strings.Join(left, " "), err, "")
	}
	if m.Fail != nil {
		return m.Fail.Error()
	}
	return nil
}

// emptyTrash finishes what an interrupted removal left. Another command may be
// doing the same, hence no complaint.
func (e *Engine) emptyTrash() {
	entries, err := os.ReadDir(e.Store.Path("trash"))
	if err != nil || len(entries) == 0 {
		return
	}
	var trees []string
	for _, entry := range entries {
		trees = append(trees, e.Store.Path("trash", entry.Name()))
	}
	_ = e.removeTrees(trees)
}

// shimDied is what an attached rc says when its conversation breaks off.
func (e *Engine) shimDied(id string, seen error) error {
	err := e.reconcile(id)
	return hint.New("follow container "+shortID(id), errors.Join(fmt.Errorf("its shim was killed (%w), so the container was ended", seen), err), "see `rc ps -a`")
}

// Remove removes containers. A running one is refused unless force kills it.
func (e *Engine) Remove(ref string, force bool) (string, error) {
	id, err := e.Store.FindContainer(ref)
	if err != nil {
		return "", err
	}
	alive, err := e.Store.Alive(id)
	if err != nil {
		return "", err
	}
	if st, err := e.Store.LoadState(id); alive || err == nil && shimLives(st) {
		if !force {
			return "", hint.Newf("remove container "+ref, "stop it first, or: rc rm -f "+ref, "it is running").WithCode(1)
		}
		if err := e.Kill(id); err != nil {
			return "", err
		}
	} else if err := e.reconcile(id); err != nil && !force && !errors.As(err, new(*unsavedState)) {
		return "", damaged(ref, err)
	}
	lock, err := e.Store.TakeLife(id)
	if err != nil {
		return "", hint.New("remove container "+ref, err, "another command is working on it: try again").WithCode(1)
	}
	defer e.Store.DropLife(id, lock)
	c, st, err := e.peek(id)
	switch {
	case err != nil && !force:
		return "", damaged(ref, err)
	case c != nil && c.MachineID != record.MachineID() && (st == nil || st.Status != record.Exited) && !force:
		return "", hint.Newf("remove container "+ref, "remove it there, or if that host is gone: rc rm -f "+ref,
			"it was started on another host (machine id %s) and may still run there", c.MachineID).WithCode(1)
	case c == nil:
		if _, err := os.Lstat(e.Store.ContainerDir(id)); err != nil {
			return id, nil // --rm was quicker
		}
	}
	return id, e.erase(id, c)
}

// damaged is a record that cannot be read, as after a power cut.
func damaged(ref string, err error) error {
	return hint.New("remove container "+ref, err, "to delete its folder all the same: rc rm -f "+ref).WithCode(1)
}

// Kill ends a running container at once and returns when its shim has recorded
// the end and let its lock go.
func (e *Engine) Kill(id string) error {
	path, err := e.Store.ControlPath(id)
	if err != nil {
		return err
	}
	_, _, err = control.Ask(path, control.Request{Op: control.OpSignal, Signal: int(unix.SIGKILL)}, askTimeout)
	if err != nil && !errors.Is(err, control.ErrGone) {
		return err
	}
	st, serr := e.Store.LoadState(id)
	if err != nil && serr == nil {
		e.endOrphan(st) // its socket went with the runtime folder: its shim sees the end
	}
	for range 500 {
		alive, err := e.Store.Alive(id)
		if err != nil || !alive && !shimLives(st) {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
	return hint.Newf("kill container "+shortID(id), fmt.Sprintf("look at its shim: pgrep -af %s", shortID(id)), "it did not end within 5 s")
}

// Running tells whether the container's payload runs now, on this host.
func (c *Entry) Running() bool { return c.State.Status == record.Running && c.Alive }
