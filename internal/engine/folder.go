package engine

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/linux"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/trace"
	"github.com/rc-containers/rc/userns"
)

// record makes the container's folder and what keeps its image.
func (l *launch) record() error {
	defer trace.Begin("make the folder, write container.json").End()
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

// discard removes the folder of a container that does not come to be. A want of
// descriptors may be why, so those go first that nobody will use.
func (l *launch) discard() {
	dir, err := l.e.Store.Trash(l.id)
	if err != nil {
		return
	}
	l.notAhead()
	for name, f := range l.files {
		if name != "life" { // whose undoing comes last
			_ = f.Close()
		}
	}
	_ = l.e.removeTrees([]string{dir})
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
	if r.CreateCommand = o.Unit.Args; len(r.CreateCommand) > 0 {
		r.CreateFolder, _ = os.Getwd()
	}
	if strings.HasPrefix(o.Userns, "auto") {
		r.OwnIDs = p.UIDMap
	}
	r.Restart, r.Exposed = p.Restart, p.Exposed
	r.Networks = p.Networks
	r.Network, r.Ports, r.StopSignal, r.StopAfter = network, p.Ports, p.StopSignal, p.StopAfter
	r.Health = p.Health
	r.Log = l.logConfig()
}

// keepConfig writes config.json: the bytes that the shim gets, which `rc start`
// and the shim's own restarts begin from. Nobody reads it before the container has
// a state, so it needs no rename.
func (l *launch) keepConfig() error {
	defer trace.Begin("encode and write config.json").End()
	if l.fresh {
		if err := l.enlist(); err != nil {
			return err
		}
	}
	var err error
	if l.bytes, err = stage.Encode(&l.cfg); err != nil {
		return hint.New("encode the container's configuration", err, "")
	}
	path := filepath.Join(l.e.Store.ContainerDir(l.id), "config.json")
	if err := linux.WriteFile(path, l.bytes, unix.O_CREAT|unix.O_TRUNC, 0o600); err != nil {
		return hint.New("save the container's configuration", hint.Cause(err), diskFix(err))
	}
	return nil
}

// syncConfig takes config.json to the disk, for a container that may wait for long.
func (l *launch) syncConfig() error {
	f, err := os.Open(filepath.Join(l.e.Store.ContainerDir(l.id), "config.json"))
	if err == nil {
		err = errors.Join(f.Sync(), f.Close())
	}
	if err != nil {
		return hint.New("save the container's configuration", hint.Cause(err), diskFix(err))
	}
	return nil
}
