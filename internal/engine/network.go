package engine

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"net/netip"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/spec"
	"github.com/rc-containers/rc/slirp"
)

// findNetworks looks up what --network names, before an image is pulled for it, and
// makes the default network if need be. A network is in use only once a record
// names it: attachment looks again.
func (l *launch) findNetworks() error {
	l.nets = spec.NetworksOf(l.opts)
	uses := l.nets
	for i := range uses {
		n, err := l.e.network(uses[i].Name)
		if err != nil {
			fix := fixOf(err)
			switch {
			case fix != "":
			case errors.As(err, new(unix.Errno)): // main knows what helps against some
			case !errors.Is(err, record.ErrNoNetwork):
				fix = "remove it: rc network rm " + uses[i].Name
			default:
				fix = "see `rc network ls`, or make it: rc network create " + uses[i].Name
			}
			return hint.New(fmt.Sprintf("--network %q", uses[i].Name), hint.Reason(hint.Cause(err)), fix)
		}
		uses[i].Name = n.Name
		if err := checkUse(n, &uses[i]); err != nil {
			return err
		}
		if slices.ContainsFunc(uses[:i], func(u record.NetworkUse) bool { return u.Name == n.Name }) {
			return hint.Newf("--network "+n.Name, "name each network once", "it is named twice")
		}
	}
	return nil
}

// network finds a network by its name or id; the default one is made.
// errors.Is(err, record.ErrNoNetwork) when there is none.
func (e *Engine) network(ref string) (*record.Network, error) {
	n, err := e.Store.FindNetwork(ref)
	if errors.Is(err, record.ErrNoNetwork) && ref == slirp.DefaultNetwork {
		n, err = e.CreateNetwork(&NetworkOptions{Name: ref, Ignore: true, IPv6: onlySix(hostRoutes())})
	}
	return n, err
}

// checkUse refuses addresses that the network cannot give.
func checkUse(n *record.Network, use *record.NetworkUse) error {
	for _, want := range []netip.Addr{use.IP, use.IP6} {
		if !want.IsValid() {
			continue
		}
		op := fmt.Sprintf("give the address %s on network %s", want, n.Name)
		i := slices.IndexFunc(n.Subnets, func(s slirp.Subnet) bool { return s.Prefix.Addr().Is4() == want.Is4() })
		if i < 0 {
			return hint.Newf(op, "make a network with both: rc network create --ipv6 NAME", "it has no subnet of that kind")
		}
		s := n.Subnets[i]
		switch {
		case !s.Prefix.Contains(want):
			return hint.Newf(op, "choose one of "+s.Prefix.String(), "it is not in the network's subnet %s", s.Prefix)
		case want == s.Gateway:
			return hint.Newf(op, "choose another one of "+s.Prefix.String(), "it is the network's gateway")
		case want == s.Prefix.Masked().Addr() || want.Is4() && want == lastOf(s.Prefix):
			return hint.Newf(op, "choose another one of "+s.Prefix.String(), "it means the whole subnet")
		}
	}
	return nil
}

// lastOf is the highest address of a subnet.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for bit := p.Bits(); bit < len(b)*8; bit++ {
		b[bit/8] |= 0x80 >> (bit % 8)
	}
	addr, _ := netip.AddrFromSlice(b)
	return addr
}

// attachment fills in what the shim tells the keeper: each network as it is recorded
// now. The container's record is saved, so that nobody removes one any more.
func (l *launch) attachment() error {
	a := &l.cfg.Attach
	a.Name, a.Hostname, a.Endpoints = l.rec.Name, l.cfg.Spec.Hostname, nil
	if l.cfg.Network != string(spec.KindBridge) {
		return nil
	}
	a.Driver, a.DNS = slirp.DriverBridge, nil
	for _, text := range l.cfg.Again.DNS.Servers {
		if addr, err := netip.ParseAddr(text); err == nil {
			a.DNS = append(a.DNS, addr) // the gateways ask them: see resolvConf
		}
	}
	for i := range l.rec.Networks {
		end, err := l.e.endpoint(&l.rec.Networks[i])
		if err != nil {
			return hint.New("start container "+shortID(l.id), err,
				fmt.Sprintf("make it anew: rc network create %[1]s; or leave it: rc network disconnect %[1]s %[2]s", l.rec.Networks[i].Name, shortID(l.id)))
		}
		a.Endpoints = append(a.Endpoints, *end)
	}
	return nil
}

// endpoint is one container on one network, for the keeper.
func (e *Engine) endpoint(use *record.NetworkUse) (*slirp.Endpoint, error) {
	load := e.Store.LoadNetwork
	if use.Name == slirp.DefaultNetwork {
		load = e.network // the user may have removed it, to have it made with other subnets
	}
	n, err := load(use.Name)
	if err != nil {
		return nil, fmt.Errorf("network %s: %w", use.Name, hint.Cause(err))
	}
	return endpointOn(n, use), nil
}

func endpointOn(n *record.Network, use *record.NetworkUse) *slirp.Endpoint {
	return &slirp.Endpoint{Network: n.Network, Interface: use.Interface, IP: use.IP, IP6: use.IP6, MAC: use.MAC, Aliases: use.Aliases}
}

// attachAgain is attachment for a later start: a container keeps its addresses where
// they are free, so that a restart changes nothing for those who remember them.
func (l *launch) attachAgain() error {
	if err := l.attachment(); err != nil {
		return err
	}
	for i := range l.cfg.Attach.Endpoints {
		end := &l.cfg.Attach.Endpoints[i]
		for _, had := range l.had {
			if had.NetworkID != end.Network.ID {
				continue
			}
			for _, addr := range []netip.Addr{had.IP, had.IP6} {
				if addr.IsValid() {
					end.Last = append(end.Last, addr)
				}
			}
		}
	}
	return nil
}

// NetworkEntry is one network and the containers whose records name it.
type NetworkEntry struct {
	*record.Network
	Driver string // bridge; host and null of those two that are no bridges
	Users  []NetworkUser
}

// NetworkUser is a container on a network.
type NetworkUser struct {
	ID, Name string
	Alive    bool
	Now      *slirp.EndpointStatus // nil: it does not run

	EndpointID string // see Entry.EndpointID
}

// still are the networks that every host has, and nobody makes. Docker lists them.
func still() []*NetworkEntry {
	named := func(name, driver string) *NetworkEntry {
		return &NetworkEntry{Driver: driver, Network: &record.Network{Network: slirp.Network{Name: name, ID: slirp.StillID(name)}}}
	}
	return []*NetworkEntry{named("host", "host"), named("none", "null")}
}

// stillNamed finds one of them by its name or its id; nil for another's.
func stillNamed(ref string) *NetworkEntry {
	for _, n := range still() {
		if ref == n.Name || len(ref) >= 12 && strings.HasPrefix(n.ID, ref) {
			return n
		}
	}
	return nil
}

// Networks lists all networks by name, with host and none.
func (e *Engine) Networks() ([]*NetworkEntry, error) {
	if _, err := e.network(slirp.DefaultNetwork); err != nil {
		e.Warn("the default network is not there yet: " + err.Error())
	}
	list, err := e.Store.Networks()
	if err != nil {
		e.Warn(err.Error())
	}
	entries := still()
	for _, n := range list {
		entries = append(entries, &NetworkEntry{Network: n, Driver: slirp.DriverBridge})
	}
	slices.SortFunc(entries, func(a, b *NetworkEntry) int { return cmp.Compare(a.Name, b.Name) })
	return entries, e.fillUsers(entries)
}

// Network finds one network by name or id, with its containers.
// errors.Is(err, record.ErrNoNetwork) when there is none.
func (e *Engine) Network(ref string) (*NetworkEntry, error) {
	if n := stillNamed(ref); n != nil {
		return n, e.fillUsers([]*NetworkEntry{n})
	}
	n, err := e.network(ref)
	if err != nil {
		return nil, noNetwork("find", ref, err)
	}
	entry := &NetworkEntry{Network: n, Driver: slirp.DriverBridge}
	return entry, e.fillUsers([]*NetworkEntry{entry})
}

func noNetwork(what, ref string, err error) error {
	fix := fixOf(err)
	if fix == "" {
		fix = "see `rc network ls`"
	}
	return hint.New(fmt.Sprintf("%s network %q", what, ref), hint.Reason(hint.Cause(err)), fix).WithCode(1)
}

func (e *Engine) fillUsers(entries []*NetworkEntry) error {
	ids, err := e.Store.ContainerIDs()
	if err != nil {
		return hint.New("list the containers", hint.Cause(err), "")
	}
	for _, id := range ids {
		c, err := e.Load(id)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			e.Warn("container " + shortID(id) + ": " + err.Error())
			continue
		}
		for _, n := range entries {
			if user, on := n.user(c); on {
				n.Users = append(n.Users, user)
			}
		}
	}
	return nil
}

// EndpointID is 64 digits for a container on a network during one of its lives, as
// Docker's are; of "" its sandbox. Nothing is made with it: it is there for programs that
// compare it, or use it as a key.
func (c *Entry) EndpointID(networkID string) string {
	id := ""
	for _, half := range []string{"1", "2"} {
		h := fnv.New128a()
		fmt.Fprintln(h, half, c.ID, networkID, c.State.Started.UnixNano())
		id += hex.EncodeToString(h.Sum(nil))
	}
	return id
}

// user tells whether a container is on the network.
func (n *NetworkEntry) user(c *Entry) (NetworkUser, bool) {
	u := NetworkUser{ID: c.ID, Name: c.Name, Alive: c.Alive}
	if n.Driver != slirp.DriverBridge {
		if c.Alive {
			u.EndpointID = c.EndpointID(n.ID)
		}
		return u, c.Network == n.Name
	}
	if c.Alive && c.State.Net != nil {
		for i := range c.State.Net.Endpoints {
			if end := &c.State.Net.Endpoints[i]; end.Network == n.Name {
				u.Now, u.EndpointID = end, c.EndpointID(n.ID)
			}
		}
	}
	return u, slices.ContainsFunc(c.Networks, func(use record.NetworkUse) bool { return use.Name == n.Name })
}
