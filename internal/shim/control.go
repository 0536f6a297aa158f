package shim

import (
	"errors"
	"os"
	"runtime"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/atomicfile"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/linux"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/stage/control"
	"github.com/rc-containers/rc/internal/stage/start"
	"github.com/rc-containers/rc/internal/trace"
)

// serveCaller obeys the attached rc until it leaves.
func (s *shim) serveCaller(rc *stage.Conn) {
	for {
		var m start.Message
		files, err := rc.Recv(&m)
		stage.CloseFiles(files)
		if err != nil {
			return // killed, or gone with its terminal: the container stays
		}
		switch m.Kind {
		case start.KindSignal:
			_ = s.kill(s.passedOn(unix.Signal(m.Signal)), false)
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

// kill is a user's signal, or one of the restart policy's own makers (byPolicy). A
// user's SIGKILL, or stop signal, says that the container shall be at rest (moby,
// daemon/kill.go): no policy applies to that end, and a wait for a restart is over.
func (s *shim) kill(sig unix.Signal, byPolicy bool) error {
	final := sig == unix.SIGKILL || sig == unix.Signal(s.cfg.StopSignal)
	waiting := s.waiting()
	if final && !byPolicy {
		waiting = s.rest(false)
	}
	var err error
	if !waiting {
		err = s.deliver(sig)
	}
	if err != nil || sig == 0 {
		return err
	}
	s.event("kill", map[string]string{"signal": strconv.Itoa(int(sig))})
	if final {
		s.thaw()
	}
	return nil
}

// rest notes that a user wants the container to be at rest, and calls a restart off
// that is being waited for. It tells whether there was one.
func (s *shim) rest(keep bool) (waiting bool) {
	s.mu.Lock()
	s.state.Stopped = true
	s.keep = s.keep || keep
	waiting = s.state.Status == record.Restarting && !s.launched
	if waiting {
		select {
		case <-s.stopped:
		default:
			close(s.stopped)
		}
	}
	live := s.state.Status == record.Running || s.state.Status == record.Paused
	s.mu.Unlock()
	if live {
		_ = s.save(atomicfile.Fast) // should we be killed now, nobody starts it again
	}
	return waiting
}

// waiting tells whether a restart is to come.
func (s *shim) waiting() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state.Status == record.Restarting && !s.launched
}

// deliver passes a signal to the payload. When that has ended already, and only
// its last output waits for a reader, the reader is given up.
func (s *shim) deliver(sig unix.Signal) error {
	err := s.signal(sig)
	if errors.Is(err, unix.ESRCH) && sig != unix.SIGCONT {
		s.streams.leaveAll()
		return nil
	}
	return err
}

// listen opens the control socket. It exists before init is ready, so that a
// container in the making can be killed.
func (s *shim) listen() error {
	defer trace.Begin("open the control socket").End()
	if s.control == nil { // else the program before us has opened it
		path, err := s.store.ControlPath(s.cfg.ID)
		if err != nil {
			return err
		}
		listener, err := stage.Listen(path)
		if err != nil {
			return hint.New("open the container's control socket", err, "")
		}
		s.control = listener
	}
	s.serveControl()
	return nil
}

// serveControl answers whoever connects. What is accepted counts as busy at once,
// so that an execve of the shim never loses it.
func (s *shim) serveControl() {
	listener := s.control
	s.accepts.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				if errors.Is(err, os.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded) {
					return
				}
				time.Sleep(10 * time.Millisecond) // out of descriptors: let others end
				continue
			}
			go s.answer(conn, s.busy())
		}
	})
}

// haltAccept leaves new connections in the queue until resume is called.
func (s *shim) haltAccept() (resume func()) {
	listener := s.control
	if listener == nil {
		return func() {}
	}
	_ = listener.SetDeadline(time.Now())
	s.accepts.Wait()
	return func() {
		_ = listener.SetDeadline(time.Time{})
		s.serveControl()
	}
}

func (s *shim) closeControl() {
	defer trace.Begin("close the control socket").End()
	s.reopening.Lock()
	defer s.reopening.Unlock()
	s.left = true
	if s.control != nil {
		_ = s.control.Close()
		s.control = nil
	}
}

// answer serves one request; done says that it is over. The bound keeps a silent
// client from holding us.
func (s *shim) answer(conn *stage.Conn, done func()) {
	defer conn.Close()
	finished := sync.OnceFunc(done)
	defer finished()
	if !trusted(conn) {
		return
	}
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	var q control.Request
	files, err := conn.Recv(&q)
	if err != nil {
		return
	}
	_ = conn.SetDeadline(time.Time{})
	if q.Op == control.OpExec || q.Op == control.OpAttach {
		s.talk(conn, q, files)
		return
	}
	stage.CloseFiles(files)
	switch {
	case q.Op == control.OpPause && q.Hold:
		s.holdPause(conn)
		return
	case q.Op == control.OpRoot && q.Hold:
		s.holdRest(conn)
		return
	}
	if q.Op == control.OpWait {
		ended := s.enlist(conn)
		finished() // an execve hands the connection on
		awaitEnd(conn, ended)
		defer s.busy()()
		s.delist(conn)
	}
	r, out := s.obey(q)
	defer stage.CloseFiles(out)
	reply(conn, r, out...)
}

// reply sends an answer. What was done counts more than what the state says of the
// container's own words, which may be too long for a packet.
func reply(conn *stage.Conn, r *control.Reply, files ...*os.File) {
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	err := conn.Send(r, files...)
	if !errors.Is(err, stage.ErrTooLarge) || r.State == nil {
		return
	}
	st, short := *r.State, *r
	st.Error = bounded(st.Error, 1024)
	if st.Health != nil {
		st.Health = &record.Health{Status: st.Health.Status, FailingStreak: st.Health.FailingStreak}
	}
	short.State = &st
	_ = conn.Send(&short, files...)
}

// talk is a conversation on the connection of a request: control.Talk.
func (s *shim) talk(conn *stage.Conn, q control.Request, list []*os.File) {
	files := map[string]*os.File{}
	if len(list) != len(q.Files) {
		stage.CloseFiles(list)
		_ = conn.Send(refuse(hint.Newf("obey "+string(q.Op), "", "its descriptors did not come")))
		return
	}
	for i, name := range q.Files {
		if files[name] != nil {
			_ = files[name].Close()
		}
		files[name] = list[i]
	}
	if q.Op == control.OpExec {
		s.talkExec(conn, q, files)
	} else {
		s.talkAttach(conn, files)
	}
}

// enlist adds a connection to those that hear of the next end.
func (s *shim) enlist(conn *stage.Conn) (ended <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiters == nil {
		s.waiters = map[*stage.Conn]struct{}{}
	}
	s.waiters[conn] = struct{}{}
	return s.done
}

func (s *shim) delist(conn *stage.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.waiters, conn)
	delete(s.leaving, conn)
}

// waitAgain goes on with a connection on which the program before us was asked to
// wait.
func (s *shim) waitAgain(conn *stage.Conn) {
	ended := s.enlist(conn)
	go func() {
		defer conn.Close()
		awaitEnd(conn, ended)
		defer s.busy()()
		s.delist(conn)
		st := s.snapshot()
		reply(conn, &control.Reply{State: &st})
	}()
}

// lastAnswers lets those who waited for the end hear of it: this process is about
// to exit, or to wait for a restart.
func (s *shim) lastAnswers(bound time.Duration) {
	runtime.Gosched() // mostly that is all they need
	for begin := time.Now(); time.Since(begin) < bound; time.Sleep(time.Millisecond) {
		s.work.mu.Lock()
		left := s.work.n
		s.work.mu.Unlock()
		s.mu.Lock()
		left += len(s.leaving)
		s.mu.Unlock()
		if left == 0 {
			return
		}
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
	case control.OpState, control.OpWait:
	case control.OpSignal:
		if err := s.kill(unix.Signal(q.Signal), q.Policy); err != nil {
			return refuse(hint.New("signal the container", err, "")), nil
		}
	case control.OpStop:
		s.stopFor(q)
	case control.OpNamespaces:
		return s.namespaces()
	case control.OpPause, control.OpUnpause:
		do := func() (*control.Reply, error) { return s.pause(nil) }
		if q.Op == control.OpUnpause {
			do = s.unpause
		}
		r, err := do()
		if err != nil {
			return refuse(err), nil
		}
		return r, nil
	case control.OpRoot:
		return s.lendRoot()
	case control.OpNetwork:
		r, err := s.changeNetwork(q.Network)
		if err != nil {
			return refuse(err), nil
		}
		return r, nil
	default:
		return refuse(hint.Newf("obey "+string(q.Op), "restart the container with this version of rc", "this container's shim is older than the request")), nil
	}
	state := s.snapshot()
	return &control.Reply{State: &state}, nil
}

func refuse(err error) *control.Reply { return &control.Reply{Fail: start.Fail(err)} }

// stop is a stop as the user's, with this patience.
func (s *shim) stop(patience time.Duration) { s.stopFor(control.Request{Timeout: patience}) }

// stopFor asks the payload to end and kills it when it does not. It returns at the
// end of this life.
func (s *shim) stopFor(q control.Request) {
	patience := q.Timeout
	if patience < 0 {
		patience = s.cfg.StopAfter
	}
	ended := s.ended()
	if q.Policy && s.waiting() {
		return // it ended by itself meanwhile, and its next life waits for us to be idle
	}
	if !q.Policy {
		s.mu.Lock()
		s.ending = true
		s.mu.Unlock()
		if s.rest(q.Keep) {
			<-s.ended() // its restart is called off
			return
		}
	}
	sig := unix.Signal(s.cfg.StopSignal)
	if s.signal(sig) == nil {
		s.event("kill", map[string]string{"signal": strconv.Itoa(int(sig))})
	}
	s.thaw()
	var enough <-chan time.Time // nil: --stop-timeout=-1 waits for ever
	if patience >= 0 {
		enough = time.After(patience)
	}
	select {
	case <-ended:
		return
	case <-enough:
	}
	if s.deliver(unix.SIGKILL) == nil {
		s.event("kill", map[string]string{"signal": strconv.Itoa(int(unix.SIGKILL))})
	}
	<-ended
}

// restartForHealth ends the payload and starts it again, whatever the policy says.
func (s *shim) restartForHealth() {
	s.mu.Lock()
	s.renew = true
	s.mu.Unlock()
	s.stopFor(control.Request{Timeout: -1, Policy: true})
}

// lendRoot opens the payload's root folder. Its mount namespace is not ours, so a
// path would not do; a descriptor shows what the payload sees.
func (s *shim) lendRoot() (*control.Reply, []*os.File) {
	const op = "open the container's root folder"
	s.mu.Lock()
	proc, launched := s.init, s.launched
	s.mu.Unlock()
	switch {
	case !launched: // until it has changed its root, init's is the host's
		return refuse(hint.New(op, errStarting, "try again").WithCode(1)), nil
	case proc == nil:
		return refuse(hint.New(op, errNoInit, "start it first")), nil
	}
	f, err := os.OpenFile("/proc/"+strconv.Itoa(proc.PID)+"/root", unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return refuse(hint.New(op, hint.Errno(err), "")), nil
	}
	if linux.SignalPidfd(proc.PidFD, 0) != nil { // the pid was ours to use only if init lived all the while
		_ = f.Close()
		return refuse(hint.New(op, errNoInit, "start it first")), nil
	}
	st := s.snapshot()
	return &control.Reply{State: &st, Files: []string{"root"}, UIDMap: s.cfg.UIDMap, GIDMap: s.cfg.GIDMap, PID: proc.PID}, []*os.File{f}
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
	s.mu.Lock()
	proc, launched := s.init, s.launched
	s.mu.Unlock()
	if proc == nil || !launched {
		// Until init has changed its root, its mount namespace shows the host's files:
		// a container that shares /dev/shm would get the host's.
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
	if s.net != nil {
		if n0 := s.net.lendN0(); n0 != nil { // for the next keeper
			r.Files, files = append(r.Files, "n0"), append(files, n0)
		}
	}
	return r, files
}
