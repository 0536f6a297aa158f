package cgroup

import (
	"errors"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
)

// Place says where the group of a container is to stand.
type Place struct {
	Mode     PlaceMode `json:",omitempty"`
	Parent   string    `json:",omitempty"` // folder below the subtree, "/batch"
	Fallback bool      `json:",omitempty"` // stand-ins for limits that no cgroup can give, see Approximate
}

// PlaceMode is podman's --cgroups.
type PlaceMode string

// The kinds of PlaceMode; "" is a group in the caller's subtree, wherever that is.
const (
	PlaceSplit    PlaceMode = "split"    // in the unit in which the caller stands, or nowhere
	PlaceDisabled PlaceMode = "disabled" // none: the container stands where the caller does
)

// Validate refuses a parent that is no name of a folder, or one of systemd's.
func (p Place) Validate() error {
	if p.Parent == "" {
		return nil
	}
	op := "--cgroup-parent " + strconv.Quote(p.Parent)
	for name := range strings.SplitSeq(strings.Trim(p.Parent, "/"), "/") {
		switch ext := filepath.Ext(name); {
		case ext == ".slice":
			return hint.Newf(op, "start rc in it: systemd-run --user --scope --slice="+name+" -p Delegate=yes rc …",
				"a slice is systemd's: only a unit of its own can stand in it")
		case ext == ".scope" || ext == ".service":
			return hint.Newf(op, "start rc in that unit, with Delegate=yes", "a unit is systemd's, and what stands in it is started by it")
		case name == "" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, prefix) || name == payloadLeaf || len(name) > 64 ||
			strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") != "":
			return hint.Newf(op, "name a folder, as in /batch", "%q is no name for a cgroup of yours", name)
		}
	}
	return nil
}

// CreateIn is Create in the folder parent below the subtree, which is made where it
// is missing and then stays, with whatever limits its owner gives it: it is the
// user's to remove (rmdir), like Docker's.
func (s *Subtree) CreateIn(parent, id string, r Resources) (*Group, error) {
	if parent == "" {
		return s.Create(id, r)
	}
	if err := (Place{Parent: parent}).Validate(); err != nil {
		return nil, err
	}
	settings, err := r.settings()
	if err != nil {
		return nil, err
	}
	below, err := s.below(parent, controllers(settings))
	if err != nil {
		return nil, err
	}
	return below.Create(id, r)
}

// below makes the folders of parent and hands the controllers need down to each.
func (s *Subtree) below(parent string, need []string) (*Subtree, error) {
	cur, err := s.handDown(need)
	if err != nil {
		return nil, err
	}
	defer func() { cur.close() }()
	at := *s
	at.within = false // rc stands beside it
	for name := range strings.SplitSeq(strings.Trim(parent, "/"), "/") {
		if err := s.make(cur, name); err != nil && !errors.Is(err, unix.EEXIST) {
			return nil, whyNoGroup(filepath.Join(cur.path, name), err)
		}
		next, err := cur.at(name)
		if err != nil {
			return nil, hint.New("open the cgroup of --cgroup-parent", err, "")
		}
		cur.close()
		cur = next
		at.Path = cur.path
		at.chain = append([]string{cur.path}, at.chain...)
		if missing := without(need, cur.fields(controlFile)); len(missing) > 0 {
			if err := cur.enable(missing); err != nil {
				return nil, at.whyNotEnabled(cur.path, missing, err)
			}
		}
		// As in handDown: for stats and reports, where it costs nobody anything.
		if wish := both(without([]string{"memory", "pids"}, cur.fields(controlFile)), cur.fields(controllersFile)); len(wish) > 0 {
			_ = cur.enable(wish)
		}
	}
	at.chain = slices.Clip(at.chain)
	return &at, nil
}
