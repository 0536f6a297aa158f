package engine

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/cgroup"
	"github.com/rc-containers/rc/internal/atomicfile"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/spec"
	"github.com/rc-containers/rc/internal/stage/start"
	"github.com/rc-containers/rc/internal/trace"
	"github.com/rc-containers/rc/internal/unwind"
	"github.com/rc-containers/rc/slirp"
)

// launch is one container in the making, or about to be started once more. Each
// step adds its undo, so a refusal at any point leaves nothing behind.
type launch struct {
	e     *Engine
	opts  *spec.Options // of a start without creation: only what concerns the streams
	image *record.Image // creation only
	plan  *spec.Plan    // creation only: a start has cfg
	id    string
	home  *home
	joins *sandbox
	stand *os.File            // cgroup of the shim, where it must not be ours; nil: ours
	files map[string]*os.File // for the shim, by name
	rec   record.Container
	cfg   start.Config
	bytes []byte                 // cfg as the shim gets it and config.json keeps it
	nets  []record.NetworkUse    // creation only: as plan has them, looked up
	had   []slirp.EndpointStatus // of the life before
	fresh bool                   // created and started in one go
	undo  unwind.Stack

	where   *look    // its place in the cgroup tree, where that was found ahead
	ahead   *forming // the shim, where it was started before the rest was made
	started bool     // the shim owns everything

	notify *notifier // the service manager, where it is to be told

	approx *cgroup.Approximation // --cgroup-fallback at this start
}

// Run creates and starts a container and, unless detached, stays until it ends.
// The result is the exit code of `rc run`: the payload's, 128+n for a signal n.
// imageRef is empty with --rootfs.
func (e *Engine) Run(opts *spec.Options, imageRef string, streams Streams) (int, error) {
	l := &launch{e: e, opts: opts, files: map[string]*os.File{}, fresh: true}
	defer l.undo.Run()
	l.cfg.Rows, l.cfg.Cols = streams.size()
	if err := l.create(imageRef, l.limit); err != nil {
		return 0, err
	}
	code, err := l.begin(streams)
	if err == nil && opts.Detach {
		_, err = fmt.Fprintln(streams.Out, l.id)
	}
	return code, err
}

// Create makes everything of a container and no process. The result is its id.
func (e *Engine) Create(opts *spec.Options, imageRef string) (string, error) {
	l := &launch{e: e, opts: opts, files: map[string]*os.File{}}
	defer l.undo.Run()
	defer l.closeFiles()
	if err := l.create(imageRef, l.tryLimit); err != nil {
		return "", err
	}
	if err := l.syncConfig(); err != nil {
		return "", err
	}
	// The last of all: without it the container is a half-made one, and removed.
	st := &record.State{Status: record.Created, BootID: record.BootID()}
	if err := record.SaveState(e.Store.ContainerDir(l.id), st, atomicfile.Durable); err != nil {
		return "", hint.New("save the container's state", hint.Cause(err), diskFix(err))
	}
	l.undo.Release()
	e.Store.DropLife(l.id, l.files["life"])
	return l.id, nil
}

// create goes through the steps that `rc run` and `rc create` share. limit is the
// one in which they differ: a created container has no cgroup yet.
func (l *launch) create(imageRef string, limit func() error) error {
	l.e.greetAhead(slirp.Hello{Bridge: len(spec.NetworksOf(l.opts)) > 0})
	if err := errors.Join(l.checkReplace(), spec.Check(l.opts)); err != nil { // before an image is pulled for it
		return err
	}
	steps := []func() error{
		l.findNetworks, func() error { return l.findImage(imageRef) },
		l.lookAhead, l.enterHome, l.forkAhead, l.design, l.replace, l.claim, limit, l.forkStanding, l.needGroup, l.record, l.configure, l.provide, l.keepConfig,
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	for _, w := range l.plan.Warnings {
		l.e.Warn(w)
	}
	l.e.event(&l.rec, "create", nil)
	if !l.e.twice(&l.rec) {
		l.e.readyForRestart(&l.rec)
	}
	return nil
}

func (l *launch) closeFiles() {
	for name, f := range l.files {
		if name != "life" { // closed with its path
			_ = f.Close()
		}
	}
	if l.joins != nil {
		l.joins.Close()
	}
}

func (l *launch) findImage(ref string) error {
	defer trace.Begin("find the image").End()
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
	defer trace.Begin("greet the keeper").End()
	id := make([]byte, 32)
	if _, err := unix.Getrandom(id, 0); err != nil { // crypto/rand would cost rc's start 0.1 ms
		return hint.New("make an id", err, "")
	}
	l.id = hex.EncodeToString(id)
	var err error
	l.home, err = l.e.enterFor(len(l.nets) > 0)
	return err
}

// design decides everything that can be decided before anything is made.
func (l *launch) design() error {
	defer trace.Begin("design: flags + image into a spec").End()
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
	if in.From, err = l.e.volumesFrom(l.opts.VolumesFrom); err != nil {
		return err
	}
	plan, err := spec.Build(in)
	if err != nil {
		return err
	}
	l.plan = plan
	l.opts.TTY = plan.Spec.Process.Terminal // a system container has one, asked for or not
	if err := l.takeJoins(); err != nil {
		return err
	}
	plan.Networks = l.nets
	switch plan.Network.Kind {
	case spec.KindPasta:
		return slirp.CheckPasta()
	case spec.KindSlirp, spec.KindBridge:
		return slirp.CheckHost()
	}
	return nil
}

// claim takes what must be unique: the id's life lock first, so that nobody
// takes the rest for leftovers, then the name and the id file.
func (l *launch) claim() error {
	defer trace.Begin("claim: life lock, name").End()
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
	if err := l.claimName(); err != nil {
		return err
	}
	l.undo.Push(func() { _ = l.e.Store.DropName(l.rec.Name, l.id) })
	return l.writeCIDFile()
}

// claimName takes the name that was asked for, or a random one: that by which the shim
// was called, unless another has it.
func (l *launch) claimName() (err error) {
	if l.opts.Name == "" && l.rec.Name != "" && l.e.Store.ClaimName(l.rec.Name, l.id) == nil {
		return nil
	}
	called := l.rec.Name
	l.rec.Name, err = l.e.claimName(l.opts.Name, l.id)
	if l.rec.Name != called {
		l.notAhead()
	}
	return err
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
		return hint.New("write --cidfile "+path, hint.Cause(err), fix)
	}
	l.undo.Push(func() { _ = os.Remove(path) })
	_, err = f.WriteString(l.id)
	return errors.Join(err, f.Close())
}

// provide writes the resolver files and finds the filter.
func (l *launch) provide() error {
	if err := l.writeNetworkFiles(); err != nil {
		return err
	}
	return l.openFilter()
}

// openFilter hands the shim the compiled filter of the container, if it has one.
func (l *launch) openFilter() error {
	defer trace.Begin("open the seccomp filter").End()
	a := &l.cfg.Again
	if a.Unconfined {
		return nil
	}
	f, err := l.e.filter(spec.SeccompProfile{Path: a.SeccompPath, Caps: a.SeccompCaps})
	if err != nil {
		return err
	}
	l.files["seccomp"] = f
	return nil
}
