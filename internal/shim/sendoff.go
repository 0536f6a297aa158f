package shim

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/atomicfile"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/stage/start"
	"github.com/rc-containers/rc/internal/trace"
)

// Where rc has sent Start ahead and nothing else is to come between Ready and Exec,
// init finds Exec as soon as it has said Ready, and nobody is waited for: that costs
// two changes of process, on the way to the payload.
//
//	shim                                        init
//	Init                                   ───► mounts …
//	state saved, socket open, network there     (once: as running)
//	Exec                                   ───►
//	                                       ◄─── Ready
//	Created ──► rc                              reads Exec, runs the payload

// calledAhead tells whether init may be sent off, and takes rc's Start if so. Not where
// something is made of Ready (the terminal), or belongs between the two (what a service
// manager and a reader of pid files are told).
func (s *shim) calledAhead() bool {
	if s.rc == nil || s.cfg.Spec.Process.Terminal || s.cfg.Unit != nil || s.cfg.Systemd != "" || s.cfg.PIDFile != "" || s.cfg.ShimPIDFile != "" {
		return false
	}
	raw, err := s.rc.File().SyscallConn()
	if err != nil {
		return false
	}
	here := false
	_ = raw.Control(func(fd uintptr) {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(p, 0)
		here = err == nil && n > 0 && p[0].Revents == unix.POLLIN // no POLLHUP: run says that it is gone
	})
	return here && s.awaitStart() == nil
}

// savesOnce tells whether the state need not be in the record before the payload may
// run. Until then a shim that is killed leaves an init that ends by itself; and of a
// container that its end removes, and that nobody had before, every reader makes the
// same, Created or Running: it ends what is left of it, and removes it.
func (s *shim) savesOnce() bool { return s.cfg.AutoRemove && s.cfg.Fresh }

// saveRunning writes down that the container runs, which it does, or is gone, before
// rc hears of it. It is in front of Exec: who finds a payload finds its pid.
func (s *shim) saveRunning() error {
	defer trace.Begin("save state.json").End()
	s.saves.Lock()
	defer s.saves.Unlock()
	st := s.snapshot()
	s.saved = time.Now()
	st.Status, st.Started, st.Fresh = record.Running, s.saved, false
	return s.write(st, atomicfile.Fast)
}

// sendOff lets init execute the payload as soon as it can.
func (s *shim) sendOff() error {
	defer trace.Begin("send init off").End()
	if err := s.connect(); err != nil {
		return err
	}
	s.off = true
	err := s.conv.Send(&start.Message{Kind: start.KindExec})
	if errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) {
		return nil // it has died: awaitReady says of what
	}
	return err
}

// awaitNetwork waits for attachNetwork's result.
func (s *shim) awaitNetwork(attached <-chan error) error {
	defer trace.Wait("network").End()
	if err := <-attached; err != nil {
		return err
	}
	if net := s.snapshot().Net; net != nil && net.Note != "" {
		s.said = append(s.said, net.Note)
	}
	return nil
}
