package shim

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/linux"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/stage/start"
	"github.com/rc-containers/rc/userns"
)

// borrowShm gets the /dev/shm of the container whose IPC namespace is joined. A
// mount can be cloned only from inside its mount namespace, so a short-lived
// process of ours enters that one.
func (s *shim) borrowShm() (*os.File, error) {
	const op = "share the joined container's /dev/shm"
	user, mnt := s.files["join-user"], s.files["join-mnt"]
	if user == nil || mnt == nil {
		return nil, hint.Newf(op, "", "its namespaces did not come with the configuration")
	}
	ours, theirs, err := stage.Pair()
	if err != nil {
		return nil, err
	}
	defer ours.Close()
	defer theirs.Close()
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	proc, err := userns.Start(&userns.Program{
		Path: exe, Args: []string{"rc-lend"}, Conn: theirs.File(), Files: []*os.File{user, mnt}, Setsid: true,
		Plan: userns.Plan{
			Join:       []userns.Join{{FD: 5, Type: unix.CLONE_NEWUSER}, {FD: 6, Type: unix.CLONE_NEWNS}},
			BecomeRoot: true, NonDumpable: true,
		},
	})
	if err != nil {
		return nil, err
	}
	_ = theirs.Close()
	return mountFrom(op, proc, ours)
}

// mountFrom waits for the one mount that a helper was started for, and ends it.
func mountFrom(op string, helper *userns.Process, conv *stage.Conn) (*os.File, error) {
	defer helper.Close()
	_ = conv.SetDeadline(time.Now().Add(5 * time.Second))
	var m start.Message
	files, err := conv.Recv(&m)
	_ = helper.Signal(unix.SIGKILL)
	_, _ = helper.Wait()
	switch {
	case err != nil:
		return nil, hint.New(op, err, "")
	case m.Fail != nil:
		return nil, m.Fail.Error()
	case len(files) != 1:
		stage.CloseFiles(files)
		return nil, hint.New(op, errors.New("the helper sent no mount"), "")
	}
	return files[0], nil
}

// Lend runs as rc-lend inside a container's mount namespace and hands out a
// clone of its /dev/shm. The container may have put anything there: no link is
// followed, and the clone is mounted inside the same sandbox only.
func Lend(conv *stage.Conn) int {
	f, err := lendShm()
	if err != nil {
		_ = conv.Send(&start.Message{Kind: start.KindFailed, Fail: start.Fail(err)})
		return 1
	}
	defer f.Close()
	_ = conv.Send(&start.Message{Kind: start.KindReady, Files: []string{"shm"}}, f)
	return 0
}

func lendShm() (*os.File, error) {
	const op = "share the joined container's /dev/shm"
	root, err := os.OpenFile("/", unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, hint.New(op, err, "")
	}
	defer root.Close()
	dir, err := linux.OpenBeneath(int(root.Fd()), "dev/shm", unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, hint.New(op, hint.Errno(err), "leave out --ipc=container:ID")
	}
	defer dir.Close()
	f, err := linux.CloneTree(dir)
	if err != nil {
		return nil, hint.New(op, hint.Errno(err), "leave out --ipc=container:ID")
	}
	return f, nil
}
