// Package shim is the one process that stays with a container: it mounts the
// root file system, makes init, owns the payload's streams and terminal, keeps
// the record, and reports the end. It stands in U0 and in a mount namespace
// copied from the caller's, so paths mean what they meant to the caller.
//
// The order of messages is drawn in internal/stage/start. A killed shim leaves
// no mount behind (the root file system exists only in the container's mount
// namespace), and its life lock is free: the next reader of the record sees that.
package shim

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/cgroup"
	"github.com/rc-containers/rc/fuse"
	"github.com/rc-containers/rc/internal/atomicfile"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/linux"
	"github.com/rc-containers/rc/internal/logs"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/stage/start"
	"github.com/rc-containers/rc/internal/trace"
	"github.com/rc-containers/rc/internal/unwind"
	"github.com/rc-containers/rc/internal/version"
	"github.com/rc-containers/rc/userns"
)

// shim is one container's supervisor.
type shim struct {
	cfg   *start.Config
	files map[string]*os.File
	store *record.Store
	rc    *stage.Conn // the caller; nil once it is gone or detached
	slot  *stage.Conn // owns descriptor 4 for ever (handover.go)

	rootfs  *fuse.Mounted
	servant *servant // fuse-overlayfs, where that serves the root file system
	init    *userns.Process
	birth   *birth      // of init, while it is under way
	loose   *os.File    // of our own program: settleProgram
	mounts  *os.File    // the mount namespace of a container that is removed: holdMounts
	conv    *stage.Conn // with init
	group   *cgroup.Group
	net     *network
	streams streams
	console *os.File // the payload's end of a system container's terminal
	execs   execs
	control *stage.Listener
	said    []string // lines for the user, told with Created
	cgroups []string // where the host's are mounted; nil until it was looked
	hidden  string   // the runtime folder without links, once it was looked up

	mu       sync.Mutex // guards state, done, waiters and stopping, which the control socket's readers use
	state    record.State
	done     chan struct{} // closed when the end is recorded; a new one for each life by policy
	waiters  map[*stage.Conn]struct{}
	leaving  map[*stage.Conn]struct{} // waiters whose end has come
	stopped  chan struct{}            // closed when a user's stop cancels the wait for a restart
	ending   bool                     // a user's stop is under way: the end is told as one
	resting  bool                     // it waits for its restart, and nothing of it is mounted
	rests    sync.WaitGroup           // callers for whom it stays so (holdRest)
	launched bool                     // it runs, or is about to: signals go to init
	renew    bool                     // start it again after this life, whatever the policy says
	rebooted bool                     // a system container asked for it: it is started again
	keep     bool                     // a stop that is followed by a start: no removal

	saves     sync.Mutex // one writer of state.json at a time
	reopening sync.Mutex
	left      bool // under reopening: nobody is to find us any more
	pausing   sync.Mutex
	holder    *stage.Conn // whose end ends the pause; guarded by pausing
	endings   sync.Mutex  // held while the payload's end is dealt with, or the shim executes itself
	accepts   sync.WaitGroup
	work      occupied
	reaped    bool // init was waited for: its pid may be somebody else's
	started   bool
	off       bool      // Exec was sent before Ready (sendoff.go)
	saved     time.Time // when state.json said ahead of time that it runs (sendoff.go)
	byPolicy  bool      // this is a restart by policy: no rc, and what rc made is there
	known     known
	read      edited        // the edition of the record that known is of
	before    *record.State // of a container that is started once more by rc
	backoff   time.Duration
	ooms      uint64         // kills for want of memory that were told; guarded by endings
	called    chan os.Signal // SIGUSR2 (reopen.go)
	patience  time.Duration  // of silence before it parks (park.go)
	logged    bool           // it has a log, be it one that cannot be opened now
	term      terminated
	undo      unwind.Stack
}

// Main runs as rc-shim; conv is the conversation with rc, or what the program
// before in this process left. The result is the process's exit code, which nobody
// but a test reads.
func Main(conv *stage.Conn) int {
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	s := &shim{slot: conv, done: make(chan struct{}), stopped: make(chan struct{}), patience: parkAfter}
	defer s.undo.Run()
	s.catchTerm()
	h, ok := handedOver(conv)
	switch {
	case ok && h.Restart:
		return s.live(s.rebuild(h))
	case ok:
		s.adopt(h)
		return s.stay()
	}
	s.rc = conv
	heedSignals()
	return s.live(s.receive())
}

// heedSignals undoes what whoever started rc ignores (nohup SIGHUP, a shell's & SIGINT):
// an execve keeps it (signal(7)), and a shell in the container could not trap it. These
// are the ones that Go's runtime leaves alone (runtime.initsig: those that it respects,
// job control, the C library's own); it takes care of the others.
// What is blocked, userns/park undoes before Go starts.
func heedSignals() {
	const sigDfl, sigIgn, size = 0, 1, 8
	for _, sig := range []unix.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGCONT, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU, 32, 33, 34} {
		var action [4]uint64 // handler, flags, restorer, mask
		_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), 0, uintptr(unsafe.Pointer(&action)), size, 0, 0)
		if errno != 0 || action[0] != sigIgn {
			continue
		}
		action = [4]uint64{sigDfl}
		_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(&action)), 0, size, 0, 0)
	}
}

// live builds the container and stays until its end.
func (s *shim) live(err error) int {
	if err == nil {
		err = s.create()
	}
	if err == nil {
		err = s.run()
	}
	if err != nil {
		s.abandon(err)
		return hint.ExitCode(err)
	}
	return s.stay()
}

func (s *shim) receive() error {
	unix.Umask(0o022)
	var m start.Message
	files, err := s.rc.Recv(&m)
	if err != nil {
		return fmt.Errorf("receive the configuration: %w", err)
	}
	if m.Kind != start.KindConfig || len(files) != len(m.Files) {
		return fmt.Errorf("receive the configuration: unexpected message %q", m.Kind)
	}
	s.files = map[string]*os.File{}
	for i, name := range m.Files {
		s.files[name] = files[i]
	}
	trace.Join(s.files["trace"], trace.Shim)
	delete(s.files, "trace")
	defer trace.Begin("decode the configuration").End()
	if err := s.readConfig(); err != nil {
		return err
	}
	if s.cfg.Version != version.Version {
		return hint.Newf("start the container", "run `make install` again: rc and rc-init must come from one build",
			"rc is version %s and its shim %s", s.cfg.Version, version.Version)
	}
	if s.cfg.Without != "" {
		_ = os.Setenv("RC_TEST_WITHOUT", s.cfg.Without)
	}
	s.hearRuntime()
	go s.watchRuntime()
	return s.settleIn()
}

// settleIn makes the process what a shim is, whatever it was started as.
func (s *shim) settleIn() error {
	s.store = &record.Store{Root: s.cfg.Root}
	s.store.UseRuntime(s.cfg.Runtime)
	if err := unix.Chdir("/"); err != nil {
		return err
	}
	if s.cfg.Clone&unix.CLONE_NEWPID == 0 {
		// The payload is not PID 1 of its own: what it leaves behind comes to us.
		_ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
	}
	return nil
}

// create builds the container up to the point where only Start is missing.
func (s *shim) create() error {
	var err error
	if s.birth == nil {
		s.openGroup()
		err = s.startInit()
	}
	s.begin() // whatever went wrong: a refusal is written into it
	if err != nil {
		return err
	}
	keeper := s.knock()
	err = s.mountRoot()
	if err == nil {
		err = s.instruct()
	}
	// Whatever failed: init must be known before it can be ended.
	if berr := s.awaitInit(); err == nil {
		err = berr
	}
	if err != nil {
		return err
	}
	attached := s.attachNetwork(keeper)
	ahead := s.calledAhead()
	once := ahead && s.savesOnce()
	if !once { // while init mounts: whoever finds this shim killed later ends what it left
		if err := s.save(atomicfile.Fast); err != nil {
			return err
		}
	}
	if err := s.listen(); err != nil {
		return err
	}
	s.settleProgram()
	if ahead || s.calledAhead() {
		if err := s.awaitNetwork(attached); err != nil {
			// An init that gives up takes its namespaces along: then it says why.
			if ierr := s.awaitReady(); ierr != nil {
				return ierr
			}
			return err
		}
		attached = nil
		if once {
			if err := s.saveRunning(); err != nil {
				return err
			}
		}
		if err := s.sendOff(); err != nil {
			return err
		}
	}
	err = s.awaitReady()
	s.hideNotify()
	if err == nil && attached != nil {
		err = s.awaitNetwork(attached)
	}
	if err != nil {
		return err
	}
	st := s.snapshot()
	return s.tell(&start.Message{Kind: start.KindCreated, PID: s.init.PID, Net: st.Net, Note: st.DriverNote, Said: s.said})
}

// begin makes the state of this life. A container that rc starts once more shows
// what it was until it runs, as Docker's does: a shim that dies before leaves the
// end of the life before in the record.
func (s *shim) begin() {
	defer trace.Begin("begin the state").End()
	me, _ := linux.IdentityOf(os.Getpid())
	st := record.State{Status: record.Created, Fresh: s.cfg.Fresh}
	if !s.cfg.Fresh {
		if s.before == nil {
			s.before, _ = s.store.LoadState(s.cfg.ID)
		}
		if s.before != nil {
			st = *s.before
			st.PID, st.PIDStart, st.Error, st.NextStart, st.Health, st.Stopped, st.OOMKilled = 0, 0, "", time.Time{}, nil, false, false
		}
	}
	s.known = known{Name: s.cfg.Name}
	_ = s.policy()
	st.ShimPID, st.ShimStart, st.BootID, st.Cgroup, st.RestartCount = me.PID, me.StartTime, me.BootID, s.cfg.Cgroup, s.cfg.RestartCount
	s.update(func(now *record.State) { *now = st })
}

// openGroup opens the cgroup in which init is born.
func (s *shim) openGroup() {
	if s.cfg.Cgroup != "" {
		s.group = cgroup.Open(s.cfg.Cgroup)
		s.openOOM()
		s.undo.Push(func() { _ = s.group.Kill(); _ = s.group.Remove() })
	}
}

func (s *shim) mountRoot() error {
	defer trace.Begin("mount the root file system").End()
	var err error
	if s.cfg.RootfsDir != "" {
		s.rootfs, err = fuse.Open(s.cfg.RootfsDir)
	} else {
		r := s.cfg.Rootfs
		r.Layers = withPlaces(s.store, r.Layers)
		s.rootfs, err = fuse.Mount(s.cfg.Driver, r)
	}
	if err != nil {
		return err
	}
	s.servant = servantOf(s.rootfs.Helper)
	s.update(func(st *record.State) {
		st.Driver, st.DriverNote = string(s.rootfs.Driver), ""
		if s.rootfs.Why != "" {
			st.DriverNote = st.Driver + " (" + s.rootfs.Why + ")"
		}
	})
	s.undo.Push(func() { _ = s.rootfs.Close() })
	return nil
}

// awaitReady waits for init's report.
func (s *shim) awaitReady() error {
	defer trace.Wait("Ready of init").End()
	var m start.Message
	files, err := s.conv.Recv(&m)
	switch {
	case errors.Is(err, io.EOF):
		return s.initDied("while it was built")
	case err != nil:
		return fmt.Errorf("wait for the container's init: %w", err)
	case m.Kind == start.KindFailed && m.Fail != nil:
		return m.Fail.Error()
	case m.Kind != start.KindReady:
		return fmt.Errorf("unexpected message %q from the container's init", m.Kind)
	}
	if len(files) == 1 && s.cfg.Spec.Process.Terminal {
		s.holdConsole(files[0])
		if s.streams.rows == 0 { // it has this size; nobody said another since
			s.streams.rows, s.streams.cols = s.cfg.Rows, s.cfg.Cols
		}
		s.streams.terminal(files[0])
		return nil
	}
	stage.CloseFiles(files)
	return nil
}

func (s *shim) initDied(when string) error {
	ws, err := s.init.Wait()
	if err != nil {
		return fmt.Errorf("the container's init died %s: %w", when, err)
	}
	s.reaped = true
	if oom, _ := s.oomKilled(); oom {
		return hint.Newf("start the container", "raise --memory", "the kernel killed its init for want of memory %s", when)
	}
	return hint.Newf("start the container", "", "its init died %s (wait status %#x)", when, int(ws))
}

// run waits for Start and lets init execute the payload.
func (s *shim) run() error {
	if !s.off {
		if err := s.awaitStart(); err != nil {
			return err
		}
		if err := s.connect(); err != nil {
			return err
		}
		if err := s.writePIDFiles(); err != nil {
			return err
		}
	}
	if err := s.launch(); err != nil {
		return err
	}
	if !s.off {
		if err := s.conv.Send(&start.Message{Kind: start.KindExec}); err != nil {
			return s.initDied("before it ran the command")
		}
	}
	var m start.Message
	wait := trace.Wait("the payload's execve")
	files, err := s.conv.Recv(&m)
	wait.End()
	stage.CloseFiles(files)
	switch {
	case err == nil && m.Kind == start.KindFailed && m.Fail != nil:
		return m.Fail.Error()
	case err == nil:
		return fmt.Errorf("unexpected message %q from the container's init", m.Kind)
	case !errors.Is(err, io.EOF) && !errors.Is(err, unix.ECONNRESET):
		return fmt.Errorf("run the command: %w", err)
	}
	_ = s.conv.Close()
	s.started = true
	s.update(func(st *record.State) {
		st.Status, st.Started, st.ExitCode, st.Fresh = record.Running, time.Now(), 0, false
		if !s.saved.IsZero() {
			st.Started = s.saved
		}
	})
	if s.saved.IsZero() {
		if err := s.save(atomicfile.Fast); err != nil {
			return err
		}
	}
	s.volumeEvents("mount")
	s.tellStart()
	_ = s.tell(&start.Message{Kind: start.KindStarted})
	if s.cfg.Detach {
		trace.Leave() // nobody waits for more
	}
	if s.rc != nil && !s.cfg.Detach {
		done := s.busy()
		go func(rc *stage.Conn) { s.serveCaller(rc); done() }(s.rc)
	}
	s.work.grown = true
	s.healthStarted()
	s.serviceStarted()
	s.hearTerm()
	return nil
}

// errCalledOff is a restart that a user's stop has overtaken.
var errCalledOff = errors.New("the user has stopped it")

// launch is the point after which a stop has to signal: until then it calls the
// start off.
func (s *shim) launch() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byPolicy && s.state.Stopped {
		return errCalledOff
	}
	s.launched = true
	return nil
}

// connect starts the copying of the streams. A container that is kept, or that
// nobody is attached to, has a log.
func (s *shim) connect() error {
	defer trace.Begin("connect the streams, open the log").End()
	if s.cfg.Detach || !s.cfg.AutoRemove || s.cfg.Log.Driver != "" {
		var err error
		s.logged = true
		if s.streams.log, err = logs.Open(filepath.Join(s.cfg.Dir, "log"), s.logOptions()); err != nil {
			return err
		}
	}
	s.streams.pump(s.files["stdin"], s.files["stdout"], s.files["stderr"])
	for _, name := range []string{"stdin", "stdout", "stderr"} {
		delete(s.files, name) // the streams' own now
	}
	return nil
}

func (s *shim) logOptions() *logs.Options {
	return &logs.Options{Config: s.cfg.Log, ID: s.cfg.ID, Name: s.cfg.Name, AutoRemove: s.cfg.AutoRemove}
}

// awaitStart takes the caller's order; a caller that is gone calls it off.
func (s *shim) awaitStart() error {
	defer trace.Wait("Start of rc").End()
	if s.rc == nil {
		return nil // by policy
	}
	for {
		var m start.Message
		files, err := s.rc.Recv(&m)
		stage.CloseFiles(files)
		switch {
		case err != nil:
			return fmt.Errorf("the caller went away before the start: %w", err)
		case m.Kind == start.KindStart:
			return nil
		case m.Kind == start.KindResize:
			s.streams.resize(m.Rows, m.Cols)
		}
	}
}

func (s *shim) save(d atomicfile.Durability) error {
	defer trace.Begin("save state.json").End()
	s.saves.Lock()
	defer s.saves.Unlock()
	return s.write(s.snapshot(), d)
}

func (s *shim) write(st record.State, d atomicfile.Durability) error {
	if err := record.SaveState(s.cfg.Dir, &st, d); err != nil {
		return hint.New("save the container's state", err, "free some disk space")
	}
	return nil
}

func (s *shim) update(change func(*record.State)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.state)
}

func (s *shim) snapshot() record.State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

func (s *shim) tell(m *start.Message) error {
	if s.rc == nil {
		return nil
	}
	return s.rc.Send(m)
}

// abandon reports a failed start and takes everything down. A container that is
// kept shows the refusal in its state, beside what it was.
func (s *shim) abandon(err error) {
	_ = s.awaitInit()
	s.killAll()
	s.undo.Run()
	if s.cfg != nil && s.store != nil && (s.started || !s.cfg.Fresh) {
		s.refused(err)
	}
	gone := s.tell(&start.Message{Kind: start.KindFailed, Fail: start.Fail(err)}) != nil
	if s.cfg == nil || s.store == nil {
		return
	}
	s.finish()
	s.closeControl()
	switch {
	case s.byPolicy, gone && !s.cfg.Fresh:
		s.store.DropLife(s.cfg.ID, s.files["life"])
	case gone && !s.started:
		// rc would have removed what it made; it was killed.
		_ = Remove(s.store, s.cfg.ID, s.name(), s.cfg.Image, s.cfg.Anonymous)
		s.store.DropLife(s.cfg.ID, s.files["life"])
	}
	s.lastAnswers(time.Second)
}

// refused writes down why a container that is kept does not run: the state is what
// it was before, with the reason and the exit code of `rc run`.
func (s *shim) refused(err error) {
	s.update(func(st *record.State) {
		if s.started || s.byPolicy {
			st.Status = record.Exited
		}
		if s.started {
			st.Finished = time.Now()
		}
		st.NextStart = time.Time{}
		if !errors.Is(err, errCalledOff) {
			st.ExitCode, st.Error = hint.ExitCode(err), err.Error()
		}
		st.PID, st.PIDStart, st.ShimPID, st.ShimStart, st.Cgroup, st.Net = 0, 0, 0, 0, "", nil
	})
	_ = s.save(atomicfile.Fast)
}
