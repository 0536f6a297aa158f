package engine

import (
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/cgroup"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/trace"
)

// asked are the limits of the container and the place of its group, and whether a
// start without them is none.
func (l *launch) asked() (limits cgroup.Resources, place cgroup.Place, must bool) {
	limits, place = l.cfg.Again.Resources, l.cfg.Again.Place
	if l.plan != nil {
		limits, place = l.plan.Resources, l.plan.Place
	}
	return limits, place, !limits.Empty() || place.Mode == cgroup.PlaceSplit || place.Parent != ""
}

// place is the subtree for a container's group.
func (e *Engine) place(p cgroup.Place) (*cgroup.Subtree, error) {
	if p.Mode != cgroup.PlaceSplit {
		return e.subtree()
	}
	group, _ := cgroup.OwnUnit() // its word is taken that it was delegated
	s, err := cgroup.FindDelegated(group)
	if err != nil {
		return nil, hint.New("--cgroups=split", hint.Reason(err), "give the unit that starts rc Delegate=yes, or leave out --cgroups=split")
	}
	return s, nil
}

// subtree is place for a start that may have looked ahead.
func (l *launch) subtree(p cgroup.Place) (*cgroup.Subtree, error) {
	if l.where != nil && p.Mode != cgroup.PlaceSplit {
		return l.where.found, l.where.err
	}
	return l.e.place(p)
}

// limit gives the container its cgroup. Without a delegated subtree it runs
// without one, unless it asked for a limit or a place.
func (l *launch) limit() error {
	defer trace.Begin("find or make the cgroup").End()
	limits, place, must := l.asked()
	l.forget()
	if place.Mode == cgroup.PlaceDisabled {
		return nil
	}
	made := cgroup.Made{Rest: limits}
	subtree, err := l.subtree(place)
	if err == nil {
		made, err = place.Make(subtree, l.id, limits)
	}
	switch {
	case err != nil && must && !place.Fallback:
		return err
	case err != nil && subtree != nil && !place.Fallback:
		l.e.Warn("no cgroup of its own: " + err.Error())
	case err != nil:
		made.Why = err
	}
	if place.Fallback {
		l.approximate(made)
	}
	if made.Group == nil {
		return nil
	}
	l.undo.Push(func() { _ = made.Group.Remove() })
	l.cfg.Cgroup = made.Group.Path
	if l.ahead == nil {
		if l.stand, err = subtree.HostFD(); err != nil {
			return err
		}
	}
	if f, err := made.Group.PayloadFD(); err == nil {
		l.files["cgroup"] = f
	}
	return nil
}

// tryLimit makes the group and removes it again, so that `rc create` refuses what
// no start could honour.
func (l *launch) tryLimit() error {
	limits, place, must := l.asked()
	if !must || place.Fallback || place.Mode == cgroup.PlaceDisabled {
		return nil
	}
	subtree, err := l.e.place(place)
	if err != nil {
		return err
	}
	made, err := place.Make(subtree, l.id, limits)
	if err != nil {
		return err
	}
	return made.Group.Remove()
}

// approximate is --cgroup-fallback for the limits that the group lacks, and says
// what they are worth.
func (l *launch) approximate(made cgroup.Made) {
	a, said := made.Rest.Approximate()
	if len(said) > 0 && made.Why != nil {
		l.e.Warn("limits without a cgroup: " + made.Why.Error())
	}
	for _, line := range said {
		l.e.Warn(line)
	}
	l.approx, l.cfg.Again.Approx = a, a
	if a != nil && a.Processes > 0 {
		p := l.process()
		p.Rlimits = append(p.Rlimits, processLimit(a.Processes, p.Rlimits))
	}
}

const nproc = "RLIMIT_NPROC"

// processLimit is --pids-limit as a resource limit, at most the one of --ulimit and
// our own: nobody but root goes above it.
func processLimit(n uint64, have []specs.POSIXRlimit) specs.POSIXRlimit {
	var own unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NPROC, &own) == nil {
		n = min(n, own.Max)
	}
	for _, l := range have {
		if l.Type == nproc {
			n = min(n, l.Hard)
		}
	}
	return specs.POSIXRlimit{Type: nproc, Soft: n, Hard: n}
}

// process is the payload's part of the runtime-spec of this start.
func (l *launch) process() *specs.Process {
	if l.plan != nil {
		return l.plan.Spec.Process
	}
	return l.cfg.Spec.Process
}

// forget takes out what stood in for limits at an earlier start: this one may have
// a cgroup. approximate appends, so the last one is its own.
func (l *launch) forget() {
	a := l.cfg.Again.Approx
	l.approx, l.cfg.Again.Approx = nil, nil
	if a == nil || a.Processes == 0 {
		return
	}
	p := l.process()
	for i, limit := range slices.Backward(p.Rlimits) {
		if limit.Type == nproc {
			p.Rlimits = slices.Delete(p.Rlimits, i, i+1)
			return
		}
	}
}
