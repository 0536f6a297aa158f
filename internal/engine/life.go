package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/linux"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/slirp"
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

// Load reads one container's truth: what its record says, corrected by whether
// its shim lives. errors.Is(err, fs.ErrNotExist) when there is none.
func (e *Engine) Load(id string) (*Entry, error) {
	for try := 0; ; try++ {
		entry, err := e.look(id)
		if err != nil && fixOf(err) == "" && !errors.Is(err, fs.ErrNotExist) {
			err = hint.New("", err, deleteFix(err, "container "+shortID(id), shortID(id))).WithCode(1)
		}
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
		c, st, perr := e.peek(id)
		if sound(c, st, perr) {
			return entryOf(c, st, false), nil
		}
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
	return entryOf(c, st, alive), nil
}

// entryOf is a container with the state that its folder holds, none if it has none.
// A shim that has recorded the end and given up its lock may still be cleaning up:
// the container is over for everybody.
func entryOf(c *record.Container, st *record.State, alive bool) *Entry {
	if st == nil {
		st = &record.State{Status: record.Created}
	}
	return &Entry{*c, *st, alive || !atRest(st) && shimLives(st)}
}

// shimLives looks at the process itself. Its lock says the same, except where a
// logout took the runtime folder away from under it, and while a killed one is on its
// way out.
func shimLives(st *record.State) bool {
	return st != nil && st.ShimPID > 0 && linux.Identity{PID: st.ShimPID, StartTime: st.ShimStart, BootID: st.BootID}.Runs()
}

// hidden tells whether a process exists that /proc does not show (proc(5),
// hidepid): then nothing can be said of it.
func hidden(pid int) bool {
	_, err := os.Stat("/proc/" + strconv.Itoa(pid))
	return pid > 0 && errors.Is(err, fs.ErrNotExist) && unix.Kill(pid, 0) == nil
}

// Ports are what is published of a container that runs; none of another.
func (e *Engine) Ports(ref string) ([]slirp.Port, error) {
	entry, err := e.find(ref, "show the ports of container "+ref)
	if err != nil || !entry.Alive {
		return nil, err
	}
	for _, l := range entry.Lost() {
		e.Warn("not published at the moment: " + l.Why)
	}
	return entry.Published(), nil
}

// Running tells whether the container's payload runs now, on this host.
func (c *Entry) Running() bool { return c.State.Status == record.Running && c.Alive }

// shimDied is what an attached rc says when its conversation breaks off.
func (e *Engine) shimDied(id string, seen error) error {
	err := e.reconcile(id)
	return hint.New("follow container "+shortID(id), errors.Join(fmt.Errorf("its shim was killed (%w), so the container was ended", seen), err), "see `rc ps -a`")
}
