package engine

import (
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/cgroup"
	"github.com/rc-containers/rc/fuse"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/linux"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/spec"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/stage/start"
	"github.com/rc-containers/rc/internal/unwind"
	"github.com/rc-containers/rc/internal/version"
	"github.com/rc-containers/rc/slirp"
	"github.com/rc-containers/rc/userns"
)

// launch is one container in the making. Each step adds its undo, so a refusal
// at any point leaves nothing behind.
type launch struct {
	e     *Engine
	opts  *spec.Options
	image *record.Image
	plan  *spec.Plan
	id    string
	home  *home
	joins *sandbox
	stand *os.File            // cgroup of the shim, where it must not be ours; nil: ours
	files map[string]*os.File // for the shim, by name
	rec   record.Container
	cfg   start.Config
	undo  unwind.Stack
}

// Run creates and starts a container and, unless detached, stays until it ends.
// The result is the exit code of `rc run`: the payload's, 128+n for a signal n.
// imageRef is empty with --rootfs.
func (e *Engine) Run(opts *spec.Options, imageRef string, streams Streams) (int, error) {
	if err := spec.Check(opts); err != nil { // before an image is pulled for it
		return 0, err
	}
	l := &launch{e: e, opts: opts, files: map[string]*os.File{}}
	defer l.undo.Run()
	steps := []func() error{
		func() error { return l.findImage(imageRef) },
		l.enterHome, l.design, l.claim, l.limit, l.record, l.provide,
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return 0, err
		}
	}
	for _, w := range l.plan.Warnings {
		e.Warn(w)
	}
	return l.start(streams)
}

func (l *launch) findImage(ref string) error {
	if l.opts.Rootfs != "" {
		return nil
	}
	img, err := l.e.obtain(ref, l.opts)
	if err != nil {
		return err
	}
	l.image = img
	l.rec.ImageName = ref
	return spec.CheckPlatform(img, l.opts.Platform)
}

func (l *launch) enterHome() error {
	id := make([]byte, 32)
	if _, err := unix.Getrandom(id, 0); err != nil { // crypto/rand would cost rc's start 0.1 ms
		return hint.New("make an id", err, "")
	}
	l.id = hex.EncodeToString(id)
	var err error
	l.home, err = l.e.enter()
	return err
}

// design decides everything that can be decided before anything is made.
func (l *launch) design() error {
	in := &spec.Input{
		ID: l.id, Options: l.opts, Image: l.image, Dir: l.e.Store.ContainerDir(l.id),
		Mapping: &l.home.mapping, Environ: os.Environ(),
	}
	err := l.joinSandbox(in)
	if err != nil {
		return err
	}
	if strings.HasPrefix(l.opts.Userns, "auto") {
		in.UsedIDs = l.e.usedIDs()
	}
	plan, err := spec.Build(in)
	if err != nil {
		return err
	}
	l.plan = plan
	if err := l.takeJoins(); err != nil {
		return err
	}
	if plan.Network.Kind == spec.KindSlirp {
		return slirp.CheckHost()
	}
	return nil
}

// claim takes what must be unique: the id's life lock first, so that nobody
// takes the rest for leftovers, then the name and the id file.
func (l *launch) claim() error {
	life, err := l.e.Store.TakeLife(l.id)
	for try := 0; errors.Is(err, unix.EWOULDBLOCK) && try < 100; try++ {
		time.Sleep(time.Millisecond) // a sweep of leftovers looks at our new file
		life, err = l.e.Store.TakeLife(l.id)
	}
	if err != nil {
		return hint.New("lock the container", err, "")
	}
	l.files["life"] = life
	l.undo.Push(func() { l.e.Store.DropLife(l.id, life) })
	if l.rec.Name, err = l.e.claimName(l.opts.Name, l.id); err != nil {
		return err
	}
	l.undo.Push(func() { _ = l.e.Store.DropName(l.rec.Name, l.id) })
	return l.writeCIDFile()
}

func (l *launch) writeCIDFile() error {
	path := l.opts.CIDFile
	if path == "" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		fix := "name a file in a folder that you can write to"
		if errors.Is(err, fs.ErrExist) {
			fix = "name a file that does not exist yet"
		}
		return hint.New("write --cidfile "+path, rootCause(err), fix)
	}
	l.undo.Push(func() { _ = os.Remove(path) })
	_, err = f.WriteString(l.id)
	return errors.Join(err, f.Close())
}

// limit gives the container its cgroup. Without a delegated subtree it runs
// without one, unless it asked for a limit.
func (l *launch) limit() error {
	asked := !l.plan.Resources.Empty()
	subtree, err := cgroup.Find()
	if err != nil {
		if asked {
			return err
		}
		return nil
	}
	group, err := subtree.Create(l.id, l.plan.Resources)
	if err != nil {
		if asked {
			return err
		}
		l.e.Warn("no cgroup of its own: " + err.Error())
		return nil
	}
	l.undo.Push(func() { _ = group.Remove() })
	l.cfg.Cgroup = group.Path
	if l.stand, err = subtree.HostFD(); err != nil {
		return err
	}
	if f, err := group.PayloadFD(); err == nil {
		l.files["cgroup"] = f
	}
	return nil
}

// record makes the container's folder and what keeps its image.
func (l *launch) record() error {
	dir := l.e.Store.ContainerDir(l.id)
	for _, d := range []string{dir, filepath.Join(dir, "upper"), filepath.Join(dir, "work")} {
		mode := uint32(0o700)
		if filepath.Base(d) == "upper" {
			mode = 0o755 // it becomes the container's /
		}
		if err := unix.Mkdir(d, mode); err != nil {
			return hint.New("make the container's folder "+d, err, diskFix(err))
		}
		if d == dir {
			l.undo.Push(l.discard)
		}
	}
	_ = os.Chmod(filepath.Join(dir, "upper"), 0o755)
	if l.image != nil {
		if err := l.e.Store.AcquireImage(l.image.ID, l.id); err != nil {
			return err
		}
		l.undo.Push(func() { _ = l.e.Store.ReleaseImage(l.image.ID, l.id) })
		l.rec.Image = l.image.ID
	}
	// The record names anonymous volumes before they exist: if we are killed in
	// between, it says what to remove.
	l.nameVolumes()
	l.fillRecord()
	if err := l.e.Store.SaveContainer(&l.rec); err != nil {
		return hint.New("save the container's record", err, diskFix(err))
	}
	return l.makeVolumes()
}

// usedIDs are the ids that other containers have for themselves alone. Two
// starts at the same moment may still pick the same: a container's files are out
// of reach of another's all the same, since each has its own mount namespace.
func (e *Engine) usedIDs() []userns.IDMap {
	var used []userns.IDMap
	ids, err := e.Store.ContainerIDs()
	if err != nil {
		return nil
	}
	for _, id := range ids {
		if c, err := e.Store.LoadContainer(id); err == nil {
			used = append(used, c.OwnIDs...)
		}
	}
	return used
}

func (l *launch) discard() {
	if dir, err := l.e.Store.Trash(l.id); err == nil {
		_ = l.e.removeTrees([]string{dir})
	}
}

func (l *launch) fillRecord() {
	p, o := l.plan, l.opts
	network := string(p.Network.Kind)
	if p.Network.Container != "" {
		network += ":" + p.Network.Container
	}
	r := &l.rec
	r.Version, r.ID, r.Created, r.MachineID = 1, l.id, time.Now(), record.MachineID()
	r.Rootfs, r.Command, r.Labels, r.Annotations = o.Rootfs, p.Spec.Process.Args, p.Labels, p.Spec.Annotations
	r.AutoRemove, r.TTY, r.Interactive = o.Remove, o.TTY, o.Interactive
	if strings.HasPrefix(o.Userns, "auto") {
		r.OwnIDs = p.UIDMap
	}
	r.Network, r.Ports, r.StopSignal, r.StopAfter = network, p.Ports, p.StopSignal, p.StopAfter
}

// provide writes the resolver files and finds the filter.
func (l *launch) provide() error {
	if err := l.writeNetworkFiles(); err != nil {
		return err
	}
	if l.plan.Seccomp.Unconfined {
		return nil
	}
	f, err := l.e.filter(l.plan.Seccomp)
	if err != nil {
		return err
	}
	l.files["seccomp"] = f
	return nil
}

// configure fills in what the shim is told.
func (l *launch) configure(s Streams) {
	p, c := l.plan, &l.cfg
	c.Version, c.ID, c.Name, c.Root = version.Version, l.id, l.rec.Name, l.e.Store.Root
	c.Dir = l.e.Store.ContainerDir(l.id)
	c.Runtime, _ = l.e.Store.Runtime()
	c.Spec, c.Driver, c.RootfsDir = p.Spec, fuse.Driver(l.e.Driver), l.opts.Rootfs
	c.UIDMap, c.GIDMap = p.UIDMap, p.GIDMap
	c.Clone, c.ShmMount = l.cloneFlags(), p.ShmMount
	c.Network = string(p.Network.Kind)
	c.Attach = slirp.Attach{ID: l.id, Ports: p.Ports, HostLoopback: p.HostLoop, IPv6: p.IPv6}
	c.StopSignal, c.StopAfter = p.StopSignal, p.StopAfter
	c.AutoRemove, c.Detach = l.opts.Remove, l.opts.Detach
	c.Image, c.Without = l.rec.Image, os.Getenv("RC_TEST_WITHOUT")
	for _, v := range l.rec.Volumes {
		if v.Anonymous {
			c.Anonymous = append(c.Anonymous, v.Name)
		}
	}
	if l.image != nil {
		c.Rootfs = fuse.Rootfs{
			Layers: l.image.Layers, Upper: filepath.Join(c.Dir, "upper"), Work: filepath.Join(c.Dir, "work"),
			Volatile: l.opts.Remove, TarWhiteouts: l.image.Format == record.FormatAufs,
		}
		if p.Shifted {
			c.Rootfs.UIDMap, c.Rootfs.GIDMap = diskMap(p.UIDMap), diskMap(p.GIDMap)
		}
	}
	c.Rows, c.Cols = s.size()
	l.configureInside()
}

func (l *launch) configureInside() {
	p, in := l.plan, &l.cfg.Inside
	in.Username, in.Groups = p.Spec.Process.User.Username, p.GroupAdd
	in.Init, in.Stdin, in.Privileged = p.Init, l.opts.Interactive && !l.opts.TTY, p.Privileged
	in.HomeSet = p.HomeSet
	in.OwnNet = p.Network.Kind == spec.KindSlirp || p.Network.Kind == spec.KindNone
	in.OwnUTS = p.UTS.Kind == spec.KindPrivate
	in.HostNet = p.Network.Kind == spec.KindHost
	in.Seccomp = l.files["seccomp"] != nil
	in.Keyring = l.keyringOwner()
	in.GuardKeys = (p.Seccomp.Unconfined || p.Seccomp.Path != "") && mapsCaller(p.UIDMap)
}

// keyringOwner picks the subordinate id that pays for the container's session
// keyring. Spread over the range, since the quota is 200 keys an id
// (kernel.keys.maxkeys); 0 where there is only one id.
func (l *launch) keyringOwner() uint32 {
	n := userns.Count(l.plan.UIDMap)
	if n < 2 {
		return 0
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(l.id))
	return 1 + uint32(uint64(h.Sum32())%min(n-1, 60000))
}

// mapsCaller tells whether a container has the caller's own uid, which is 0 in U0.
func mapsCaller(m []userns.IDMap) bool {
	return slices.ContainsFunc(m, func(line userns.IDMap) bool { return line.Outside == 0 })
}

func (l *launch) cloneFlags() int {
	flags := unix.CLONE_NEWNS // the cgroup namespace is init's own step
	if l.joins == nil {
		flags |= unix.CLONE_NEWUSER
	}
	for _, ns := range []struct {
		mode spec.NamespaceMode
		flag int
	}{{l.plan.PID, unix.CLONE_NEWPID}, {l.plan.IPC, unix.CLONE_NEWIPC}, {l.plan.UTS, unix.CLONE_NEWUTS}, {l.plan.Network, unix.CLONE_NEWNET}} {
		switch ns.mode.Kind {
		case spec.KindPrivate, spec.KindNone, spec.KindSlirp:
			flags |= ns.flag
		}
	}
	return flags
}

// smallRuntime is the environment of a shim: one processor's worth of Go runtime
// halves its memory (measured by tests/bench, helpers' PSS).
var smallRuntime = []string{"GOMAXPROCS=1"}

// start hands everything to the shim and follows the conversation.
func (l *launch) start(s Streams) (int, error) {
	l.configure(s)
	attached, err := s.open(l)
	if err != nil {
		return 0, err
	}
	p := &userns.Program{
		Args: []string{shortID(l.id), l.rec.Name}, Setsid: true,
		Env:  smallRuntime,
		Plan: userns.Plan{NonDumpable: true},
	}
	conn, proc, err := l.startShim(p)
	attached.handOver()
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	defer proc.Close()
	m, err := l.expect(conn, start.KindCreated)
	if err != nil {
		return 0, l.whyShimDied(proc, err)
	}
	if m.Note != "" {
		l.e.Warn("the root file system is by " + m.Note)
	}
	if m.Net != nil && len(m.Net.Ports) > 0 {
		l.rec.Ports = m.Net.Ports // with the host ports that the keeper chose
		if err := l.e.Store.SaveContainer(&l.rec); err != nil {
			return 0, hint.New("save the container's record", err, diskFix(err))
		}
	}
	if err := conn.Send(&start.Message{Kind: start.KindStart}); err != nil {
		return 0, hint.New("start the container", err, "")
	}
	if _, err := l.expect(conn, start.KindStarted); err != nil {
		return 0, err
	}
	l.undo.Release() // the shim owns everything from here
	for _, f := range l.files {
		_ = f.Close()
	}
	if l.opts.Detach {
		_, err := fmt.Fprintln(s.Out, l.id)
		return 0, err
	}
	code, err := attached.follow(l, conn)
	if err == nil && !attached.left {
		// It has nothing left to do; who lists processes after us shall not see it.
		_ = proc.PidFD.SetReadDeadline(time.Now().Add(time.Second))
		_, _ = proc.Wait()
	}
	return code, err
}

// startShim starts it in the cgroup where it shall stand: born there, or moved
// before it goes on where the kernel does not let us.
func (l *launch) startShim(p *userns.Program) (*stage.Conn, *userns.Process, error) {
	if l.stand == nil {
		return l.e.converse(l.home, "rc-shim", &l.cfg, l.files, p)
	}
	defer l.stand.Close()
	if !linux.Without(linux.CloneIntoCgroup) {
		born := *p
		born.Files, born.Plan.CgroupFD = []*os.File{l.stand}, 6 // after U0, which inHome puts first
		conn, proc, err := l.e.converse(l.home, "rc-shim", &l.cfg, l.files, &born)
		if err == nil {
			return conn, proc, nil
		}
	}
	p.Plan.Fork = true // Prepare runs for a child only
	p.Prepare = func(pid int) error {
		return os.WriteFile(linux.ProcFD(l.stand)+"/cgroup.procs", []byte(strconv.Itoa(pid)), 0)
	}
	return l.e.converse(l.home, "rc-shim", &l.cfg, l.files, p)
}

// whyShimDied looks at a shim that broke off. Go's runtime ends with 2 where a
// thread or memory is refused to it, and has nobody to tell.
func (l *launch) whyShimDied(proc *userns.Process, err error) error {
	if !errors.Is(err, errBrokeOff) {
		return err
	}
	_ = proc.PidFD.SetReadDeadline(time.Now().Add(time.Second))
	if ws, werr := proc.Wait(); werr == nil && ws.Exited() && ws.ExitStatus() == 2 {
		return hint.Newf("start the container", "raise them: ulimit -u, ulimit -v", "its shim could not run within your limits of processes or memory")
	}
	return err
}

// errBrokeOff is the end of a conversation without a reason given.
var errBrokeOff = errors.New("its shim was killed")

func (l *launch) expect(conn *stage.Conn, want start.Kind) (*start.Message, error) {
	var m start.Message
	files, err := conn.Recv(&m)
	stage.CloseFiles(files)
	switch {
	case err != nil:
		return nil, hint.New("start the container", fmt.Errorf("%w (%w)", errBrokeOff, err), "try again")
	case m.Kind == start.KindFailed && m.Fail != nil:
		return nil, m.Fail.Error()
	case m.Kind != want:
		return nil, fmt.Errorf("unexpected message %q from the shim", m.Kind)
	}
	return &m, nil
}

func sendConfig(conn *stage.Conn, config any, files map[string]*os.File) error {
	sealed, err := stage.Seal("rc", config)
	if err != nil {
		return err
	}
	defer sealed.Close()
	m := &start.Message{Kind: start.KindConfig, Files: []string{"config"}}
	list := []*os.File{sealed}
	for name, f := range files {
		m.Files, list = append(m.Files, name), append(list, f)
	}
	return conn.Send(m, list...)
}

func diskMap(maps []userns.IDMap) []fuse.IDMap {
	out := make([]fuse.IDMap, len(maps))
	for i, m := range maps {
		out[i] = fuse.IDMap(m)
	}
	return out
}

func diskFix(err error) string {
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return "free some disk space: rc images, rc rmi, rc ps -a, rc rm"
	case errors.Is(err, unix.EROFS), errors.Is(err, unix.EACCES):
		return "name a folder that you can write to: rc --root DIR ..."
	}
	return ""
}

func rootCause(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}
