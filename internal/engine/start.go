package engine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/atomicfile"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/linux"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/spec"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/version"
)

// StartOptions are the flags of `rc start`.
type StartOptions struct {
	Attach      bool // -a: stay, show the output, pass signals on
	Interactive bool // -i: and connect the input, where the container has one
	Streams     Streams
	ByPolicy    bool // not the user's wish but the restart policy's
}

// errBusy is a container that another command is working on at this moment.
var errBusy = errors.New("another command is working on it")

// Start starts a container that was created or has ended. One that runs is left
// alone, as Docker does, or attached to. The result is 0, or with Attach the
// payload's exit code.
func (e *Engine) Start(ref string, o StartOptions) (int, error) {
	op := "start container " + ref
	entry, err := e.find(ref, op)
	if err != nil {
		return 0, err
	}
	if entry, err = e.settled(entry, op); err != nil {
		return 0, err
	}
	switch running := entry.Alive; {
	case running && entry.State.Status == record.Paused:
		return 0, hint.Newf(op, "rc unpause "+ref, "it is paused").WithCode(1)
	case running && !o.Attach && e.unit().Main && e.unit().Notify != "":
		return 0, hint.Newf(op, "attach to it: rc start -a "+ref+"; or stop it first", "it runs already, outside of this unit").WithCode(1)
	case running && o.Attach:
		return e.Attach(ref, AttachOptions{NoStdin: !o.Interactive}, o.Streams)
	case running:
		return 0, nil
	}
	l := &launch{e: e, id: entry.ID, files: map[string]*os.File{}, opts: &spec.Options{Detach: !o.Attach}}
	defer l.undo.Run()
	life, err := e.takeLife(l.id, op)
	if errors.Is(err, unix.EWOULDBLOCK) {
		if now, lerr := e.Load(l.id); lerr == nil && now.Running() && !o.Attach {
			return 0, nil // another `rc start` was quicker
		}
	}
	if err != nil {
		return 0, err
	}
	l.files["life"] = life
	l.undo.Push(func() { e.Store.DropLife(l.id, life) })
	before, err := l.reload()
	if err != nil {
		return 0, hint.New(op, hint.Reason(err), fixOf(err)).WithCode(1)
	}
	if o.ByPolicy {
		l.cfg.RestartCount = before.RestartCount + 1
		if before.Stopped {
			return 0, nil // stopped by the user since somebody decided to start it
		}
	}
	l.streamsOf(o)
	if err := l.ready(); err != nil {
		l.keepRefusal(before, err)
		return 0, err
	}
	code, err := l.begin(o.Streams)
	if err != nil && !l.started {
		l.keepRefusal(before, err)
	}
	return code, err
}

// takeLife takes the life lock of a container at rest. Others hold it for a moment
// only, to repair or to remove it; who starts it meanwhile keeps it.
func (e *Engine) takeLife(id, op string) (*os.File, error) {
	life, err := e.Store.TakeLife(id)
	for try := 0; errors.Is(err, unix.EWOULDBLOCK) && try < 100; try++ {
		time.Sleep(min(time.Duration(try), 10) * time.Millisecond)
		life, err = e.Store.TakeLife(id)
	}
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, hint.New(op, fmt.Errorf("%w (%w)", errBusy, unix.EWOULDBLOCK), "try again").WithCode(1)
	}
	if err != nil {
		return nil, hint.New(op, hint.Cause(err), diskFix(err))
	}
	return life, nil
}

// reload reads under the life lock what the container is, and replaces in its
// configuration what belonged to an earlier start.
func (l *launch) reload() (*record.State, error) {
	c, st, err := l.e.peek(l.id)
	if err != nil {
		return nil, err
	}
	if c == nil || st == nil {
		return nil, record.ErrNoContainer // removed since we looked
	}
	cfg, err := l.e.LoadConfig(l.id)
	if err != nil {
		return nil, err
	}
	l.rec, l.cfg = *c, *cfg
	if st.Net != nil {
		l.had = st.Net.Endpoints
	}
	l.cfg.Version, l.cfg.Name, l.cfg.Without = version.Version, c.Name, os.Getenv("RC_TEST_WITHOUT")
	l.cfg.Root, l.cfg.Dir = l.e.Store.Root, l.e.Store.ContainerDir(l.id)
	l.cfg.Cgroup, l.cfg.Fresh, l.cfg.RestartCount, l.cfg.Keeper = "", false, 0, l.e.keeperProgram()
	if l.cfg.Runtime, err = l.e.Store.Runtime(); err != nil {
		return nil, err
	}
	if st.Status != record.Created {
		l.cfg.Inside.CopyUp = nil // its volumes have been filled, and perhaps emptied by the user
	}
	return st, nil
}

// streamsOf says which streams this start connects.
func (l *launch) streamsOf(o StartOptions) {
	l.opts.TTY = l.cfg.Spec.Process.Terminal
	l.opts.Interactive = o.Interactive && l.rec.Interactive
	l.cfg.Detach, l.cfg.Rows, l.cfg.Cols = !o.Attach, 0, 0
	if o.Attach {
		l.cfg.Rows, l.cfg.Cols = o.Streams.size()
	}
}

// ready makes what belongs to one start.
func (l *launch) ready() error {
	var err error
	if l.home, err = l.e.enterFor(l.cfg.Network == string(spec.KindBridge)); err != nil {
		return err
	}
	steps := []func() error{l.attachAgain, l.joinAgain, l.keepImage, l.checkVolumes, l.limit, l.needGroup, l.refreshNetworkFiles, l.openFilter, l.allowRemount}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	if err := l.enlist(); err != nil {
		return err
	}
	if l.bytes, err = stage.Encode(&l.cfg); err != nil {
		return hint.New("encode the container's configuration", err, "")
	}
	return nil
}

// refreshNetworkFiles makes the resolver files of this start. On a full disk those of
// the last one stay.
func (l *launch) refreshNetworkFiles() error {
	err := l.writeNetworkFiles()
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		for _, name := range []string{"hosts", "hostname", "resolv.conf"} {
			if !exists(filepath.Join(l.cfg.Dir, name)) {
				return err
			}
		}
		return nil
	}
	return err
}

// keepImage sees to it that the layers are there and stay.
func (l *launch) keepImage() error {
	if l.rec.Image == "" {
		return nil
	}
	err := l.e.Store.AcquireImage(l.rec.Image, l.id)
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return nil // the reference of its creation is there: this one changes nothing
	}
	if err != nil {
		return hint.New("start container "+shortID(l.id), hint.Cause(err), "pull its image: rc pull "+l.rec.ImageName)
	}
	return nil
}

// checkVolumes refuses a volume that was removed since the container was made: an
// empty one in its place would look like lost data. Docker refuses it, too ("no
// such volume").
func (l *launch) checkVolumes() error {
	for _, v := range l.rec.Volumes {
		if _, err := os.Lstat(l.e.Store.Path("volumes", v.Name, "_data")); err != nil {
			return hint.New(fmt.Sprintf("mount volume %s on %s", v.Name, v.Destination), hint.Cause(err),
				"it was removed; for an empty one: rc volume create "+v.Name).WithCode(1)
		}
	}
	return nil
}

// allowRemount takes away the mark by which overlay refuses an upper folder that
// was mounted `volatile` before (kernel, overlayfs.rst, "Volatile mount"): it is
// about a host that crashed, and without --rm nothing is mounted so. `rc restart`
// of a container with --rm comes here.
func (l *launch) allowRemount() error {
	if !l.cfg.Rootfs.Volatile {
		return nil
	}
	dir := filepath.Join(l.cfg.Rootfs.Work, "work")
	for _, name := range []string{"", "incompat", "incompat/volatile"} {
		_ = os.Chmod(filepath.Join(dir, name), 0o700) // overlay makes them with no rights at all
	}
	if err := os.RemoveAll(filepath.Join(dir, "incompat")); err != nil {
		return hint.New("mount the root file system again", hint.Cause(err), "rc rm -f "+shortID(l.id))
	}
	return nil
}

// keepRefusal leaves the container as it was, with the reason beside it. One with
// --rm goes, as Docker's.
func (l *launch) keepRefusal(before *record.State, err error) {
	if l.rec.AutoRemove {
		_ = l.e.erase(l.id, &l.rec, true)
		return
	}
	st := *before
	st.Error, st.ShimPID, st.ShimStart, st.PID, st.PIDStart, st.Cgroup = err.Error(), 0, 0, 0, 0, ""
	if st.Status == record.Created {
		st.ExitCode = hint.ExitCode(err)
	}
	_ = record.SaveState(l.e.Store.ContainerDir(l.id), &st, atomicfile.Fast)
}

// find looks a container up for a verb that changes it, and refuses one of another
// host, whose processes cannot be seen from here.
func (e *Engine) find(ref, op string) (*Entry, error) {
	id, err := e.Store.FindContainer(ref)
	if err != nil {
		return nil, err
	}
	entry, err := e.Load(id)
	if errors.Is(err, os.ErrNotExist) {
		return nil, hint.New(op, record.ErrNoContainer, "see `rc ps -a`").WithCode(1)
	}
	if err != nil {
		return nil, hint.New(op, hint.Reason(err), deleteFix(err, "it", ref)).WithCode(1)
	}
	return entry, e.elsewhere(&entry.Container, op)
}

// elsewhere refuses a container of another host that shares the state root.
func (e *Engine) elsewhere(c *record.Container, op string) error {
	if c.MachineID == record.MachineID() {
		return nil
	}
	return hint.Newf(op, "do it there; if that host is gone: rc rm -f "+shortID(c.ID),
		"it belongs to another host (machine id %s), which shares this folder", c.MachineID).WithCode(1)
}

// identity is the shim as a process.
func shimOf(st *record.State) linux.Identity {
	return linux.Identity{PID: st.ShimPID, StartTime: st.ShimStart, BootID: st.BootID}
}
