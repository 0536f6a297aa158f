package keeper

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/linux"
	"github.com/rc-containers/rc/slirp"
	"github.com/rc-containers/rc/userns"
)

const forkOp = "have the keeper start the container"

// fork starts program where we stand, in the mount namespace mount; the files are
// borrowed. The child is not dumpable and has no descriptor of ours.
func (k *keeper) fork(r *slirp.Fork, program, mount, conn *os.File) (*userns.Process, []string, error) {
	if err := checkFork(r, mount, conn); err != nil {
		return nil, nil, hint.New(forkOp, err, "")
	}
	var less []string
	p, err := userns.Start(&userns.Program{
		// By a descriptor, since the caller may see other folders than we do.
		Path: r.Args[0], File: program, Args: r.Args, Env: r.Env, Dir: "/", Conn: conn,
		Files: []*os.File{mount}, Setsid: true,
		Plan: userns.Plan{Join: []userns.Join{{FD: 5, Type: unix.CLONE_NEWNS}}, Fork: true, BecomeRoot: true, NonDumpable: true},
		Prepare: func(pid int) (err error) {
			less, err = r.ApplyTo(pid)
			return err
		},
	})
	return p, less, err
}

// checkFork bounds what a message may ask for. The caller is the user, who could
// start any program as root of U0: this keeps mistakes out, not the user.
func checkFork(r *slirp.Fork, mount, conn *os.File) error {
	if len(r.Args) == 0 || len(r.Args) > 16 || len(r.Env) > 16 {
		return fmt.Errorf("%d arguments, %d variables: %w", len(r.Args), len(r.Env), unix.EINVAL)
	}
	if different := slirp.OwnNamespaces().Different(r.Namespaces); len(different) > 0 {
		return fmt.Errorf("the keeper lives in other namespaces of the host (%s), and would start the container there: %w",
			strings.Join(different, ", "), unix.EXDEV)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(conn.Fd()), &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return fmt.Errorf("the conversation is no socket: %w", errors.Join(err, unix.ENOTSOCK))
	}
	return ofU0(mount)
}

// ofU0 checks that f is a mount namespace which belongs to our own user namespace.
func ofU0(f *os.File) error {
	if kind, err := linux.NamespaceKind(f); err != nil || kind != unix.CLONE_NEWNS {
		return fmt.Errorf("not a mount namespace: %w", errors.Join(err, unix.EINVAL))
	}
	owner, err := linux.OwningUserNS(f)
	if err != nil {
		return err
	}
	defer owner.Close()
	u0, err := linux.OpenNamespace(0, unix.CLONE_NEWUSER)
	if err != nil {
		return err
	}
	defer u0.Close()
	a, err := linux.NamespaceOf(owner)
	if err != nil {
		return err
	}
	if b, err := linux.NamespaceOf(u0); err != nil || a != b {
		return fmt.Errorf("a mount namespace of others: %w", errors.Join(err, unix.EPERM))
	}
	return nil
}

// forked answers a request for a program and sees to it that the program is reaped:
// it is our child, and stays one until one of us ends.
func (s *session) forked(r *slirp.Fork, files []*os.File) (*slirp.Reply, []*os.File) {
	p, less, err := s.keeper.fork(r, files[0], files[1], files[2])
	if err != nil {
		return failed(err), nil
	}
	pidfd, err := duplicate(p.PidFD)
	go func() {
		_, _ = p.Wait()
		_ = p.Close()
	}()
	if err != nil {
		_ = p.Signal(unix.SIGKILL)
		return failed(hint.New(forkOp, err, "")), nil
	}
	return &slirp.Reply{Forked: &slirp.Forked{PID: p.PID, Less: s.keeper.stand.news(less)}}, []*os.File{pidfd}
}

// duplicate copies a descriptor that somebody waits on: the copy can be closed.
func duplicate(f *os.File) (*os.File, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd, cerr := -1, error(nil)
	err = raw.Control(func(n uintptr) { fd, cerr = unix.FcntlInt(n, unix.F_DUPFD_CLOEXEC, 0) })
	if err = errors.Join(err, cerr); err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}
