package main

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/rc-containers/rc/internal/engine"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/spec"
	"github.com/rc-containers/rc/slirp"
)

// networkNames are what the column NETWORKS has: the bridge networks of a container,
// or the kind of another one.
func networkNames(c *record.Container) string {
	if c.Network != slirp.DriverBridge {
		return c.Network
	}
	names := make([]string, len(c.Networks))
	for i, n := range c.Networks {
		names[i] = n.Name
	}
	return strings.Join(names, ",")
}

// networkMode is what --network named first.
func networkMode(c *engine.Entry) string {
	if c.Network == slirp.DriverBridge && len(c.Networks) > 0 {
		return c.Networks[0].Name
	}
	return c.Network
}

// networkView has those fields of Docker's NetworkSettings that rc knows. The
// addresses are those of the first network.
type networkView struct {
	SandboxKey            string
	Ports                 map[string][]portBinding
	Gateway               string
	IPAddress             string
	IPPrefixLen           int
	MacAddress            string
	IPv6Gateway           string
	GlobalIPv6Address     string
	GlobalIPv6PrefixLen   int
	SandboxID, EndpointID string
	Bridge                string // empty
	Networks              map[string]endpointView
	Outgoing              string           `json:",omitempty"` // rc's own: what carries TCP to the world
	LostPorts             []slirp.LostPort `json:",omitempty"` // rc's own: taken by somebody while there was no keeper
}

// endpointView is Docker's EndpointSettings.
type endpointView struct {
	IPAMConfig          *ipamWish
	Links               []string // none: names are answered by the network
	Aliases             []string
	MacAddress          string
	NetworkID           string
	EndpointID          string
	Gateway             string
	IPAddress           string
	IPPrefixLen         int
	IPv6Gateway         string
	GlobalIPv6Address   string
	GlobalIPv6PrefixLen int
	DNSNames            []string
	Interface           string `json:",omitempty"` // rc's own: its name inside
}

// ipamWish is what the user asked for.
type ipamWish struct {
	IPv4Address string `json:",omitempty"`
	IPv6Address string `json:",omitempty"`
}

func networkOf(e *engine.Engine, c *engine.Entry, exposed map[string]struct{}) networkView {
	v := networkView{Ports: map[string][]portBinding{}, Networks: map[string]endpointView{}}
	var now *slirp.Attached
	if up(c) && c.State.PID > 0 {
		v.SandboxKey = fmt.Sprintf("/proc/%d/ns/net", c.State.PID)
		for p := range exposed {
			v.Ports[p] = nil // exposed and not published
		}
		for _, p := range c.Published() {
			v.Ports[portKey(p)] = append(v.Ports[portKey(p)], portBinding{hostAddress(p), portNumber(p.HostPort)})
		}
		now, v.LostPorts = c.State.Net, c.Lost()
		if now != nil {
			v.Outgoing = now.Outgoing
		}
		if spec.NamespaceKind(c.Network) != spec.KindContainer { // that one's is another container's
			v.SandboxID = c.EndpointID("")
		}
	}
	var first endpointView
	if c.Network != slirp.DriverBridge || now != nil && len(now.Endpoints) == 0 && now.IP != "" { // the latter: where no bridge could be made
		if now != nil {
			first = endpointView{Gateway: now.Gateway, IPAddress: now.IP, IPPrefixLen: now.Prefix}
		}
		if v.SandboxID != "" {
			first.NetworkID = slirp.StillID(c.Network)
			first.EndpointID = c.EndpointID(first.NetworkID)
		}
		v.Networks[cmp.Or(networkMode(c), "none")] = first
	}
	if c.Network == slirp.DriverBridge {
		for i := range c.Networks {
			use := &c.Networks[i]
			end, ok := endpointOf(e, c, use, now)
			if i == 0 && ok {
				first = end
			}
			if _, there := v.Networks[use.Name]; !there {
				v.Networks[use.Name] = end
			}
		}
	}
	v.EndpointID = first.EndpointID
	v.Gateway, v.IPAddress, v.IPPrefixLen, v.MacAddress = first.Gateway, first.IPAddress, first.IPPrefixLen, first.MacAddress
	v.IPv6Gateway, v.GlobalIPv6Address, v.GlobalIPv6PrefixLen = first.IPv6Gateway, first.GlobalIPv6Address, first.GlobalIPv6PrefixLen
	return v
}

// endpointOf is a container on one bridge network: what was asked for, and what it
// has if it runs.
func endpointOf(e *engine.Engine, c *engine.Entry, use *record.NetworkUse, now *slirp.Attached) (endpointView, bool) {
	v := endpointView{Aliases: use.Aliases, MacAddress: use.MAC, DNSNames: slices.Concat([]string{c.Name}, use.Aliases, []string{c.ID[:12]})}
	if use.IP.IsValid() || use.IP6.IsValid() {
		v.IPAMConfig = &ipamWish{addressText(use.IP), addressText(use.IP6)}
	}
	if now != nil {
		i := slices.IndexFunc(now.Endpoints, func(s slirp.EndpointStatus) bool { return s.Network == use.Name })
		if i >= 0 {
			s := &now.Endpoints[i]
			v.NetworkID, v.MacAddress, v.Interface = s.NetworkID, s.MAC, s.Interface
			v.EndpointID = c.EndpointID(s.NetworkID)
			v.Gateway, v.IPAddress, v.IPPrefixLen = addressText(s.Gateway), addressText(s.IP), s.Prefix
			v.IPv6Gateway, v.GlobalIPv6Address, v.GlobalIPv6PrefixLen = addressText(s.Gateway6), addressText(s.IP6), s.Prefix6
			return v, true
		}
	}
	if n, err := e.Store.LoadNetwork(use.Name); err == nil {
		v.NetworkID = n.ID
	}
	return v, false
}

// addressText is "" for no address.
func addressText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}
