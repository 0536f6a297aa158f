package cgroup

import (
	"errors"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/unwind"
)

// Create makes the group of the container id (lower-case letters and digits)
// with its limits applied and no process in it. A limit that cannot be applied
// is an error that names its controller, and then nothing is left behind.
//
// Where this process itself stands in the subtree and a controller has to be
// switched on, it moves itself, and nothing else, to a leaf beside the groups.
func (s *Subtree) Create(id string, r Resources) (*Group, error) {
	settings, err := r.settings()
	if err != nil {
		return nil, err
	}
	if !validID(id) {
		return nil, hint.Newf("make a cgroup for "+strconv.Quote(id), "use lower-case letters and digits", "not a container's id")
	}
	need := controllers(settings)
	top, err := s.handDown(need)
	if err != nil {
		return nil, err
	}
	defer top.close()
	g := &Group{Path: filepath.Join(s.Path, prefix+id)}
	if err := s.make(top, prefix+id); err != nil {
		return nil, whyNoGroup(g.Path, err)
	}
	var undo unwind.Stack
	defer undo.Run()
	undo.Push(func() { _ = g.Remove() })
	if err := s.fill(top, prefix+id, need, settings); err != nil {
		return nil, err
	}
	undo.Release()
	return g, nil
}

// fill sets the limits on the group name, and makes the payload's leaf in it.
func (s *Subtree) fill(top *dir, name string, need []string, settings []setting) error {
	outer, err := top.at(name)
	if err != nil {
		return hint.New("make a cgroup", err, "")
	}
	defer outer.close()
	for _, set := range settings {
		if err := outer.apply(set); err != nil {
			return err
		}
	}
	// Handed down one level more, for two reasons: the payload can read its
	// limits, and a controller that a child has cannot be taken from us: a
	// systemd that manages Path gets EBUSY instead of dropping the limits.
	if err := outer.enable(need); err != nil {
		return hint.New("hand controllers to the payload", err, "")
	}
	if err := s.make(outer, payloadLeaf); err != nil {
		return whyNoGroup(filepath.Join(outer.path, payloadLeaf), err)
	}
	inner, err := outer.at(payloadLeaf)
	if err != nil {
		return hint.New("make a cgroup", err, "")
	}
	defer inner.close()
	for _, set := range settings {
		if !set.mirror {
			continue
		}
		if err := inner.apply(set); err != nil {
			return err
		}
	}
	return nil
}

// make makes the group name in d.
func (s *Subtree) make(d *dir, name string) error {
	if err := d.mkdir(name); err != nil {
		return err
	}
	if s.view.made != nil {
		return s.view.made(filepath.Join(d.path, name))
	}
	return nil
}

// List names the groups of containers in the subtree, those of dead shims too.
// Other state roots of the same user share the subtree: a group whose id the
// caller's own records do not name is somebody else's.
func (s *Subtree) List() ([]*Group, error) {
	d, err := openDir(s.Path)
	if err != nil {
		return nil, hint.New("list cgroups", err, "")
	}
	defer d.close()
	names, err := d.children()
	if err != nil {
		return nil, hint.New("list cgroups", err, "")
	}
	var groups []*Group
	for _, name := range names {
		if id, ok := strings.CutPrefix(name, prefix); ok && validID(id) {
			groups = append(groups, Open(filepath.Join(s.Path, name)))
		}
	}
	return groups, nil
}

// ID is the container's id in the group's name.
func (g *Group) ID() string { return strings.TrimPrefix(filepath.Base(g.Path), prefix) }

func validID(id string) bool {
	return id != "" && len(id) <= 64 && id != strings.TrimPrefix(hostLeaf, prefix) &&
		strings.Trim(id, "abcdefghijklmnopqrstuvwxyz0123456789") == ""
}

func whyNoGroup(path string, err error) error {
	fix := ""
	switch {
	case errors.Is(err, unix.EEXIST):
		fix = "a container of that id lives or was not cleaned up: rc rm -f it"
	case errors.Is(err, unix.EAGAIN):
		fix = "raise cgroup.max.descendants or cgroup.max.depth above it"
	case errors.Is(err, unix.ENOMEM):
		fix = "the kernel is out of memory or of memory cgroup ids: remove unused containers"
	}
	return hint.New("make the cgroup "+path, err, fix)
}
