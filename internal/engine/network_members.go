package engine

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/spec"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/stage/control"
	"github.com/rc-containers/rc/slirp"
)

// changeTimeout bounds a change of a live container's network: its shim may wait for
// a keeper that is being started anew.
const changeTimeout = 20 * time.Second

// alter changes the record of a container that is not to be started or to end
// meanwhile, and what runs. It holds the life lock of one at rest; of a live one it
// asks the shim, by what change gives back for it (nil: nothing to ask). What the shim
// refuses is not recorded.
func (e *Engine) alter(entry *Entry, op string, change func(c *record.Container) (*slirp.Change, error), after func(c *record.Container, now *slirp.Attached) error) error {
	life, err := e.Store.TakeLife(entry.ID)
	if errors.Is(err, unix.EWOULDBLOCK) && !entry.Alive {
		life, err = e.takeLife(entry.ID, op) // of another command, for a moment; or it has just been started
	}
	atRest := err == nil
	if atRest {
		defer e.Store.DropLife(entry.ID, life)
	} else if !errors.Is(err, unix.EWOULDBLOCK) {
		return hint.New(op, hint.Cause(err), diskFix(err)).WithCode(1)
	}
	err = e.Store.EditContainer(entry.ID, func(c *record.Container) error {
		asked, err := change(c)
		if err != nil {
			return err
		}
		var now *slirp.Attached
		if !atRest && asked != nil {
			if now, err = e.changeNetwork(entry.ID, asked); err != nil {
				return err
			}
		}
		if after == nil {
			return nil
		}
		return after(c, now)
	})
	if err == nil {
		return nil
	}
	fix := fixOf(err)
	if fix == "" {
		fix = diskFix(err)
	}
	return hint.New(op, prefixed(hint.Cause(err)), fix).WithCode(1)
}

// changeNetwork asks the shim of a live container.
func (e *Engine) changeNetwork(id string, change *slirp.Change) (*slirp.Attached, error) {
	path, err := e.Store.ControlPath(id)
	if err != nil {
		return nil, err
	}
	r, files, err := control.Ask(path, control.Request{Op: control.OpNetwork, Network: change}, changeTimeout)
	if err != nil {
		return nil, err
	}
	stage.CloseFiles(files)
	if r.State == nil || r.State.Net == nil {
		return nil, errors.New("the container's shim does not say what it has now")
	}
	return r.State.Net, nil
}

// Connect puts a container on one network more; one that runs gets the interface at
// once. use names the network.
func (e *Engine) Connect(use record.NetworkUse, ref string) error {
	op := fmt.Sprintf("connect container %s to network %s", ref, use.Name)
	entry, err := e.find(ref, op)
	if err != nil {
		return err
	}
	if entry.Network != string(spec.KindBridge) {
		return hint.Newf(op, "make it again with --network "+slirp.DefaultNetwork, "its network is %s: only one on bridge networks can have more of them", entry.Network).WithCode(1)
	}
	n, err := e.network(use.Name)
	if err != nil {
		return noNetwork("find", use.Name, err)
	}
	use.Name = n.Name
	if err := checkUse(n, &use); err != nil {
		return hint.New(op, prefixed(err), fixOf(err)).WithCode(1)
	}
	lock, err := e.Store.LockNetworks() // so that it is not removed before the record names it
	if err != nil {
		return hint.New(op, hint.Cause(err), diskFix(err)).WithCode(1)
	}
	defer lock.Close()
	err = e.alter(entry, op, func(c *record.Container) (*slirp.Change, error) {
		switch {
		case slices.ContainsFunc(c.Networks, func(have record.NetworkUse) bool { return have.Name == n.Name }):
			return nil, hint.Newf("", "", "it is on that network already")
		case len(c.Networks) >= slirp.MaxEndpoints:
			return nil, hint.Newf("", "disconnect it from another one", "it is on %d networks, the most that are possible", slirp.MaxEndpoints)
		}
		c.Networks = append(c.Networks, use)
		now, err := e.Store.LoadNetwork(n.Name)
		if err != nil {
			return nil, err
		}
		return &slirp.Change{Connect: endpointOn(now, &use)}, nil
	}, nil)
	if err == nil && entry.Alive { // another one is connected when it starts
		e.networkEvent("connect", n, entry.ID)
	}
	return err
}

// Disconnect takes a container off a network; one that runs loses the interface at
// once. Force takes it off its record even if the interface cannot be removed.
func (e *Engine) Disconnect(network, ref string, force bool) error {
	op := fmt.Sprintf("disconnect container %s from network %s", ref, network)
	entry, err := e.find(ref, op)
	if err != nil {
		return err
	}
	event := &record.Network{Network: slirp.Network{Name: network}}
	if n, err := e.Store.FindNetwork(network); err == nil {
		event, network = n, n.Name // it was named by its id, perhaps
	}
	err = e.alter(entry, op, func(c *record.Container) (*slirp.Change, error) {
		i := slices.IndexFunc(c.Networks, func(have record.NetworkUse) bool { return have.Name == network })
		if i < 0 {
			return nil, hint.Newf("", "see its networks: rc inspect -f '{{json .NetworkSettings.Networks}}' "+ref, "it is not on that network")
		}
		c.Networks = slices.Delete(c.Networks, i, i+1)
		if force {
			if alive, _ := e.Store.Alive(c.ID); alive {
				if _, err := e.changeNetwork(c.ID, &slirp.Change{Disconnect: network}); err != nil {
					e.Warn(op + ": its interface stays until it is started again: " + err.Error())
				}
			}
			return nil, nil
		}
		return &slirp.Change{Disconnect: network}, nil
	}, nil)
	if err == nil && entry.Alive {
		e.networkEvent("disconnect", event, entry.ID)
	}
	return err
}

// RemoveNetwork removes a network that no container's record names, whatever the
// container's state. With force its containers are removed first: the result names
// them.
func (e *Engine) RemoveNetwork(ref string, force bool) (removed []string, err error) {
	op := "remove network " + ref
	if stillNamed(ref) != nil {
		return nil, hint.Newf(op, "leave it out", "it is the host's own, and no network of yours").WithCode(1)
	}
	n, err := e.Store.FindNetwork(ref)
	switch {
	case err == nil:
	case errors.Is(err, record.ErrNoNetwork) || fixOf(err) != "":
		return nil, noNetwork("remove", ref, err)
	default: // it cannot be read, and goes all the same
		n = &record.Network{Network: slirp.Network{Name: ref}}
	}
	for try := 0; ; try++ {
		err = e.removeNetwork(n.Name)
		if !errors.Is(err, record.ErrNetworkInUse) || try > 1 {
			break
		}
		users, uerr := e.Store.NetworkUsers()
		if uerr != nil {
			return removed, uerr
		}
		for _, id := range users[n.Name] {
			if !force {
				_ = e.reconcile(id) // what a killed command left half made does not keep it
				continue
			}
			if _, err := e.Remove(id, true, true); err != nil && !errors.Is(err, record.ErrNoContainer) {
				return removed, err
			}
			removed = append(removed, id)
		}
	}
	if err != nil {
		fix := "remove it, or take it off: rc network disconnect; rc network rm -f removes the containers, too"
		if !errors.Is(err, record.ErrNetworkInUse) {
			fix = fixOf(err)
		}
		return removed, hint.New(op, hint.Reason(hint.Cause(err)), fix).WithCode(1)
	}
	e.networkEvent("destroy", n, "")
	return removed, nil
}

func (e *Engine) removeNetwork(name string) error {
	lock, err := e.Store.LockNetworks()
	if err != nil {
		return err
	}
	defer lock.Close()
	return e.Store.RemoveNetwork(name)
}

// PruneNetworks removes the networks that no container's record names, but for the
// default one, which would be made again.
func (e *Engine) PruneNetworks(f *PruneFilter) (*Pruned, error) {
	list, err := e.Store.Networks()
	if err != nil && len(list) == 0 {
		return nil, hint.New("list the networks", hint.Cause(err), "")
	}
	users, err := e.Store.NetworkUsers()
	if err != nil {
		return nil, err
	}
	p := &Pruned{}
	var failed []error
	for _, n := range list {
		if n.Name == slirp.DefaultNetwork || len(users[n.Name]) > 0 || !f.takes(n.CreatedAt, n.Labels) {
			continue
		}
		switch err := e.removeNetwork(n.Name); {
		case errors.Is(err, record.ErrNetworkInUse), errors.Is(err, record.ErrNoNetwork):
		case err != nil:
			failed = append(failed, hint.New("remove network "+n.Name, hint.Cause(err), ""))
		default:
			e.networkEvent("destroy", n, "")
			p.Removed = append(p.Removed, n.Name)
		}
	}
	e.pruneEvent("network", 0)
	return p, errors.Join(failed...)
}
