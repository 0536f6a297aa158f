package engine

import (
	"errors"
	"fmt"

	"github.com/rc-containers/rc/cgroup"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/spec"
	"github.com/rc-containers/rc/slirp"
)

// Rename gives a container another name. The new one is claimed before the record
// changes and the old one freed after: at no moment is the container without one.
func (e *Engine) Rename(ref, name string) error {
	op := fmt.Sprintf("rename container %s to %q", ref, name)
	entry, err := e.find(ref, op)
	if err != nil {
		return err
	}
	if err := spec.CheckName(name); err != nil {
		return hint.New(op, hint.Reason(err), fixOf(err)).WithCode(1)
	}
	if name == entry.Name {
		return hint.Newf(op, "choose another name", "that is its name already").WithCode(1)
	}
	old, claimed := "", false
	err = e.Store.EditContainer(entry.ID, func(c *record.Container) error {
		old, c.Name = c.Name, name
		if holder, err := e.Store.NameHolder(name); err == nil && holder == entry.ID {
			return nil // of a rename that was killed
		}
		_, err := e.claimName(name, entry.ID)
		claimed = err == nil
		return err
	})
	if err != nil {
		if claimed {
			_ = e.Store.DropName(name, entry.ID)
		}
		fix := fixOf(err)
		if fix == "" {
			fix = diskFix(err)
		}
		return hint.New(op, hint.Reason(hint.Cause(err)), fix).WithCode(1)
	}
	dropOther(e.Store, old, entry.ID, e.Store.EditContainer)
	entry.Name = name
	if entry.Alive && spec.NamespaceKind(entry.Network).Kept() { // who wants its ports is told the name, too
		_, err := e.changeNetwork(entry.ID, &slirp.Change{Rename: name})
		if err != nil && entry.Network == string(spec.KindBridge) {
			e.Warn("others on its networks find the container by its new name after its next start: " + hint.Reason(err).Error())
		}
	}
	e.event(&entry.Container, "rename", map[string]string{"oldName": old})
	return nil
}

// Change is what `rc update` changes; nil means: as it is.
type Change struct {
	Restart *record.RestartPolicy
	Limits  func(*cgroup.Resources) error // changes some of the limits; nil for none

	Unpublish []slirp.Port // see republish
	Publish   []slirp.Port

	Warnings []string // each told once it is done
}

// Update changes the limits, the restart policy and the published ports of a
// container, running or not.
func (e *Engine) Update(ref string, ch Change) error {
	op := "update container " + ref
	entry, err := e.find(ref, op)
	if err != nil {
		return err
	}
	if ch.Restart != nil && ch.Restart.Name != "" && entry.AutoRemove {
		return hint.Newf(op, "leave out --restart", "it was made with --rm").WithCode(1)
	}
	// One lock for both files: two updates at once do not lose each other's.
	err = e.Store.EditContainer(entry.ID, func(c *record.Container) error {
		if ch.Restart != nil {
			c.Restart = *ch.Restart
		}
		if ch.Limits == nil {
			return nil
		}
		return e.updateLimits(entry, ch.Limits)
	})
	if err != nil {
		fix := fixOf(err)
		if fix == "" {
			fix = diskFix(err)
		}
		return hint.New(op, whichLimit(err), fix).WithCode(1)
	}
	if len(ch.Unpublish)+len(ch.Publish) > 0 {
		if err := e.republish(entry, op, ch.Unpublish, ch.Publish); err != nil {
			return err
		}
	}
	for _, w := range ch.Warnings {
		e.Warn(w)
	}
	e.event(&entry.Container, "update", nil)
	if ch.Restart != nil {
		entry.Restart = *ch.Restart
		e.readyForRestart(&entry.Container)
	}
	return nil
}

// whichLimit is the reason of a refusal with the flag that it is about.
func whichLimit(err error) error {
	var h *hint.Error
	if errors.As(err, &h) && h.Op != "" {
		return fmt.Errorf("%s: %w", h.Op, h.Err)
	}
	return err
}

// updateLimits applies the limits to what runs, then keeps them for later starts.
func (e *Engine) updateLimits(entry *Entry, change func(*cgroup.Resources) error) error {
	cfg, err := e.LoadConfig(entry.ID)
	if err != nil {
		return err
	}
	before := cfg.Again.Resources
	if err := change(&cfg.Again.Resources); err != nil {
		return err
	}
	if err := cfg.Again.Resources.Validate(); err != nil {
		return err
	}
	group, place := entry.State.Cgroup, cfg.Again.Place
	switch {
	case place.Mode == cgroup.PlaceDisabled && !cfg.Again.Resources.Empty():
		return hint.Newf("change the limits", "make it again without --cgroups=disabled", "it runs without a cgroup, and nothing is limited")
	case entry.Alive && group == "":
		return hint.Newf("change the limits", "see `rc info`, then restart the container", "it runs without a cgroup of its own")
	case entry.Alive:
		if err := cgroup.Open(group).Update(before, cfg.Again.Resources); err != nil {
			return err
		}
	default:
		if cfg.Again.Resources.Empty() || place.Fallback {
			break
		}
		if _, err := e.place(place); err != nil {
			return err
		}
	}
	return e.saveConfig(cfg)
}

// dropOldName frees a name that a killed rename left behind beside the other one.
// A rename that is at work holds the folder's lock: then it is none.
func (e *Engine) dropOldName(name, holder string) bool {
	return dropOther(e.Store, name, holder, e.Store.TryEditContainer)
}

// dropOther frees a name of a container that has another by now. Under the lock: a
// rename back to it may be under way.
func dropOther(s *record.Store, name, id string, edit func(string, func(*record.Container) error) error) bool {
	freed := false
	_ = edit(id, func(c *record.Container) error {
		if c.Name != name && c.Name != "" {
			freed = s.DropName(name, id) == nil
		}
		return errNoChange
	})
	return freed
}

var errNoChange = errors.New("nothing to save")
