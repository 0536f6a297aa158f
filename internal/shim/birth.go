package shim

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/linux"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/stage/start"
	"github.com/rc-containers/rc/internal/trace"
	"github.com/rc-containers/rc/internal/version"
	"github.com/rc-containers/rc/userns"
)

// Init is started before there is anything for it to do, since what it needs to
// come to its own main (two processes, its namespaces, Go's runtime) takes longer
// than all that the shim has to make ready for it. Nothing of the container's is
// in it by then: it runs our program alone until Exec.
//
//	shim                                    init
//	opens the program, makes the streams
//	starts it                        ───►   execve, constructor, namespaces, runtime
//	mounts the root file system              │
//	opens bind sources, device nodes         │
//	Init (+descriptors)              ───►   reads what it is to do
//
// A shim that dies between the two leaves an init that reads the end of the
// conversation, and ends.
type birth struct {
	p     *userns.Program
	begun *userns.Starting // nil: it is begun when it is waited for
	given []*os.File       // init's ends of streams and conversation
}

// startInit starts the container's first process. awaitInit has its result.
func (s *shim) startInit() error {
	defer trace.Begin("set init going").End()
	if err := s.openProgram(); err != nil {
		return err
	}
	if err := s.giveCgroup(); err != nil {
		return err
	}
	ours, theirs, err := stage.Pair()
	if err != nil {
		return err
	}
	s.conv = ours
	payload, err := s.streams.open(s.cfg.Spec.Process.Terminal, s.cfg.Inside.Stdin)
	if err != nil {
		_ = theirs.Close()
		stage.CloseFiles(payload[:])
		return err
	}
	p := &userns.Program{
		Path: "rc-boot", File: s.files["program"],
		Args:  []string{"rc-boot", s.cfg.ID[:12]},
		Stdin: payload[0], Stdout: payload[1], Stderr: payload[2],
		Conn: theirs.File(), Setsid: true, Env: []string{"GOMAXPROCS=1"}, // the payload gets its own
		Thread: s.approximation(),
	}
	s.passSockets(p)
	s.plan(p)
	s.birth = &birth{p: p, given: append(payload[:], theirs.File())}
	if p.Thread == nil {
		s.birth.begun, _ = userns.Begin(p) // what refuses it says so again to spawn
	}
	return nil
}

// outline is what init's birth takes of the Config. To read this much costs a
// twentieth of reading it all, which is done while init is born.
type outline struct {
	Version, ID              string
	Clone                    int
	UIDMap, GIDMap           []userns.IDMap
	Cgroup, Without, Systemd string
	Inside                   struct{ Stdin bool }
	Unit                     *struct{}
	Again                    struct{ Approx *struct{} }
	Spec                     struct {
		Process struct {
			Terminal bool `json:"terminal"`
		} `json:"process"`
	}
}

// config is so much of a Config; false where more belongs to a birth.
func (o *outline) config() (*start.Config, bool) {
	if o.Version != version.Version || len(o.ID) != 64 || o.Without != "" || o.Systemd != "" || o.Unit != nil || o.Again.Approx != nil {
		return nil, false
	}
	c := &start.Config{ID: o.ID, Clone: o.Clone, UIDMap: o.UIDMap, GIDMap: o.GIDMap, Cgroup: o.Cgroup}
	c.Inside.Stdin = o.Inside.Stdin
	c.Spec = &specs.Spec{Process: &specs.Process{Terminal: o.Spec.Process.Terminal}}
	return c, true
}

// readConfig reads the Config, and starts init as soon as enough of it is known.
func (s *shim) readConfig() error {
	sealed := s.files["config"]
	if sealed == nil {
		return errors.New("receive the configuration: it did not come")
	}
	delete(s.files, "config")
	defer sealed.Close()
	data, err := linux.ReadSealed(sealed, maxConfig)
	if err != nil {
		return fmt.Errorf("read the configuration: %w", err)
	}
	var o outline
	if stage.Decode(data, &o) == nil { // else the whole says what is wrong, or holds strings that o has no place for
		if cfg, ok := o.config(); ok {
			s.cfg = cfg
			s.openGroup()
			_ = s.startInit() // a failure comes again in create, where it can be written down
		}
	}
	whole := new(start.Config)
	if err := stage.Decode(data, whole); err != nil {
		return err
	}
	s.cfg = whole
	return nil
}

// maxConfig bounds the Config, in bytes, as stage.Unseal does.
const maxConfig = 16 << 20

// awaitInit waits until init is there, in its namespaces and its cgroup. It may be
// called again.
func (s *shim) awaitInit() error {
	defer trace.Wait("init's birth").End()
	b := s.birth
	if b == nil {
		return nil
	}
	s.birth = nil
	proc, err := s.spawn(b)
	stage.CloseFiles(b.given)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.init = proc
	s.mu.Unlock()
	s.undo.Push(s.killAll)
	s.holdMounts()
	began, _ := linux.StartTime(proc.PID)
	s.update(func(st *record.State) { st.PID, st.PIDStart = proc.PID, began })
	return s.adjustOOMScore(proc.PID)
}

// holdMounts keeps the container's mount namespace for a little longer than its last
// process: else that process takes all mounts down in its exit, before anybody hears
// of it (exit_task_namespaces before exit_notify in kernel/exit.c), and waits for
// every processor in doing so. Only where nothing of the user's is mounted there,
// which could be wanted back at once, and nobody waits for the mounts to be gone.
func (s *shim) holdMounts() {
	if !s.cfg.AutoRemove || s.cfg.RootfsDir != "" || s.servant != nil {
		return
	}
	for i := range s.cfg.Spec.Mounts {
		m := &s.cfg.Spec.Mounts[i]
		if m.Type == "bind" && filepath.Dir(m.Source) != s.cfg.Dir {
			return
		}
	}
	s.mounts, _ = linux.OpenNamespace(s.init.PID, unix.CLONE_NEWNS)
}

// dropMounts takes the mounts down.
func (s *shim) dropMounts() {
	if s.mounts != nil {
		_ = s.mounts.Close()
		s.mounts = nil
	}
}

// spawn brings init to life, in its cgroup at birth where the kernel allows, else by
// writing cgroup.procs before it goes on.
func (s *shim) spawn(b *birth) (proc *userns.Process, err error) {
	if b.begun != nil {
		proc, err = b.begun.Finish()
	} else {
		proc, err = userns.Start(b.p)
	}
	if err != nil && b.p.Plan.CgroupFD != 0 && cgroupRefused(err) {
		b.p.Plan.CgroupFD, b.p.Prepare = 0, s.move()
		proc, err = userns.Start(b.p)
	}
	return proc, err
}

// move puts a process into the container's cgroup; nil where there is none, and init
// waits for nobody.
func (s *shim) move() func(pid int) error {
	if s.group == nil {
		return nil
	}
	return s.group.AddPayload
}

// plan says which namespaces are joined and which are new.
func (s *shim) plan(p *userns.Program) {
	p.Plan = userns.Plan{
		Clone: s.cfg.Clone, Fork: true, UIDMap: s.cfg.UIDMap, GIDMap: s.cfg.GIDMap,
		BecomeRoot: true, NonDumpable: true,
	}
	if len(s.cfg.UIDMap) == 1 && s.cfg.UIDMap[0].Size == 1 {
		p.Plan.DenySetgroups = true
	}
	add := func(f *os.File) int {
		p.Files = append(p.Files, f)
		return 4 + len(p.Files) // the first of Files is descriptor 5
	}
	for _, j := range joinOrder {
		if f := s.files[j.name]; f != nil {
			p.Plan.Join = append(p.Plan.Join, userns.Join{FD: add(f), Type: j.kind})
		}
	}
	if f := s.files["cgroup"]; f != nil && !linux.Without(linux.CloneIntoCgroup) {
		p.Plan.CgroupFD = add(f)
	} else {
		p.Prepare = s.move()
	}
}

// joinOrder is the order of setns(2): the user namespace first gives the rights
// over those that it owns.
var joinOrder = []struct {
	name string
	kind int
}{
	{"join-user", unix.CLONE_NEWUSER}, {"join-net", unix.CLONE_NEWNET}, {"join-ipc", unix.CLONE_NEWIPC},
	{"join-uts", unix.CLONE_NEWUTS}, {"join-pid", unix.CLONE_NEWPID},
}

// cgroupRefused tells whether a process could not be born in a cgroup, but might be moved.
func cgroupRefused(err error) bool {
	for _, errno := range []error{unix.EACCES, unix.EBUSY, unix.EOPNOTSUPP, unix.EINVAL, unix.ENOSYS, unix.E2BIG, userns.ErrKilled} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// instruct sends init what it is to do, and gives up what went with it.
func (s *shim) instruct() error {
	defer trace.Begin("tell init what to do").End()
	message, files, err := s.initMessage()
	defer stage.CloseFiles(files)
	if err != nil {
		return err
	}
	if len(files) > stage.MaxFiles { // a descriptor each; the kernel passes 253 (SCM_MAX_FD)
		return hint.Newf("give the container its mounts", "mount folders above them, or copy files together into one folder",
			"bind mounts and volumes are %d too many", len(files)-stage.MaxFiles)
	}
	if err := s.conv.Send(message, files...); err != nil { // waits in the socket until init reads it
		if errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) {
			return nil // it could not be started, or has died: awaitInit and awaitReady know why
		}
		return fmt.Errorf("send the configuration to the container's init: %w", err)
	}
	return nil
}
