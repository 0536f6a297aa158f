package shim

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/linux"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/stage/control"
	"github.com/rc-containers/rc/internal/stage/start"
)

// serveCaller obeys the attached rc until it leaves.
func (s *shim) serveCaller() {
	for {
		var m start.Message
		files, err := s.rc.Recv(&m)
		stage.CloseFiles(files)
		if err != nil {
			return // killed, or gone with its terminal: the container stays
		}
		switch m.Kind {
		case start.KindSignal:
			_ = s.deliver(unix.Signal(m.Signal))
		case start.KindResize:
			s.streams.resize(m.Rows, m.Cols)
		case start.KindCloseStream:
			s.streams.closeStream(m.Stream)
		case start.KindDetach:
			s.streams.detach()
			return
		}
	}
}

// deliver passes a signal to the payload. When that has ended already, and only
// its last output waits for a reader, the reader is given up.
func (s *shim) deliver(sig unix.Signal) error {
	err := s.signal(sig)
	if errors.Is(err, unix.ESRCH) && sig != unix.SIGCONT {
		s.streams.detach()
		return nil
	}
	return err
}

// listen opens the control socket. It exists before init is ready, so that a
// container in the making can be killed.
func (s *shim) listen() error {
	path, err := s.store.ControlPath(s.cfg.ID)
	if err != nil {
		return err
	}
	listener, err := stage.Listen(path)
	if err != nil {
		return hint.New("open the container's control socket", err, "")
	}
	s.control = listener
	s.undo.Push(s.closeControl)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				if errors.Is(err, os.ErrClosed) {
					return
				}
				time.Sleep(10 * time.Millisecond) // out of descriptors: let others end
				continue
			}
			go s.answer(conn)
		}
	}()
	return nil
}

func (s *shim) closeControl() {
	if s.control != nil {
		_ = s.control.Close()
		s.control = nil
	}
}

// answer serves one request. The bound keeps a silent client from holding us.
func (s *shim) answer(conn *stage.Conn) {
	defer conn.Close()
	if !trusted(conn) {
		return
	}
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	var q control.Request
	files, err := conn.Recv(&q)
	stage.CloseFiles(files)
	if err != nil {
		return
	}
	_ = conn.SetDeadline(time.Time{})
	s.answers.RLock()
	defer s.answers.RUnlock()
	r, out := s.obey(q)
	defer stage.CloseFiles(out)
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	_ = conn.Send(r, out...)
}

// lastAnswers lets those who waited for the end hear of it: this process is about
// to exit.
func (s *shim) lastAnswers(bound time.Duration) {
	told := make(chan struct{})
	go func() { s.answers.Lock(); close(told) }()
	select {
	case <-told:
	case <-time.After(bound):
	}
}

// trusted keeps containers out, should a bind mount show them our socket: their
// root has the user's own uid.
func trusted(conn *stage.Conn) bool {
	p, err := linux.PeerOf(conn.File())
	if err != nil {
		return false
	}
	if p.PidFD != nil {
		defer p.PidFD.Close()
	}
	return p.UID == os.Getuid() && !p.Below()
}

func (s *shim) obey(q control.Request) (*control.Reply, []*os.File) {
	switch q.Op {
	case control.OpState:
	case control.OpSignal:
		if err := s.deliver(unix.Signal(q.Signal)); err != nil {
			return refuse(hint.New("signal the container", err, "")), nil
		}
	case control.OpStop:
		s.stop(q.Timeout)
	case control.OpWait:
		<-s.done
	case control.OpNamespaces:
		return s.namespaces()
	default:
		return refuse(hint.Newf("obey "+string(q.Op), "restart the container with this version of rc", "this container's shim is older than the request")), nil
	}
	state := s.snapshot()
	return &control.Reply{State: &state}, nil
}

func refuse(err error) *control.Reply { return &control.Reply{Fail: start.Fail(err)} }

// stop asks the payload to end and kills it when it does not.
func (s *shim) stop(patience time.Duration) {
	if patience < 0 {
		patience = s.cfg.StopAfter
	}
	_ = s.signal(unix.Signal(s.cfg.StopSignal))
	var enough <-chan time.Time // nil: --stop-timeout=-1 waits for ever
	if patience >= 0 {
		enough = time.After(patience)
	}
	select {
	case <-s.done:
		return
	case <-enough:
	}
	_ = s.deliver(unix.SIGKILL)
	<-s.done
}

var shared = []struct {
	name string
	kind int
}{
	{"user", unix.CLONE_NEWUSER}, {"net", unix.CLONE_NEWNET}, {"ipc", unix.CLONE_NEWIPC},
	{"uts", unix.CLONE_NEWUTS}, {"pid", unix.CLONE_NEWPID}, {"mnt", unix.CLONE_NEWNS},
}

// namespaces lends the sandbox to another container. Its user namespace goes
// with any of the others: who has no rights in it cannot use them.
func (s *shim) namespaces() (*control.Reply, []*os.File) {
	proc := s.init
	if proc == nil {
		return refuse(hint.New("join the container", errNoInit, "start it first")), nil
	}
	u0, err := linux.OpenNamespace(0, unix.CLONE_NEWUSER)
	if err != nil {
		return refuse(hint.New("join the container", err, "")), nil
	}
	r := &control.Reply{Files: []string{"u0"}, UIDMap: s.cfg.UIDMap, GIDMap: s.cfg.GIDMap, Hostname: s.cfg.Spec.Hostname}
	files := []*os.File{u0}
	for _, n := range shared {
		if s.cfg.Clone&n.kind == 0 && s.files["join-"+n.name] == nil {
			continue // the host's: not the sandbox's to lend
		}
		f, err := linux.OpenNamespace(proc.PID, n.kind)
		if err != nil {
			stage.CloseFiles(files)
			return refuse(hint.New("join the container's "+n.name+" namespace", err, "")), nil
		}
		r.Files, files = append(r.Files, n.name), append(files, f)
	}
	// The pid was ours to use only if init lived all the while.
	if linux.SignalPidfd(proc.PidFD, 0) != nil {
		stage.CloseFiles(files)
		return refuse(hint.New("join the container", errNoInit, "start it first")), nil
	}
	return r, files
}
