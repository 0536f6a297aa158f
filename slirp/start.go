package slirp

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/version"
	"github.com/rc-containers/rc/userns"
)

const startTimeout = 20 * time.Second

// Birth is what a keeper is started with. All files are borrowed.
type Birth struct {
	Program string          // path of rc-net
	Mapping *userns.Mapping // of a new U0; nil: the caller stands in U0 already
	U0      *os.File        // of containers that outlived their keeper: joined
	N0      *os.File        // and their network namespace, if any of them is on a bridge
	Path    string          // PATH, to find slirp4netns in
}

// StartKeeper starts rc-net and connects to it, unless another rc was faster: then
// it connects to that one.
//
// The lock keeper.lock is held from before the second look until the new keeper
// listens. The keeper gets the lock's descriptor too: if rc is killed meanwhile,
// nobody starts a second one beside it.
func StartKeeper(runtimeDir string, b *Birth) (*Client, error) {
	deadline := time.Now().Add(startTimeout)
	for {
		c, err := startOnce(runtimeDir, b, deadline)
		// A keeper that leaves hangs up on who connected too late to be seen.
		if !errors.Is(err, ErrNoKeeper) || time.Now().After(deadline) {
			return c, err
		}
	}
}

func startOnce(runtimeDir string, b *Birth, deadline time.Time) (*Client, error) {
	lock, err := lockKeeper(runtimeDir, deadline)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	if c, err := greet(runtimeDir); !errors.Is(err, ErrNoKeeper) {
		return c, err
	}
	if err := b.spawn(runtimeDir, lock); err != nil {
		return nil, err
	}
	return greet(runtimeDir)
}

// greet connects and makes sure that somebody answers.
func greet(runtimeDir string) (*Client, error) {
	c, err := Dial(runtimeDir)
	if err != nil {
		return nil, err
	}
	_, u0, err := c.Hello()
	if err != nil {
		c.Close()
		return nil, err
	}
	_ = u0.Close()
	return c, nil
}

// lockKeeper takes the lock, polling: flock(2) itself cannot be given a bound. It
// unwraps to EWOULDBLOCK when somebody else has it until the deadline.
func lockKeeper(runtimeDir string, deadline time.Time) (*os.File, error) {
	path := filepath.Join(runtimeDir, LockName)
	op := "lock " + path
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, hint.New(op, err, "")
	}
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if err != unix.EWOULDBLOCK && err != unix.EINTR || time.Now().After(deadline) {
			_ = f.Close()
			return nil, hint.New(op, err, "see who holds it: lsof "+path)
		}
		time.Sleep(pause)
	}
}

// spawn starts the program and waits until it listens.
func (b *Birth) spawn(runtimeDir string, lock *os.File) error {
	const op = "start the keeper of the network"
	ours, theirs, err := stage.Pair()
	if err != nil {
		return hint.New(op, err, "")
	}
	defer ours.Close()
	restore, err := raiseCeilings()
	if err != nil {
		return err
	}
	defer restore()
	process, err := userns.Start(b.start(lock, theirs.File()))
	_ = theirs.Close()
	if err != nil {
		return err
	}
	defer process.Close() // it outlives us; nobody waits for it
	_ = ours.SetDeadline(time.Now().Add(startTimeout))
	err = ours.Send(&Start{Runtime: runtimeDir, Version: version.Version, Path: b.Path})
	var reply Reply
	if err == nil {
		_, err = ours.Recv(&reply)
	}
	switch {
	case err != nil:
		return hint.New(op, fmt.Errorf("%s ended or did not answer: %w", b.Program, err), "run `rc info`")
	case reply.Failed != nil:
		return reply.Failed.Error()
	case !reply.Ready:
		return hint.Newf(op, "install rc and "+b.Program+" together", "it answers with something else")
	}
	return nil
}

// ceilings are the limits that a new user namespace takes over from its maker as
// bounds for everything below it, as long as it lives (kernel commit 21d1c5e386bc,
// "Reimplement RLIMIT_NPROC on top of ucounts", and its series, Linux 5.14).
var ceilings = []int{unix.RLIMIT_NPROC, unix.RLIMIT_MSGQUEUE, unix.RLIMIT_SIGPENDING, unix.RLIMIT_MEMLOCK}

// minProcesses is what the keeper, a shim and an init have in threads, doubled.
const minProcesses = 64

// raiseCeilings lets U0 have what the user may have, not what this shell has:
// `ulimit -Su 60` for one command must not bound every container of the day. A
// hard limit below what rc itself needs is refused: every later rc would find the
// keeper of that U0 and fail.
func raiseCeilings() (restore func(), err error) {
	var undo []func()
	restore = func() {
		for _, f := range undo {
			f()
		}
	}
	for _, which := range ceilings {
		var old unix.Rlimit
		if err := unix.Getrlimit(which, &old); err != nil {
			return restore, hint.New("read the limits of this process", err, "")
		}
		if which == unix.RLIMIT_NPROC && old.Max < minProcesses && os.Getuid() != 0 {
			return restore, hint.Newf("start the keeper of the network", "raise it where it was set: ulimit -u, /etc/security/limits.conf, LimitNPROC=",
				"the hard limit of processes is %d, and all your containers would share it", old.Max)
		}
		if old.Cur == old.Max {
			continue
		}
		if unix.Setrlimit(which, &unix.Rlimit{Cur: old.Max, Max: old.Max}) == nil {
			undo = append(undo, func() { _ = unix.Setrlimit(which, &old) })
		}
	}
	return restore, nil
}

// start is how rc-net is started: descriptor 4 the conversation, 5 the lock, 6 the U0
// to join, if any, 7 the N0 to go on with, if any.
func (b *Birth) start(lock, conn *os.File) *userns.Program {
	p := &userns.Program{
		Path: b.Program, Args: []string{"rc-net"}, Dir: "/",
		Conn:  conn,
		Files: []*os.File{lock, b.U0, b.N0},
		Plan:  userns.Plan{BecomeRoot: true}, Setsid: true,
	}
	switch {
	case b.U0 != nil:
		p.Plan.Join = []userns.Join{{FD: 6, Type: unix.CLONE_NEWUSER}}
	case b.Mapping != nil:
		p.Plan.Unshare = unix.CLONE_NEWUSER
		p.MapIDs = b.Mapping
	default:
		p.Plan.Orphan = true // a shim lives on, and would have to reap it
	}
	return p
}
