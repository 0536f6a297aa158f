package engine

import (
	"errors"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/spec"
)

// joinSandbox borrows the namespaces that container:ID modes name. A joined
// namespace is usable only from the user namespace that owns it, so the new
// container becomes a part of that sandbox.
func (l *launch) joinSandbox(in *spec.Input) error {
	var first string
	for _, name := range l.opts.Joins() {
		op := "join container " + name
		id, err := l.e.Store.FindContainer(name)
		if err != nil {
			return hint.New(op, errors.Unwrap(err), "see `rc ps`")
		}
		if first != "" && id != first {
			return hint.Newf(op, "name one container in all flags that join",
				"its user namespace is not that of %s, and a process has only one", shortID(first))
		}
		if first != "" {
			continue
		}
		first = id
		l.joins, err = l.e.borrow(id)
		if err != nil && !l.fresh {
			l.joins, err = l.e.sandboxAtRest(id)
		}
		if err != nil {
			return hint.New(op, err, "start it first: only a running container can be joined")
		}
		l.undo.Push(l.joins.Close)
		in.Sandbox = &spec.Sandbox{UIDMap: l.joins.uidMap, GIDMap: l.joins.gidMap, Hostname: l.joins.hostname}
	}
	l.sameHome()
	return nil
}

// sandboxAtRest is what `rc create` has to know of a container that does not run;
// its namespaces are asked for at each start.
func (e *Engine) sandboxAtRest(id string) (*sandbox, error) {
	c, err := e.LoadConfig(id)
	if err != nil {
		return nil, err
	}
	s := &sandbox{id: id, names: append([]string{"user", "mnt"}, c.Again.JoinNames...), uidMap: c.UIDMap, gidMap: c.GIDMap, hostname: c.Spec.Hostname}
	for name, flag := range map[string]int{"net": unix.CLONE_NEWNET, "ipc": unix.CLONE_NEWIPC, "uts": unix.CLONE_NEWUTS, "pid": unix.CLONE_NEWPID} {
		if c.Clone&flag != 0 {
			s.names = append(s.names, name)
		}
	}
	return s, nil
}

// takeJoins hands the shim the namespaces that the plan joins.
func (l *launch) takeJoins() error {
	if l.joins == nil {
		return nil
	}
	var names []string
	for name, mode := range l.joined() {
		if mode.Kind == spec.KindContainer {
			names = append(names, name)
		}
	}
	return l.takeNamespaces(names, l.plan.ShmMount >= 0)
}

// takeNamespaces picks some of the borrowed ones.
func (l *launch) takeNamespaces(names []string, shm bool) error {
	files := l.joins.files
	if files["user"] != nil {
		l.files["join-user"] = files["user"]
	}
	for _, name := range names {
		if !slices.Contains(l.joins.names, name) {
			return hint.Newf("join container "+shortID(l.joins.id), "give this one the host's too: "+hostFlags[name],
				"its %s namespace is the host's", name)
		}
		if files[name] != nil {
			l.files["join-"+name] = files[name]
		}
	}
	if shm && files["mnt"] != nil {
		l.files["join-mnt"] = files["mnt"]
	}
	return nil
}

var hostFlags = map[string]string{"net": "--network=host", "ipc": "--ipc=host", "uts": "--uts=host", "pid": "--pid=host"}

// sameHome enters the U0 of the container that is joined: a keeper that was
// started anew can have made another one.
func (l *launch) sameHome() {
	if l.joins == nil || l.joins.files["u0"] == nil {
		return
	}
	h := *l.home
	h.userns = l.joins.files["u0"]
	l.home = &h
}

// joinAgain borrows anew what the container joined when it was made.
func (l *launch) joinAgain() error {
	a := &l.cfg.Again
	if a.Join == "" {
		return nil
	}
	op := "join container " + shortID(a.Join)
	var err error
	if l.joins, err = l.e.borrow(a.Join); err != nil {
		if _, gone := l.e.Store.FindContainer(a.Join); errors.Is(gone, record.ErrNoContainer) {
			return hint.New(op, record.ErrNoContainer, "it was removed: make this one anew, on another one's network")
		}
		return hint.New(op, err, "start it first: rc start "+shortID(a.Join))
	}
	l.undo.Push(l.joins.Close)
	l.sameHome()
	return l.takeNamespaces(a.JoinNames, l.cfg.ShmMount >= 0)
}
