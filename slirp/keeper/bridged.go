package keeper

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/unwind"
	"github.com/rc-containers/rc/slirp"
	"github.com/rc-containers/rc/slirp/bridge"
	"github.com/rc-containers/rc/slirp/names"
)

// wires is a container's part of the bridge networks.
type wires struct {
	commons *commons
	world   *bridge.World
	member  names.Member // who it is to others; Endpoints are what it has
	nets    []slirp.Network
}

// bridge puts the container on the networks that r names. After an error it is on
// none of those that it was not on before.
func (a *attachment) bridge(r *slirp.Attach, n0 *os.File) error {
	c := a.keeper.commons
	enter := a.marks.Begin("enter the networks' namespace")
	w, err := c.enter(n0)
	enter.End()
	if err != nil {
		return err
	}
	wait := func() error { return nil }
	if slices.ContainsFunc(r.Endpoints, func(e slirp.Endpoint) bool { return !e.Network.Internal }) {
		wait = c.uplink.want(w)
	}
	var undo unwind.Stack
	defer undo.Run()
	a.wires = &wires{commons: c, world: w, member: names.Member{Name: r.Name, Hostname: r.Hostname, HostLoopback: r.HostLoopback, Servers: r.DNS}}
	again := false // it was on its bridges before we came
	for _, e := range r.Endpoints {
		was, err := a.wires.connect(a, e)
		if err != nil {
			return err
		}
		if again = again || was; !was {
			undo.Push(func() { _ = w.Disconnect(a.id, e.Network.ID) })
		}
	}
	// Who was there before runs, and is not held up by a way out that does not come.
	up := a.marks.Begin("wait for the way out")
	err = wait()
	up.End()
	if err != nil && !again {
		return err
	}
	if r.HostLoopback {
		if err := a.beside(); err != nil {
			return err
		}
	}
	c.names.Set(a.id, a.wires.member)
	undo.Release()
	return nil
}

// connect adds one network; was: the container has been on it.
func (w *wires) connect(a *attachment, e slirp.Endpoint) (was bool, err error) {
	if len(w.nets) >= slirp.MaxEndpoints {
		return false, hint.Newf(attachOp, "", "%d networks are the most for one container", slirp.MaxEndpoints)
	}
	defer a.marks.Begin(e.Network.Name).End()
	got, was, err := w.world.Rejoin(a.id, a.target.netns, e)
	if err != nil {
		return false, err
	}
	if err := w.commons.listen(w.world, &e.Network); err != nil {
		if !was {
			_ = w.world.Disconnect(a.id, e.Network.ID)
		}
		return was, hint.New("answer for the names of network "+e.Network.Name, err, "")
	}
	w.nets = append(w.nets, e.Network)
	w.member.Endpoints = append(slices.Clone(w.member.Endpoints), got)
	return was, nil
}

// leave takes the container off a network while it runs.
func (w *wires) leave(a *attachment, name string) error {
	i := slices.IndexFunc(w.nets, func(n slirp.Network) bool { return n.Name == name })
	if i < 0 {
		return hint.New("disconnect the container from network "+name, fmt.Errorf("it is not on that network: %w", unix.ENOENT), "see `rc inspect`")
	}
	// Nobody shall be told of the address any more before it is gone.
	before := w.member.Endpoints
	w.member.Endpoints = slices.Delete(slices.Clone(before), i, i+1)
	w.commons.names.Set(a.id, w.member)
	if err := w.world.Disconnect(a.id, w.nets[i].ID); err != nil && !errors.Is(err, unix.ENOENT) {
		w.member.Endpoints = before
		w.commons.names.Set(a.id, w.member)
		return err
	}
	w.nets = slices.Delete(slices.Clone(w.nets), i, i+1)
	w.cut(before[i : i+1])
	return nil
}

// cut ends what the container has open to the world from addresses that it had.
func (w *wires) cut(had []slirp.EndpointStatus) {
	for _, e := range had {
		w.commons.uplink.out.cut(e.IP, e.IP6)
	}
}

// maxServers is what resolv.conf(5) takes (MAXNS).
const maxServers = 3

// describe is what the container has now, and where its services are.
func (w *wires) describe() (*slirp.Attached, inside) {
	got := &slirp.Attached{Endpoints: w.member.Endpoints}
	if slices.ContainsFunc(w.nets, func(n slirp.Network) bool { return !n.Internal }) {
		got.Outgoing = w.commons.uplink.out.way()
	}
	for i, n := range w.nets {
		if !n.NoDNS && len(n.Subnets) > 0 && len(got.DNS) < maxServers {
			got.DNS = append(got.DNS, n.Subnets[0].Gateway.String())
		}
		if i == 0 {
			if got.MTU = n.MTU; n.MTU == 0 {
				got.MTU = slirp.MTU
			}
		}
	}
	if len(w.member.Endpoints) == 0 {
		return got, inside{}
	}
	first := w.member.Endpoints[0]
	got.Prefix = first.Prefix
	for text, addr := range map[*string]netip.Addr{&got.IP: first.IP, &got.Gateway: first.Gateway} {
		if addr.IsValid() {
			*text = addr.String()
		}
	}
	return got, insideOf(first)
}

// end gives up the container's names at once, and its addresses when its process has
// ended. It owns the target.
func (w *wires) end(a *attachment) {
	if w.commons.current(a) {
		w.commons.names.Remove(a.id)
	}
	go w.commons.ended(a, a.target)
}

// change alters what is attached.
func (a *attachment) change(c *slirp.Change) (*slirp.Attached, error) {
	a.building.Lock()
	defer a.building.Unlock()
	if a.isClosed() {
		return nil, hint.New("change the container's network", unix.ESRCH, "")
	}
	if err := a.apply(c); err != nil {
		return nil, err
	}
	got, at, err := a.describe()
	if err != nil {
		return nil, err
	}
	if c.Connect != nil || c.Disconnect != "" {
		a.ports.serve(at)
	}
	a.ports.tell(got)
	return got, nil
}

func (a *attachment) apply(c *slirp.Change) error {
	const op = "change the container's network"
	kinds := 0
	for _, set := range []bool{c.Connect != nil, c.Disconnect != "", len(c.Publish)+len(c.Unpublish) > 0, c.Rename != ""} {
		if set {
			kinds++
		}
	}
	if kinds != 1 {
		return hint.New(op, unix.EINVAL, "")
	}
	if len(c.Publish)+len(c.Unpublish) > 0 {
		for _, p := range slices.Concat(c.Publish, c.Unpublish) {
			if err := p.Check(); err != nil {
				return hint.New(op, err, "")
			}
		}
		_, err := a.ports.change(c.Publish, c.Unpublish)
		return err
	}
	if c.Rename != "" {
		a.ports.rename(c.Rename)
		if a.wires != nil {
			a.wires.member.Name = c.Rename
			a.wires.commons.names.Set(a.id, a.wires.member)
		}
		return nil
	}
	if a.wires == nil {
		return hint.Newf(op, "start the container with --network "+slirp.DefaultNetwork, "it is not on a bridge network")
	}
	if c.Disconnect != "" {
		return a.wires.leave(a, c.Disconnect)
	}
	return a.wires.enter(a, *c.Connect)
}

// enter is connect for a container that runs.
func (w *wires) enter(a *attachment, e slirp.Endpoint) error {
	if slices.ContainsFunc(w.nets, func(n slirp.Network) bool { return n.ID == e.Network.ID }) {
		return hint.New("connect the container to network "+e.Network.Name, fmt.Errorf("it is on that network: %w", unix.EEXIST), "")
	}
	wait := func() error { return nil }
	if !e.Network.Internal {
		wait = w.commons.uplink.want(w.world)
	}
	if _, err := w.connect(a, e); err != nil {
		return err
	}
	if err := wait(); err != nil {
		_ = w.leave(a, e.Network.Name)
		return err
	}
	w.commons.names.Set(a.id, w.member)
	return nil
}
