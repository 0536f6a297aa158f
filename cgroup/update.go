package cgroup

import (
	"errors"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
)

// unset is the value of each file that asks for nothing.
var unset = map[string]string{
	"memory.max": "max", "memory.swap.max": "max", "memory.low": "0", "cpu.max": "max 100000", "cpu.weight": "100",
	"pids.max": "max", // a cpuset cannot be unset with Docker's flags
}

// Update changes the limits of a group that has those of before to those of r,
// while its payload runs. Only what differs is written. A limit that cannot be
// applied is an error; those written before it then stay.
func (g *Group) Update(before, r Resources) error {
	now, err := r.settings()
	if err != nil {
		return err
	}
	old, err := before.settings()
	if err != nil {
		old = nil // of an older rc: whatever it was, the new ones are written
	}
	outer, err := openDir(g.Path)
	if err != nil {
		return hint.New("change the limits of the container", err, "")
	}
	defer outer.close()
	changes := difference(old, now)
	if err := g.handDownTo(outer, changes); err != nil {
		return err
	}
	inner, err := outer.at(payloadLeaf)
	if err != nil {
		return hint.New("change the limits of the container", err, "")
	}
	defer inner.close()
	for _, set := range changes {
		// The payload's own copy first where a limit grows would be as good: what
		// counts is the group above it, which it cannot write.
		if err := outer.apply(set); err != nil {
			return err
		}
		if !set.mirror {
			continue
		}
		if err := inner.apply(set); err != nil && !errors.Is(err, unix.ENOENT) {
			return err
		}
	}
	return nil
}

// difference lists what has to be written to come from old to now.
func difference(old, now []setting) []setting {
	var changes []setting
	for _, o := range old {
		kept := slices.ContainsFunc(now, func(n setting) bool { return n.file == o.file })
		if value, ok := unset[o.file]; ok && !kept {
			o.value, o.optional = value, true
			changes = append(changes, o)
		}
	}
	for _, n := range now {
		same := slices.ContainsFunc(old, func(o setting) bool { return o.file == n.file && o.value == n.value })
		if !same {
			changes = append(changes, n)
		}
	}
	return changes
}

// handDownTo switches on the controllers that a group was made without.
func (g *Group) handDownTo(outer *dir, changes []setting) error {
	need := controllers(changes)
	if missing := without(need, outer.fields(controllersFile)); len(missing) > 0 {
		s, err := Find()
		if err != nil {
			return err
		}
		if s.Path != filepath.Dir(g.Path) {
			return hint.Newf("change the limits of the container", "run this where the container was started, or make it again with the limit",
				"its cgroup %s has no %s controller, and it is not in the subtree of this session", g.Path, missing[0])
		}
		top, err := s.handDown(missing)
		if err != nil {
			return err
		}
		top.close()
	}
	if err := outer.enable(without(need, outer.fields(controlFile))); err != nil {
		return hint.New("hand controllers to the payload", err, "")
	}
	return nil
}
