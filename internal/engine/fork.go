package engine

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/linux"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/slirp"
	"github.com/rc-containers/rc/userns"
)

// From a login's own cgroup the kernel lets nobody into the user's (EACCES: the
// group above both is root's), and systemd, which could move somebody, is not asked
// at a start. The keeper stands on the other side and forks the shim for us:
//
//	rc                              keeper                     a child of rc's
//	rc-init, joined to U0, unshares ─────────────────────────► waits in its constructor
//	opens its mount namespace, reads what it inherited         ends
//	Fork (+ rc-init, that mount namespace, the conversation)
//	                        ───►    rc-init, joined to that mount namespace,
//	                                with rc's limits, nice value, processors:
//	                                the shim, in rc-host/
//	                        ◄───    Forked (+ pidfd)
//
// The shim is then what it would have been as our child, but for its parent.

// forkByKeeper is converse by way of the keeper.
func (l *launch) forkByKeeper(p *userns.Program) (*stage.Conn, *userns.Process, error) {
	const op = "start the container's shim"
	path, err := l.e.program("rc-init")
	if err != nil {
		return nil, nil, err
	}
	program, err := os.OpenFile(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, hint.New(op, err, "")
	}
	defer program.Close()
	mount, inherited, err := l.home.mountCopy(path)
	if err != nil {
		return nil, nil, err
	}
	defer mount.Close()
	ours, theirs, err := stage.Pair()
	if err != nil {
		return nil, nil, hint.New(op, err, "")
	}
	defer theirs.Close()
	if err := sendConfig(ours, l.bytes, l.files); err != nil {
		_ = ours.Close()
		return nil, nil, err
	}
	f := &slirp.Fork{Args: append([]string{"rc-shim"}, p.Args...), Env: p.Env, Namespaces: slirp.OwnNamespaces(), Process: *inherited}
	proc, less, err := l.home.keeper.Fork(f, program, mount, theirs.File())
	if err != nil {
		_ = ours.Close()
		return nil, nil, err
	}
	if len(less) > 0 {
		l.e.Warn("the keeper was born with less than you have here, and the container gets its " + strings.Join(less, ", ") +
			"; end all containers and wait until it is gone (ps -C rc-net) for a new one")
	}
	return ours, proc, nil
}

// errCopied ends the child that was only needed for its namespace.
var errCopied = errors.New("copied")

// mountCopy makes a private copy of our mount namespace that belongs to U0, as the
// shim would as a child of ours, and reads what that child inherited from us: not
// from ourselves, since Go raises our own limit of open files.
func (h *home) mountCopy(rcInit string) (mount *os.File, inherited *slirp.Process, err error) {
	p := &userns.Program{Path: rcInit, Args: []string{"rc-init"}, Plan: userns.Plan{Fork: true}}
	p.Prepare = func(pid int) error {
		if inherited, err = slirp.ProcessOf(pid); err != nil {
			return err
		}
		if mount, err = linux.OpenNamespace(pid, unix.CLONE_NEWNS); err != nil {
			return err
		}
		return errCopied
	}
	_, err = userns.Start(h.inHome(p))
	if !errors.Is(err, errCopied) {
		return nil, nil, hint.New("copy this mount namespace", errors.Join(err), "")
	}
	return mount, inherited, nil
}
