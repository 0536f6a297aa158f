package bridge

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/slirp"
)

// network is one bridge and who is on it.
type network struct {
	slirp.Network
	bridge string // its name
	index  int
	v4, v6 *pool // nil: it has none of this family
	ports  int   // those of branches too

	branches []*branch
	empty    time.Time // since when it has no ports
}

// bridgeName is the name of a network's bridge: 15 bytes, all that there is room for
// (IFNAMSIZ), and not a name that the user gave.
func bridgeName(networkID string) string { return "rc-" + short(networkID) }

// checkNetwork refuses what could not be built, or read again by Open. It comes from
// the record of the user's own networks, through a shim.
func checkNetwork(n slirp.Network) error {
	switch {
	case len(n.ID) != 64 || strings.Trim(n.ID, "0123456789abcdef") != "":
		return fmt.Errorf("the ID %q is not 64 hex digits: %w", n.ID, unix.EINVAL)
	case n.Name == "" || len(n.Name) > 128 || strings.ContainsFunc(n.Name, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		return fmt.Errorf("the name %q: %w", n.Name, unix.EINVAL)
	case n.MTU != 0 && (n.MTU < 68 || n.MTU > slirp.MTU):
		return fmt.Errorf("an MTU of %d (68 to %d): %w", n.MTU, slirp.MTU, unix.ERANGE)
	case len(n.Subnets) == 0 || len(n.Subnets) > 2 || len(n.Subnets) == 2 && n.Subnets[0].Prefix.Addr().Is4() == n.Subnets[1].Prefix.Addr().Is4():
		return fmt.Errorf("%d subnets, not one of IPv4, one of IPv6, or both: %w", len(n.Subnets), unix.EINVAL)
	}
	for _, s := range n.Subnets {
		if err := checkSubnet(s); err != nil {
			return err
		}
		if s.Prefix.Addr().Is6() && n.MTU != 0 && n.MTU < 1280 {
			return fmt.Errorf("an MTU of %d is too small for IPv6 (1280, RFC 8200): %w", n.MTU, unix.ERANGE)
		}
	}
	return nil
}

func checkSubnet(s slirp.Subnet) error {
	a := s.Prefix.Addr()
	switch {
	case !s.Prefix.IsValid() || s.Prefix != s.Prefix.Masked() || a.Is4In6() || a.Zone() != "":
		return fmt.Errorf("the subnet %s: %w", s.Prefix, unix.EINVAL)
	case a.IsLoopback() || a.IsMulticast() || a.IsLinkLocalUnicast() || a.IsUnspecified():
		return fmt.Errorf("%s is not for a network: %w", s.Prefix, unix.EADDRNOTAVAIL)
	case s.Prefix.Bits() > a.BitLen()-2:
		return fmt.Errorf("%s has no room for a gateway and a container: %w", s.Prefix, unix.ENOSPC)
	case !s.Prefix.Contains(s.Gateway) || (&pool{Subnet: s}).reserved(s.Gateway):
		return fmt.Errorf("the gateway %s is not a usable address of %s: %w", s.Gateway, s.Prefix, unix.ERANGE)
	case s.Range.IsValid() && (s.Range != s.Range.Masked() || s.Range.Bits() < s.Prefix.Bits() || !s.Prefix.Contains(s.Range.Addr())):
		return fmt.Errorf("the range %s is not in %s: %w", s.Range, s.Prefix, unix.ERANGE)
	}
	return nil
}

// need is the network's bridge, made if it is not there.
func (w *World) need(n slirp.Network) (*network, error) {
	if err := checkNetwork(n); err != nil {
		return nil, err
	}
	if has := w.networks[short(n.ID)]; has != nil {
		if has.ID != n.ID {
			return nil, fmt.Errorf("network %q begins with the same 12 digits: %w", has.Name, unix.EEXIST)
		}
		has.Name = n.Name // the record's, it may have been renamed
		return has, nil
	}
	for _, other := range w.networks {
		p, overlaps := overlap(other.Network, n)
		switch {
		case !overlaps:
		case other.ports == 0: // removed, perhaps, and its subnet is another's now
			if err := w.drop(other); err != nil {
				return nil, err
			}
		default:
			return nil, fmt.Errorf("its subnet overlaps %s of network %q, which is in use: %w", p, other.Name, errOverlap)
		}
	}
	own := slirp.Network{Subnets: []slirp.Subnet{{Prefix: w.filter.way.Prefix}, {Prefix: uplink6}}}
	if p, overlaps := overlap(own, n); overlaps {
		return nil, fmt.Errorf("its subnet overlaps %s, which slirp4netns has: %w", p, errOverlap)
	}
	return w.build(n)
}

// errOverlap is EADDRINUSE too, with another advice than one taken address.
var errOverlap = fmt.Errorf("%w", unix.EADDRINUSE)

func overlap(a, b slirp.Network) (netip.Prefix, bool) {
	for _, s := range a.Subnets {
		for _, t := range b.Subnets {
			if s.Prefix.Overlaps(t.Prefix) {
				return s.Prefix, true
			}
		}
	}
	return netip.Prefix{}, false
}

// newNetwork is a network as it will be; a kernel without IPv6 leaves that out.
func (w *World) newNetwork(n slirp.Network, index int) *network {
	has := &network{Network: n, bridge: bridgeName(n.ID), index: index, empty: time.Now()}
	if has.MTU == 0 {
		has.MTU = slirp.MTU
	}
	for _, s := range n.Subnets {
		switch {
		case s.Prefix.Addr().Is4():
			has.v4 = newPool(s)
		case w.ipv6:
			has.v6 = newPool(s)
		}
	}
	return has
}

// build makes the bridge of a network: the filter first, so that there is never a
// bridge without it. 2 ms, once a network.
func (w *World) build(n slirp.Network) (*network, error) {
	has := w.newNetwork(n, w.nextIndex())
	if len(has.pools()) == 0 {
		return nil, fmt.Errorf("it has only IPv6, and this kernel has none: %w", unix.EAFNOSUPPORT)
	}
	if err := w.filter.add(has); err != nil {
		return nil, err
	}
	err := w.raise(has)
	if err != nil {
		_ = w.route.run(deleteLink(has.bridge))
		return nil, errors.Join(err, w.filter.remove(has))
	}
	w.networks[short(n.ID)] = has
	w.plan()
	return has, nil
}

func (w *World) raise(has *network) error {
	make := newBridge(has.index, has.bridge, macOf(has.gateways()[0]))
	err := w.route.run(make)
	if errors.Is(err, unix.EEXIST) {
		// One that could not be removed when it was to go. Nobody we know is on it.
		err = w.route.run(deleteLink(has.bridge), make)
	}
	if err != nil {
		return err
	}
	if has.v6 != nil {
		if err := setSysctl("net/ipv6/conf/"+has.bridge+"/disable_ipv6", "0"); err != nil {
			return err
		}
	}
	requests := []request{setAlias(has.index, has.alias(), has.MTU, true)}
	for _, p := range has.pools() {
		requests = append(requests, newAddress(has.index, netip.PrefixFrom(p.Gateway, p.Prefix.Bits())))
	}
	return w.route.run(requests...)
}

// pools are those that it has, IPv4 first.
func (n *network) pools() []*pool {
	var list []*pool
	for _, p := range []*pool{n.v4, n.v6} {
		if p != nil {
			list = append(list, p)
		}
	}
	return list
}

func (n *network) gateways() []netip.Addr {
	var list []netip.Addr
	for _, p := range n.pools() {
		list = append(list, p.Gateway)
	}
	return list
}

// drop removes the bridge of a network that nobody is on.
func (w *World) drop(n *network) error {
	if w.options.Dropped != nil {
		w.options.Dropped(n.ID)
	}
	delete(w.networks, short(n.ID))
	var failed []error
	for _, b := range n.branches {
		failed = append(failed, w.cutBranch(b))
	}
	err := w.route.run(deleteLink(n.bridge))
	if errors.Is(err, unix.ENODEV) {
		err = nil
	}
	return errors.Join(errors.Join(failed...), err, w.filter.remove(n))
}

// nextIndex is a free index of a link of N0. It grows only, so that the index of a link
// that is gone is never another's: the filter knows ports by it.
func (w *World) nextIndex() int {
	w.index++
	return w.index
}

// setSysctl writes what it must, in the namespaces of this thread (each of
// /proc/sys/net is that of whoever opens it). A name that does not exist is an error
// only if optional is not given.
func setSysctl(name, value string) error {
	path := "/proc/sys/" + name
	if has, err := os.ReadFile(path); err == nil && strings.TrimSpace(string(has)) == value {
		return nil // where /proc/sys is read-only, what is right already must do
	}
	return os.WriteFile(path, []byte(value), 0)
}
