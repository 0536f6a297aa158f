package shim

import (
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/stage/control"
	"github.com/rc-containers/rc/internal/stage/start"
)

// talkAttach serves OpAttach; see control.Talk. The descriptors are its own.
func (s *shim) talkAttach(conn *stage.Conn, files map[string]*os.File) {
	s.grew()
	done := s.ended()
	if s.snapshot().Status != record.Running {
		closeAll(files)
		_ = conn.Send(refuse(hint.Newf("attach to the container", "rc start "+s.cfg.Name, "it is not running").WithCode(1)))
		return
	}
	_ = conn.SetDeadline(time.Time{})
	if conn.Send(&control.Reply{PID: s.init.PID}) != nil {
		closeAll(files)
		return
	}
	c := newCaller(files["stdin"], files["stdout"], files["stderr"])
	c.once = !s.cfg.Detach
	s.streams.join(c)
	s.event("attach", nil)
	left := make(chan bool, 1)
	go func() { left <- s.obeyAttached(conn, c) }()
	select {
	case byKeys := <-left:
		s.streams.leave(c)
		if byKeys {
			s.event("detach", nil)
		}
	case <-c.behind:
		_ = conn.Send(&start.Message{Kind: start.KindFailed, Fail: start.Fail(hint.Newf("follow the container's output",
			"read faster, or read the log: rc logs "+s.cfg.Name, "nothing of it was taken for %v, so it was given up; the container goes on", callerPatience).WithCode(1))})
	case <-done: // the streams were delivered before
		st := s.snapshot()
		_ = conn.Send(&start.Message{Kind: start.KindExited, Exit: &start.Exit{Code: st.ExitCode, OOMKilled: st.OOMKilled}})
	}
}

func closeAll(files map[string]*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}

// obeyAttached takes the orders of an attached rc until it leaves, and tells
// whether it said so.
func (s *shim) obeyAttached(conn *stage.Conn, c *caller) bool {
	for {
		var m start.Message
		files, err := conn.Recv(&m)
		stage.CloseFiles(files)
		switch {
		case err != nil:
			return false
		case m.Kind == start.KindDetach:
			return true
		case m.Kind == start.KindSignal:
			_ = s.deliver(s.passedOn(unix.Signal(m.Signal)))
		case m.Kind == start.KindResize:
			s.streams.resize(m.Rows, m.Cols)
		case m.Kind == start.KindCloseStream:
			s.streams.closeFor(c, m.Stream)
		}
	}
}
