package engine

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/spec"
	"github.com/rc-containers/rc/slirp"
)

// NetworkOptions are the flags of `rc network create`, as typed.
type NetworkOptions struct {
	Name     string // "": a random one
	Subnets  []string
	Gateways []string // each belongs to the subnet that has it, as do Ranges
	Ranges   []string
	IPv6     bool
	NoIPv4   bool
	Internal bool
	NoDNS    bool
	Ignore   bool     // one that exists is the result
	Options  []string // KEY=VALUE
	Labels   map[string]string
}

// CreateNetwork makes a network, durably. Nothing of it exists but its record until
// a container is attached to it.
func (e *Engine) CreateNetwork(o *NetworkOptions) (*record.Network, error) {
	n := &record.Network{Network: slirp.Network{Name: o.Name, ID: randomID(), Internal: o.Internal, NoDNS: o.NoDNS}, Labels: o.Labels, CreatedAt: time.Now()}
	if n.Name == "" {
		n.Name = "network_" + n.ID[:12]
	}
	if err := spec.CheckNetworkName(n.Name); err != nil {
		return nil, err
	}
	op := "make network " + n.Name
	if err := networkOptions(n, o.Options); err != nil {
		return nil, hint.New(op, prefixed(err), fixOf(err)).WithCode(1)
	}
	lock, err := e.Store.LockNetworks()
	if err != nil {
		return nil, hint.New(op, hint.Cause(err), diskFix(err)).WithCode(1)
	}
	defer lock.Close()
	if have, err := e.Store.LoadNetwork(n.Name); err == nil {
		if o.Ignore {
			return have, nil
		}
		return nil, hint.New(op, record.ErrNetworkExists, "choose another name, or leave it as it is: --ignore").WithCode(1)
	}
	if err := e.chooseSubnets(n, o); err != nil {
		return nil, hint.New(op, prefixed(err), fixOf(err)).WithCode(1)
	}
	if err := e.Store.SaveNetwork(n); err != nil {
		fix := diskFix(err)
		if errors.Is(err, record.ErrNetworkExists) {
			fix = "remove it: rc network rm " + n.Name // it cannot be read
		}
		return nil, hint.New(op, hint.Cause(err), fix).WithCode(1)
	}
	e.networkEvent("create", n, "")
	return n, nil
}

// networkEvent never fails a verb.
func (e *Engine) networkEvent(action string, n *record.Network, container string) {
	attrs := map[string]string{"name": n.Name, "type": slirp.DriverBridge}
	if container != "" {
		attrs["container"] = container
	}
	_ = e.Store.AppendEvent("network", action, n.ID, attrs)
}

// prefixed is the reason of a refusal with the flag that it is about.
func prefixed(err error) error {
	var h *hint.Error
	if errors.As(err, &h) && h.Op != "" {
		return fmt.Errorf("%s: %w", h.Op, h.Err)
	}
	return hint.Reason(err)
}

// sure are options of Docker's and podman's bridges whose one value is what every
// network here is like, and why there is no other.
var sure = map[string]struct{ value, why, fix string }{
	"isolate":                              {"true strict", "networks never reach each other here", "put containers that shall meet on one network"},
	"com.docker.network.bridge.enable_icc": {"true", "containers on one network always reach each other", "put them on networks of their own"},
	"com.docker.network.bridge.enable_ip_masquerade": {"true", "the way out is through a process of yours, by its address", "to have no way out: --internal"},
}

// networkOptions reads --opt.
func networkOptions(n *record.Network, options []string) error {
	for _, option := range options {
		key, value, _ := strings.Cut(option, "=")
		op := "--opt " + option
		switch one, known := sure[key]; {
		case key == "mtu" || key == "com.docker.network.driver.mtu":
			mtu, err := strconv.Atoi(value)
			if err != nil || mtu < 68 || mtu > slirp.MTU { // the least of IPv4: RFC 791, section 3.2
				return hint.Newf(op, fmt.Sprintf("write a number of bytes, from 68 to %d", slirp.MTU), "not a size of packets")
			}
			n.MTU = mtu
		case known:
			if !slices.Contains(strings.Fields(one.value), value) {
				return hint.Newf(op, one.fix, "%s", one.why)
			}
		default:
			return hint.Newf(op, "the options are mtu=BYTES and isolate=true", "no such option")
		}
		if n.Options == nil {
			n.Options = map[string]string{}
		}
		n.Options[key] = value
	}
	return nil
}

// chooseSubnets takes what the user named and chooses what is missing. The caller
// holds the lock of the networks.
func (e *Engine) chooseSubnets(n *record.Network, o *NetworkOptions) error {
	taken := &avoided{networks: map[netip.Prefix]string{uplinkSubnet: "the way out, slirp4netns"}, host: hostNetworks()}
	others, _ := e.Store.Networks()
	for _, other := range others {
		for _, s := range other.Subnets {
			taken.networks[s.Prefix] = "network " + other.Name
		}
	}
	for _, text := range o.Subnets {
		p, err := parseSubnet(text)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(n.Subnets, func(s slirp.Subnet) bool { return s.Prefix.Addr().Is4() == p.Addr().Is4() }) {
			return hint.Newf("--subnet "+text, "make a network of its own for it", "a network has one subnet of IPv4 and one of IPv6 at most")
		}
		if whose := (&avoided{networks: taken.networks}).overlaps(p); whose != "" {
			return hint.Newf("--subnet "+text, "choose another one, or leave --subnet out", "it overlaps %s", whose)
		}
		if whose := taken.overlaps(p); whose != "" { // the user's own wish
			e.Warn("network " + n.Name + ": its subnet " + text + " overlaps " + whose + ": its containers will not reach what is there")
		}
		n.Subnets = append(n.Subnets, slirp.Subnet{Prefix: p})
	}
	if err := fillSubnets(n, o, taken); err != nil {
		return err
	}
	for i := range n.Subnets {
		if n.MTU > 0 && n.MTU < 1280 && n.Subnets[i].Prefix.Addr().Is6() {
			return hint.Newf("--opt mtu="+strconv.Itoa(n.MTU), "give 1280 or more", "IPv6 has no packets as small (RFC 8200, section 5)")
		}
	}
	return placeGateways(n, o)
}

// fillSubnets chooses the subnets that nobody named.
func fillSubnets(n *record.Network, o *NetworkOptions, taken *avoided) error {
	has := func(v4 bool) bool {
		return slices.ContainsFunc(n.Subnets, func(s slirp.Subnet) bool { return s.Prefix.Addr().Is4() == v4 })
	}
	switch {
	case o.NoIPv4 && has(true):
		return hint.Newf("--ipv4=false", "leave one out", "a subnet of IPv4 is named")
	case o.NoIPv4 && !o.IPv6 && !has(false):
		return hint.Newf("--ipv4=false", "add --ipv6", "nothing is left")
	}
	if !o.NoIPv4 && !has(true) {
		p, err := freeSubnet(n.Name, taken)
		if err != nil {
			return err
		}
		n.Subnets = append([]slirp.Subnet{{Prefix: p}}, n.Subnets...)
	}
	if o.IPv6 && !has(false) {
		p, err := freeSubnet6(taken)
		if err != nil {
			return err
		}
		n.Subnets = append(n.Subnets, slirp.Subnet{Prefix: p})
	}
	return nil
}

// parseSubnet wants a network's address with room for the gateway and a container.
func parseSubnet(text string) (netip.Prefix, error) {
	op := "--subnet " + text
	p, err := netip.ParsePrefix(text)
	switch {
	case err != nil || p.Addr().Is4In6():
		return p, hint.Newf(op, "write ADDRESS/BITS, as in 10.89.0.0/24 or fd00:1:2:3::/64", "not a subnet")
	case p.Masked() != p:
		return p, hint.Newf(op, "write "+p.Masked().String(), "the address is not the first of the subnet")
	case p.Addr().Is4() && (p.Bits() < 8 || p.Bits() > 30), p.Addr().Is6() && (p.Bits() < 16 || p.Bits() > 126):
		return p, hint.Newf(op, "choose from /8 to /30 of IPv4, from /16 to /126 of IPv6", "of this size no network can be made")
	}
	for _, bad := range []string{"0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3", "::/16", "fe80::/10", "ff00::/8"} {
		if netip.MustParsePrefix(bad).Overlaps(p) {
			return p, hint.Newf(op, "choose one of 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 or fd00::/8", "it overlaps %s, which has a meaning of its own", bad)
		}
	}
	return p, nil
}

// placeGateways gives each subnet its gateway and its range.
func placeGateways(n *record.Network, o *NetworkOptions) error {
	for _, text := range o.Gateways {
		addr, err := netip.ParseAddr(text)
		i := slices.IndexFunc(n.Subnets, func(s slirp.Subnet) bool { return err == nil && s.Prefix.Contains(addr) })
		op := "--gateway " + text
		switch {
		case err != nil:
			return hint.Newf(op, "write an address of the subnet", "not an address")
		case i < 0:
			return hint.Newf(op, "name the subnet, too: --subnet", "no subnet of the network has it")
		case n.Subnets[i].Gateway.IsValid():
			return hint.Newf(op, "give one", "the subnet has a gateway already")
		case addr == n.Subnets[i].Prefix.Addr() || addr.Is4() && addr == lastOf(n.Subnets[i].Prefix):
			return hint.Newf(op, "choose another address", "it means the whole subnet")
		}
		n.Subnets[i].Gateway = addr
	}
	for _, text := range o.Ranges {
		p, err := netip.ParsePrefix(text)
		op := "--ip-range " + text
		if err != nil || p.Masked() != p {
			return hint.Newf(op, "write ADDRESS/BITS, as in 10.89.0.128/25", "not a range of addresses")
		}
		i := slices.IndexFunc(n.Subnets, func(s slirp.Subnet) bool { return s.Prefix.Overlaps(p) && s.Prefix.Bits() <= p.Bits() })
		switch {
		case i < 0:
			return hint.Newf(op, "name the subnet, too: --subnet", "no subnet of the network has it")
		case n.Subnets[i].Range.IsValid():
			return hint.Newf(op, "give one", "the subnet has a range already")
		}
		n.Subnets[i].Range = p
	}
	for i := range n.Subnets {
		if s := &n.Subnets[i]; !s.Gateway.IsValid() {
			s.Gateway = s.Prefix.Addr().Next()
		}
	}
	return nil
}

// randomID is a new id: 64 hex digits.
func randomID() string {
	b := make([]byte, 32)
	_, _ = unix.Getrandom(b, 0)
	return hex.EncodeToString(b)
}
