package shim

import (
	"errors"

	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/trace"
	"github.com/rc-containers/rc/slirp"
)

// keptNetwork tells whether the container's network is the keeper's.
func (s *shim) keptNetwork() bool {
	switch s.cfg.Network {
	case slirp.DriverBridge, slirp.DriverSlirp, slirp.DriverPasta:
		return true
	}
	return false
}

// knock connects to the keeper, which looks who that is while we mount. nil: there is
// nobody, or nothing to ask for.
func (s *shim) knock() *slirp.Client {
	defer trace.Begin("knock at the keeper").End()
	if !s.keptNetwork() {
		return nil
	}
	client, err := slirp.Dial(s.cfg.Runtime)
	if err != nil {
		return nil // attachNetwork does what can be done
	}
	s.undo.Push(client.Close)
	return client
}

// attachNetwork asks the keeper, to which it may be connected already, for the
// container's network while init mounts.
func (s *shim) attachNetwork(keeper *slirp.Client) <-chan error {
	result := make(chan error, 1)
	if !s.keptNetwork() {
		result <- nil
		return result
	}
	s.net = s.newNetwork(s.cfg.Attach)
	s.net.attach.PID = s.init.PID
	s.net.n0 = s.files["n0"] // of the life before
	delete(s.files, "n0")
	s.undo.Push(s.net.down) // here: the stack is this goroutine's
	span := trace.Apart("attach the network")
	s.net.askAhead(keeper) // here: with one processor, a goroutine runs when we wait
	go func() {
		defer span.End()
		attached, err := s.net.up()
		if s.byPolicy && errors.Is(err, slirp.ErrNoKeeper) {
			// As for a container that runs: when there is a keeper, the network comes back.
			go s.net.watch(nil)
			attached, err = s.snapshot().Net, nil
		}
		if err == nil {
			s.update(func(st *record.State) { st.Net = attached })
			s.nameItself(attached)
		}
		result <- err
	}()
	return result
}

// newNetwork is the attachment of this container.
func (s *shim) newNetwork(a slirp.Attach) *network {
	return &network{runtime: s.cfg.Runtime, keeper: s.cfg.Keeper, attach: a, changed: s.networkIs}
}

// nameItself writes the address that the container got on its bridge networks into
// its hosts file. With slirp4netns and pasta rc knew it before.
func (s *shim) nameItself(now *slirp.Attached) {
	if now == nil || !s.net.attach.Bridged() {
		return
	}
	var before *slirp.Attached // of a restart by policy: rc wrote no file anew
	if s.byPolicy && s.before != nil {
		before = s.before.Net
	}
	s.writeAddresses(before, now)
}
