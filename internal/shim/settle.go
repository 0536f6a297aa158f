package shim

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/cgroup"
	"github.com/rc-containers/rc/fuse"
	"github.com/rc-containers/rc/internal/logs"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/slirp"
	"github.com/rc-containers/rc/userns"
)

// A shim that nobody needs for the moment executes itself again and is then half
// as large: what building the container took is not given back by Go's runtime
// (arenas, stacks, the pages of data that it wrote), and 300 containers have 300
// shims. Figures: docs/benchmarks.md.
var ( // tests are less patient
	settleAfter = 3 * time.Second  // the first time: longer than a short container lives
	settleAgain = 30 * time.Second // after an exec or an attach
	restless    = false            // settle or park again though nothing happened, or all the time
)

// occupied counts what an execve must not cut off: requests, attached callers,
// execs, probes.
type occupied struct {
	mu    sync.Mutex
	n     int
	since time.Time // of the last end; zero before the first
	grown bool      // something ran since this program began

	called bool // somebody asked for an exec since this program began
}

// busy holds off the shim's execution of itself until the returned function is
// called. It may wait for a moment while that is being tried.
func (s *shim) busy() (done func()) {
	return s.work.begin(func() { s.work.since = time.Now() })
}

// probing is busy for a probe of the container's health. It is no reason to stay
// large: probes every second would put off the next settling for ever, while their
// garbage adds up to megabytes.
func (s *shim) probing() (done func()) {
	return s.work.begin(func() { s.work.grown = true })
}

// begin counts one more; end notes under the lock what its end is.
func (o *occupied) begin(end func()) (done func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.n++
	return func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.n--
		end()
	}
}

// grew notes that more happened than an answer: it is worth settling again.
func (s *shim) grew() {
	s.work.mu.Lock()
	defer s.work.mu.Unlock()
	s.work.grown = true
}

// call notes that somebody asked for an exec.
func (o *occupied) call() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.grown, o.called = true, true
}

// quiesce stops the shim's other goroutines from beginning anything; false when
// something is under way. Connections that come meanwhile wait in the listener's
// queue, which outlives the execve.
func (s *shim) quiesce() (release func(), ok bool) {
	if !s.reopening.TryLock() { // it changes the socket
		return nil, false
	}
	accept := s.haltAccept()
	s.work.mu.Lock()
	if s.work.n > 0 || !s.execs.idle() {
		s.work.mu.Unlock()
		accept()
		s.reopening.Unlock()
		return nil, false
	}
	s.saves.Lock()
	return func() {
		s.saves.Unlock()
		s.work.mu.Unlock()
		accept()
		s.reopening.Unlock()
	}, true
}

// settler waits for the shim to be idle and executes it anew: to sleep, where
// nothing at all happens, and else to be small.
func (s *shim) settler() {
	settle := time.Now().Add(settleAfter)
	for wait := min(settleAfter, s.patience); ; {
		select {
		case <-s.ended():
			return
		case <-time.After(wait):
		}
		s.reopen()
		patience := s.awakeFor()
		wait = s.patience
		if still := s.stillFor(); still < patience && !restless {
			wait = min(max(patience-still, time.Millisecond), wait)
		} else if s.streams.quiet() {
			if limit, ok := s.parkLimit(); ok {
				s.settle(&sleep{limit: limit}) // it did not: settle
			}
		}
		if !time.Now().Before(settle) {
			if s.idleFor(settleAfter) && s.streams.quiet() {
				s.settle(nil)
			}
			settle = time.Now().Add(settleAgain)
		}
		wait = min(wait, max(time.Until(settle), time.Millisecond))
	}
}

func (s *shim) idleFor(d time.Duration) bool {
	s.work.mu.Lock()
	defer s.work.mu.Unlock()
	return s.work.n == 0 && s.work.grown && time.Since(s.work.since) >= d/2
}

// settle returns when it did not work or was not the moment: everything goes on.
func (s *shim) settle(to *sleep) {
	s.endings.Lock() // the payload's end waits, or has come first
	defer s.endings.Unlock()
	if s.reaped {
		return
	}
	carry := s.streams.suspend()
	defer func() {
		var err error
		if s.logged {
			if s.streams.log, err = s.openLog(carry.lines); err != nil {
				s.streams.log = nil
			}
		}
		s.streams.resume(carry)
	}()
	patience := s.awakeFor()
	release, ok := s.quiesce()
	if !ok {
		return
	}
	defer release()
	files := s.carriedFiles()
	for name, f := range carry.files {
		files["stream-"+name] = f
	}
	files["init"] = s.init.PidFD
	h := &handover{Kept: s.kept(), Backoff: s.backoff, Lines: carry.lines, OOMs: s.ooms, Rows: s.streams.rows, Cols: s.streams.cols, Keep: s.keep, Patience: patience}
	h.Logged = s.logged
	if s.servant != nil {
		h.Helper = s.servant.pid
		if s.servant.pidfd == nil {
			return // it has ended
		}
		files["helper"] = s.servant.pidfd
	}
	if s.net != nil {
		client, calm := s.net.calm()
		defer calm()
		if client == nil {
			return // it is being attached again
		}
		files["keeper"] = client.File()
		if s.net.n0 != nil {
			files["n0"] = s.net.n0
		}
		h.Kept.Attach = s.net.attach
	}
	if to != nil {
		path, err := s.store.ControlPath(s.cfg.ID)
		if err != nil {
			return
		}
		s.sayWell() // while it sleeps it does not, and sleeps as long as it may be silent
		to.path, to.events = path, append(s.streams.events(), "control", "init", "keeper", "helper", fromInside, oomEvents)
		h.Parked = time.Now()
	}
	h.State = s.snapshot() // with the network that goes with the connection
	_ = s.execAgain(h, files, to)
}

// carriedFiles are the descriptors that every life of the shim has.
func (s *shim) carriedFiles() map[string]*os.File {
	files := map[string]*os.File{}
	for name, f := range s.files {
		if f != nil {
			files[name] = f
		}
	}
	if s.control != nil {
		files["control"] = s.control.File()
	}
	if s.console != nil {
		files[console] = s.console
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn := range s.waiters {
		files[waiterName(len(files))] = conn.File()
	}
	return files
}

// kept is what goes to the next program of the Config, as it is by now.
func (s *shim) kept() kept {
	k := keep(s.cfg)
	k.Name, k.Known = s.cfg.Name, s.known
	if s.net != nil {
		s.net.mu.Lock()
		defer s.net.mu.Unlock()
		k.Attach = s.net.attach
	}
	return k
}

// inherit takes over what both kinds of handover carry.
func (s *shim) inherit(h *handover) {
	all := h.take()
	s.cfg, s.known, s.backoff = h.Kept.config(), h.Kept.Known, h.Backoff
	s.state, s.keep, s.ooms = h.State, h.Keep, h.OOMs
	s.files = map[string]*os.File{}
	for name, f := range all {
		switch {
		case name == "control":
		case name == console:
			s.console = f
		case strings.HasPrefix(name, waiterPrefix):
		default:
			s.files[name] = f
		}
	}
	_ = s.settleIn()
	s.hearRuntime()
	if f := all["control"]; f != nil {
		path, _ := s.store.ControlPath(s.cfg.ID)
		s.control = stage.Inherit(detachFD(f), path)
	}
	for name, f := range all {
		if strings.HasPrefix(name, waiterPrefix) {
			s.waitAgain(stage.NewConn(detachFD(f)))
		}
	}
}

// adopt goes on with a container that runs.
func (s *shim) adopt(h *handover) {
	s.inherit(h)
	s.started, s.launched = true, true
	s.work.grown = restless
	s.patience = nextPatience(h.Patience, h.Parked)
	take := func(name string) *os.File {
		f := s.files[name]
		delete(s.files, name)
		return f
	}
	s.init = &userns.Process{PID: h.State.PID, PidFD: take("init")}
	if s.cfg.Cgroup != "" {
		s.group = cgroup.Open(s.cfg.Cgroup)
		s.undo.Push(func() { _ = s.group.Kill(); _ = s.group.Remove() })
	}
	s.undo.Push(s.killAll)
	if h.Helper != 0 {
		s.servant = adoptServant(h.Helper, take("helper"))
	}
	if f := take("keeper"); f != nil {
		s.net = s.newNetwork(s.cfg.Attach)
		s.net.client, s.net.n0 = slirp.Inherit(detachFD(f)), take("n0")
		s.undo.Push(s.net.down)
		go s.net.watch(s.net.client)
		s.regain()
	}
	carry := carried{files: map[string]*os.File{}}
	for _, name := range []string{"in", "out", "err", "tty"} {
		if f := take("stream-" + name); f != nil {
			carry.files[name] = f
		}
	}
	if s.logged = h.Logged; s.logged {
		s.streams.log, _ = s.openLog(h.Lines) // a full disk costs log lines, never the container
	}
	s.streams.rows, s.streams.cols = h.Rows, h.Cols
	s.streams.resume(carry)
	s.serveControl()
	s.healthStarted()
	s.serviceStarted()
	s.hearTerm()
	go func() {
		s.reopen() // what SIGUSR2 asks for: nobody tells whether that woke us
		s.watchRuntime()
	}()
}

func (s *shim) openLog(lines map[string][]byte) (*logs.Writer, error) {
	o := s.logOptions()
	o.Unfinished = lines
	return logs.Open(filepath.Join(s.cfg.Dir, "log"), o)
}

// detachFD takes the number out of a file that Go must not close.
func detachFD(f *os.File) int {
	fd, err := duplicate(f)
	if err != nil {
		return -1
	}
	_ = f.Close()
	return fd
}

// servant is a helper process of the root file system as both kinds of shim know
// it: the one that started it, and one that executed itself since.
type servant struct {
	pid   int
	pidfd *os.File // nil where the kernel gave none
	wait  func() error
	kill  func() error
}

func servantOf(h *fuse.Helper) *servant {
	if h == nil {
		return nil
	}
	return &servant{pid: h.PID, pidfd: h.PidFD, wait: h.Wait, kill: h.Kill}
}

func adoptServant(pid int, pidfd *os.File) *servant {
	p := &userns.Process{PID: pid, PidFD: pollable(pidfd)}
	return &servant{pid: pid, pidfd: p.PidFD,
		wait: func() error { _, err := p.Wait(); return err },
		kill: func() error { return p.Signal(unix.SIGKILL) }}
}
