package cgroup

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
)

// emptyList in a cpuset file inherits what the group above has.
const emptyList = "\n"

// unset is the value of each file that asks for nothing (cgroup-v2.rst, the
// defaults of each file).
var unset = map[string]string{
	"memory.max": "max", "memory.swap.max": "max", "memory.low": "0", "cpu.max": "max 100000", "cpu.weight": "100", "pids.max": "max",
	"cpuset.cpus": emptyList, "cpuset.mems": emptyList, ioWeight: "default",
	"memory.high": "max", "memory.min": "0", "memory.oom.group": "0", "memory.swap.high": "max", "memory.zswap.max": "max",
	"cpu.idle": "0", "cpu.max.burst": "0", "cpu.weight.nice": "0", "cpuset.cpus.partition": "member",
	"cgroup.max.depth": "max", "cgroup.max.descendants": "max",
}

// lifted is the value that takes the limit o away; ok is false where nobody knows.
func lifted(o setting) (value string, ok bool) {
	if o.file == ioMax && o.disk != "" {
		key, _, _ := strings.Cut(o.value, "=")
		return key + "=max", true
	}
	if o.controller == "hugetlb" {
		return "max", true
	}
	value, ok = unset[o.file]
	return value, ok
}

// Lifts tells whether Update knows how to take away what --cgroup-conf set in file.
func Lifts(file string) bool {
	_, ok := lifted(setting{file: file, controller: strings.SplitN(file, ".", 2)[0]})
	return ok
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
		kept := slices.ContainsFunc(now, func(n setting) bool { return n.target() == o.target() })
		if value, ok := lifted(o); ok && !kept {
			o.value, o.optional = value, true
			changes = append(changes, o)
		}
	}
	for _, n := range now {
		same := slices.ContainsFunc(old, func(o setting) bool { return o.target() == n.target() && o.value == n.value })
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
		s, err := subtreeAt(filepath.Dir(g.Path))
		if err != nil {
			return err
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

// subtreeAt is the subtree in which a group stands, whoever asks: what may be
// handed down to it does not depend on where this process is.
func subtreeAt(path string) (*Subtree, error) {
	at, err := locate(hostView())
	if err != nil {
		return nil, err
	}
	at.dir = path
	chain := at.ours()
	if len(chain) == 0 || chain[0] != path {
		return nil, hint.Newf("change the limits of the container", "make the container again with the limit",
			"its cgroup in %s has not the controller for it, and only the owner of that folder can hand it down", path)
	}
	s := &Subtree{Path: path, mount: at.mount, view: at.view, chain: chain}
	s.Controllers = s.offered()
	return s, nil
}
