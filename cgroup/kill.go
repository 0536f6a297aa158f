package cgroup

import (
	"errors"
	"io"
	"os"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/linux"
)

const (
	killFile   = "cgroup.kill" // Linux 5.14
	freezeFile = "cgroup.freeze"

	// withoutKill makes tests take the way of a kernel that lacks cgroup.kill.
	withoutKill = "cgroup-kill"
)

// Kill sends SIGKILL to every process in the group and below, forks in flight
// included. It does not wait for them to go: Remove does. A group that is gone
// is no error.
func (g *Group) Kill() error {
	d, err := openDir(g.Path)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err == nil {
		defer d.close()
		if linux.Without(withoutKill) || !d.has(killFile) {
			err = d.killEach()
		} else {
			err = d.write(killFile, "1")
		}
	}
	if err != nil {
		return hint.New("kill the container's processes", err, "")
	}
	return nil
}

// killEach is Kill without cgroup.kill: frozen first, so that a fork bomb cannot
// outrun the list; SIGKILL reaches a frozen process of version 2.
func (d *dir) killEach() error {
	// Errors do not matter: cgroup.freeze is Linux 5.2, and without it the loop has
	// to win the race by repetition.
	_ = d.write(freezeFile, "1")
	defer d.write(freezeFile, "0")
	for range 100 {
		err := d.signalAll()
		if empty, waitErr := d.waitEmpty(10 * time.Millisecond); empty || waitErr != nil {
			return waitErr
		}
		if err != nil {
			return err
		}
	}
	return &os.PathError{Op: "kill", Path: d.path, Err: unix.EBUSY}
}

func (d *dir) signalAll() error {
	if err := d.signal(); err != nil {
		return err
	}
	return d.walk((*dir).signal, func(*dir, string) error { return nil })
}

// signal kills the processes that stand in d itself. Each is pinned by a pidfd
// and then looked up again: a number that was reused in between is not listed
// any more, or the pidfd is of the dead one.
func (d *dir) signal() error {
	pinned := map[string]*os.File{}
	for _, pid := range d.fields(procsFile) { // none in a threaded group: its domain lists them
		n, err := strconv.Atoi(pid)
		if err != nil || n == 0 {
			continue // 0: in a PID namespace that we do not see
		}
		if fd, err := linux.OpenPidfd(n); err == nil {
			defer fd.Close()
			pinned[pid] = fd
		}
	}
	// A pid of the list may have ended and been given away before pidfd_open; the
	// pidfd pins it now, so a second look settles whose it is.
	still := d.fields(procsFile)
	for pid, fd := range pinned {
		if !slices.Contains(still, pid) {
			continue
		}
		if err := linux.SignalPidfd(fd, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
			return err
		}
	}
	return nil
}

// Freeze stops every process in the group and below, and returns when they all
// have stopped. The payload cannot undo it: the file is above its group. After
// five seconds without success everything goes on, with an error.
func (g *Group) Freeze() error {
	d, err := openDir(g.Path)
	if err != nil {
		return hint.New("pause the container", err, "")
	}
	defer d.close()
	err = d.write(freezeFile, "1")
	if err == nil {
		var frozen bool
		if frozen, err = d.await("frozen", 1, freezeWait); err == nil && !frozen {
			err = &os.PathError{Op: "freeze", Path: d.path, Err: unix.ETIMEDOUT}
		}
	}
	if err != nil {
		_ = d.write(freezeFile, "0") // half a pause is worse than none
		return hint.New("pause the container", err, "")
	}
	return nil
}

// Thaw undoes Freeze, and returns when the processes go on.
func (g *Group) Thaw() error {
	d, err := openDir(g.Path)
	if err == nil {
		defer d.close()
		err = d.write(freezeFile, "0")
	}
	if err == nil {
		_, err = d.await("frozen", 0, freezeWait)
	}
	if err != nil {
		return hint.New("unpause the container", err, "")
	}
	return nil
}

func isEOF(err error) bool { return errors.Is(err, io.EOF) }
