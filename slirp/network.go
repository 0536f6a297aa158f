package slirp

import (
	"fmt"
	"net/netip"
)

// DefaultNetwork is the bridge network of a container that asks for none.
const DefaultNetwork = "bridge"

// Domain is answered by the keeper alone: NAME.rc.internal is the container NAME. It
// stands first in the search list of a bridged container, so that short names work
// where the host's list comes to nothing: musl gives up at the first domain whose
// resolver fails (offline), and a wildcard in the host's domain would win over a
// container. ICANN keeps the top level "internal" for private use.
const Domain = "rc.internal"

// StillID is the ID of a network that every host has and nobody makes, as Docker lists
// them: host and none. It says the name in hexadecimal.
func StillID(name string) string {
	return fmt.Sprintf("%x%0*d", name, 64-2*len(name), 0)
}

// MaxEndpoints bounds the networks of one container.
const MaxEndpoints = 32

// Network is a bridge network as the keeper builds it: what `rc network create`
// recorded, sent along with each container so that the keeper reads no record.
type Network struct {
	Name     string
	ID       string   // 64 hex digits; a network made anew under an old name has another
	Subnets  []Subnet // one of IPv4, one of IPv6, or both
	Internal bool     `json:",omitempty"` // no way out, and no forwarded questions of DNS
	NoDNS    bool     `json:",omitempty"` // --disable-dns: names are not answered
	MTU      int      `json:",omitempty"` // bytes; 0: MTU
}

// Subnet is one range of addresses of a network.
type Subnet struct {
	Prefix  netip.Prefix // masked: 10.89.0.0/24, fd5c:…::/64
	Gateway netip.Addr   // the bridge's own, and the resolver's
	Range   netip.Prefix `json:",omitzero"` // where addresses are chosen; zero: all of Prefix
}

// Endpoint is one container on one bridge network: what is wanted.
type Endpoint struct {
	Network   Network
	Interface string     `json:",omitempty"` // inside; "": the first free ethN
	IP        netip.Addr `json:",omitzero"`  // --ip; zero: chosen. A taken one is a refusal
	IP6       netip.Addr `json:",omitzero"`  // --ip6
	MAC       string     `json:",omitempty"` // --mac-address; "": from the IPv4 address
	Aliases   []string   `json:",omitempty"` // more names on this network
	// Last are the addresses that the container had before: taken again where they are
	// free, so that a restart changes nothing for those who remember them.
	Last []netip.Addr `json:",omitempty"`
}

// EndpointStatus is one container on one bridge network: what it has.
type EndpointStatus struct {
	Network   string // name
	NetworkID string
	Interface string // inside
	MAC       string
	IP        netip.Addr   `json:",omitzero"`
	Prefix    int          `json:",omitempty"` // bits
	Gateway   netip.Addr   `json:",omitzero"`
	IP6       netip.Addr   `json:",omitzero"`
	Prefix6   int          `json:",omitempty"` // bits
	Gateway6  netip.Addr   `json:",omitzero"`
	Aliases   []string     `json:",omitempty"`
	DNS       []netip.Addr `json:",omitempty"` // the gateways, where names are answered
}

// Change alters the network of a container that runs: one field is set, or Publish and
// Unpublish, which are then one step: a port of the host goes from one service to
// another without being free in between. A shim sends it over the connection of its Attach; the answer is Attached, whole.
type Change struct {
	Connect    *Endpoint `json:",omitempty"`
	Disconnect string    `json:",omitempty"` // a network's name
	Publish    []Port    `json:",omitempty"`
	Unpublish  []Port    `json:",omitempty"`
	Rename     string    `json:",omitempty"` // what the container is called from now on
}
