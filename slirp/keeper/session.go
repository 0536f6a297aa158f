package keeper

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/linux"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/trace"
	"github.com/rc-containers/rc/internal/version"
	"github.com/rc-containers/rc/slirp"
)

const (
	firstLimit = 10 * time.Second // to say something after connecting
	sendLimit  = 10 * time.Second // to take an answer
)

// session is one connection: of an rc that starts a container, or of a shim for
// as long as its container lives.
type session struct {
	keeper   *keeper
	conn     *stage.Conn
	attached *attachment
	marks    *trace.Log // of the request that is answered
}

// serve answers until the other side ends the conversation or breaks the
// protocol; what was attached goes with it.
func (s *session) serve() {
	defer func() {
		if s.attached != nil {
			s.attached.close()
		}
	}()
	if !s.trusted() {
		return
	}
	_ = s.conn.SetDeadline(time.Now().Add(firstLimit))
	for {
		if s.waitReadable() != nil {
			return
		}
		var r slirp.Request
		files, err := s.conn.Recv(&r)
		if err != nil {
			return
		}
		s.marks = trace.Collect(r.Trace)
		answer := s.marks.Begin("answer")
		reply, out := s.answer(&r, files)
		answer.End()
		reply.Trace = s.marks.Marks()
		_ = s.conn.SetDeadline(time.Now().Add(sendLimit))
		err = s.conn.Send(reply, out...)
		stage.CloseFiles(out)
		if err != nil {
			return
		}
		_ = s.conn.SetDeadline(time.Time{})
	}
}

// trusted: the folder is closed to others; this is the second lock. The user is 0
// in U0, and so is a container's root, whom a bind mount may have shown the folder.
func (s *session) trusted() bool {
	p, err := linux.PeerOf(s.conn.File())
	if err != nil {
		return false
	}
	if p.PidFD != nil {
		defer p.PidFD.Close()
	}
	return p.UID == os.Getuid() && !p.Below()
}

// waitReadable waits without a buffer: Recv's of 64 KiB would be held for the
// life of every container.
func (s *session) waitReadable() error {
	raw, err := s.conn.File().SyscallConn()
	if err != nil {
		return err
	}
	return raw.Read(func(fd uintptr) bool {
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, _ := unix.Poll(poll, 0)
		return n > 0
	})
}

// answer owns files; the caller owns what comes back.
func (s *session) answer(r *slirp.Request, files []*os.File) (*slirp.Reply, []*os.File) {
	switch one := r.Kinds() == 1; {
	case one && r.Hello != nil && len(files) == 0:
		if r.Hello.Bridge {
			s.keeper.commons.makeReady()
		}
		return s.welcome()
	case one && r.Unit != nil && len(files) == 0:
		yes, err := s.keeper.stand.delegated(r.Unit)
		if err != nil {
			return failed(err), nil
		}
		return &slirp.Reply{Unit: &slirp.UnitReply{Delegated: yes}}, nil
	case one && r.Fork != nil && len(files) == 3:
		defer stage.CloseFiles(files)
		return s.forked(r.Fork, files)
	case one && r.Attach != nil && (len(files) == 2 || len(files) == 3) && s.attached == nil:
		return s.attach(r.Attach, files)
	case one && r.Change != nil && len(files) == 0 && s.attached != nil:
		got, err := s.attached.change(r.Change)
		if err != nil {
			return failed(err), nil
		}
		return &slirp.Reply{Attached: got}, nil
	}
	stage.CloseFiles(files)
	return failed(hint.New("talk to the keeper of the network", unix.EPROTO, "")), nil
}

// attach owns files: network and user namespace of the container, and N0, if given.
func (s *session) attach(r *slirp.Attach, files []*os.File) (*slirp.Reply, []*os.File) {
	var n0 *os.File
	if len(files) == 3 {
		n0 = files[2]
		defer n0.Close()
		if !isNetwork(n0) {
			stage.CloseFiles(files[:2])
			return failed(hint.New(attachOp, unix.EINVAL, "")), nil
		}
	}
	a, got, err := s.keeper.attach(r, s.marks, files[0], files[1], n0)
	if err != nil {
		return failed(err), nil
	}
	s.attached = a
	// Given up: hang up, so that the shim learns of it.
	a.watch(func() { _ = unix.Shutdown(int(s.conn.File().Fd()), unix.SHUT_RDWR) })
	if a.wires == nil {
		return &slirp.Reply{Attached: got}, nil
	}
	ours, err := duplicate(a.wires.world.File())
	if err != nil {
		s.attached = nil
		a.close()
		return failed(hint.New(attachOp, err, "")), nil
	}
	return &slirp.Reply{Attached: got}, []*os.File{ours}
}

func failed(err error) *slirp.Reply { return &slirp.Reply{Failed: stage.Fail(err)} }

func (s *session) welcome() (*slirp.Reply, []*os.File) {
	u0, err := linux.OpenNamespace(0, unix.CLONE_NEWUSER)
	if err != nil {
		return failed(errors.Join(err)), nil
	}
	m := s.keeper.mapping
	w := &slirp.Welcome{Version: version.Version, PID: os.Getpid(), UID: m.UID, GID: m.GID, SingleID: m.SingleID}
	s.keeper.stand.describe(w)
	return &slirp.Reply{Welcome: w}, []*os.File{u0}
}
