package engine

import (
	"errors"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/cgroup"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/stage/start"
)

// errNoGroup is a system container that was told to have no cgroup, or whose
// cgroup could not be made; a line before says why.
var errNoGroup = errors.New("it has no cgroup of its own")

// needGroup comes after limit. The init of a system container makes cgroups of its
// own, below one that is its own: without, systemd ends at once with a line on its
// console. Where only the command's name says that it is one, it may be another
// init, which needs none.
func (l *launch) needGroup() error {
	kind := l.cfg.Systemd
	if l.plan != nil {
		kind = l.plan.Systemd
	}
	if kind == "" || l.cfg.Cgroup != "" {
		return nil
	}
	_, err := l.e.subtree()
	switch {
	case err == nil && l.plan != nil && !l.fresh:
		return nil // `rc create`: its start makes one
	case err == nil:
		err = hint.New("", errNoGroup, "leave out --cgroups=disabled, or see the warning above")
	}
	if kind == start.SystemdAlways {
		return hint.New("run systemd in the container", hint.Reason(err), fixOf(err))
	}
	l.e.Warn("a systemd in it will not start: " + err.Error())
	return nil
}

// removeGroup ends and removes a container's cgroup that no shim looks after. What
// a system container with other ids made in it, only the owner of those ids removes.
func (e *Engine) removeGroup(g *cgroup.Group) {
	_ = g.Kill()
	if err := g.Remove(); errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) {
		_ = e.tidy(&start.TidyConfig{Root: e.Store.Root, Groups: []string{g.Path}})
	}
}
