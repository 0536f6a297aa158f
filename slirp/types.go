// Package slirp gives a container its network: a slirp4netns driven through
// rootlesskit's packages by the keeper (package slirp/keeper, program rc-net),
// published ports, and the resolver files. This package is the light half that
// rc and the shim link: types, the client of the keeper's socket, texts.
//
//	rc                              keeper (rc-net, first process of U0)
//	start: Start, lock held  ───►   binds <runtime>/keeper.sock
//	                         ◄───   Ready, then nothing more on this socket
//	dial: Hello              ───►
//	                         ◄───   Welcome (+ U0)
//
//	shim
//	dial: Attach (+ netns, userns, N0 if known)
//	                         ───►   bridges or slirp4netns, ports, names
//	                         ◄───   Attached (+ N0) | Failed
//	Change                   ───►
//	                         ◄───   Attached | Failed
//	end of file, either way: what was attached is gone, but for the interfaces on
//	bridges, which go with the container's network namespace
package slirp

import (
	"net/netip"
	"slices"

	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/userns"
)

// What slirp4netns gives every container (slirp4netns(1), "CIDR"): each has a
// network of its own, so the addresses are always the same.
const (
	Address      = "10.0.2.100"
	PrefixLength = 24
	Gateway      = "10.0.2.2" // also the host's loopback, when asked for
	Resolver     = "10.0.2.3" // forwards to the host's own, 127.0.0.53 included
	MTU          = 65520      // bytes; the tap crosses no wire, larger is faster
	Device       = "tap0"
)

// MaxPorts bounds the published ports of one container, so that an Attach
// stays below stage.MaxPacket.
const MaxPorts = 512

// Port is one published port.
type Port struct {
	HostIP        string `json:",omitempty"` // "" is every address
	HostPort      uint16 `json:",omitempty"` // 0: chosen by the keeper
	HostPortEnd   uint16 `json:",omitempty"` // not 0: the first free one from HostPort to here
	ContainerPort uint16
	Proto         string // tcp or udp
}

// DNS is what a container's resolv.conf and hosts files are made from.
type DNS struct {
	Servers  []string // --dns
	Search   []string // --dns-search; "." means none
	Options  []string // --dns-option
	AddHosts []string // --add-host NAME:IP, checked
}

// Hello asks the keeper who it is.
type Hello struct {
	Bridge bool `json:",omitempty"` // a container on a bridge network follows: make ready
}

// Welcome is the keeper's answer to a greeting: who it is, and U0's map. The
// descriptor of U0's user namespace comes beside it.
type Welcome struct {
	Version  string
	PID      int
	UID, GID []userns.IDMap
	SingleID bool

	// Group is the cgroup below which containers get theirs, as /proc/PID/cgroup
	// names it: the scope of the user's systemd in which the keeper stands. Empty:
	// there is none, and NoGroup says why.
	Group   string         `json:",omitempty"`
	NoGroup *stage.Failure `json:",omitempty"`
	// Namespaces are the keeper's own of the host, with a Group only: what it starts
	// is in them.
	Namespaces Namespaces `json:",omitempty"`
}

// The values of Attach.Driver.
const (
	DriverBridge = "bridge"
	DriverSlirp  = "slirp4netns"
	DriverPasta  = "pasta"
)

// Attach asks for the network of one container. The descriptors of its network
// namespace and of the user namespace that owns it go beside it, in this order, and
// N0's where the caller holds that.
type Attach struct {
	ID           string
	PID          int // the container's init, as the keeper sees it
	Ports        []Port
	HostLoopback bool // let 10.0.2.2 reach the host's loopback
	IPv6         bool // also when the host itself has no IPv6 route

	// Name and Hostname are what DNS answers for on every network, besides the ID
	// (whole, and its first 12 digits) and each Endpoint's aliases.
	Name     string `json:",omitempty"`
	Hostname string `json:",omitempty"`
	// DNS are resolvers of its own (--dns), which are asked instead of the host's for
	// what is no name of its bridge networks.
	DNS []netip.Addr `json:",omitempty"`
	// Endpoints are bridge networks; none: a slirp4netns of its own, or what Driver says.
	Endpoints []Endpoint `json:",omitempty"`
	// Driver is DriverBridge (also "" with Endpoints: a container can leave its last
	// network), or without Endpoints DriverSlirp (also "") or DriverPasta.
	Driver string `json:",omitempty"`
	// PastaOptions are more words for DriverPasta, as ParsePasta reads them.
	PastaOptions []string `json:",omitempty"`
	// Fallback: nobody named the network. Where there can be no bridge (no nf_tables)
	// the container gets a slirp4netns of its own, and Attached.Note says so.
	Fallback bool `json:",omitempty"`
	// Again: the container runs and has outlived its keeper. A port that somebody took
	// meanwhile keeps nothing else away: see Attached.Lost.
	Again bool `json:",omitempty"`
}

// Bridged tells whether the container is on bridge networks, or was.
func (a *Attach) Bridged() bool {
	return a.Driver == DriverBridge || a.Driver == "" && len(a.Endpoints) > 0
}

// Of Attached.Outgoing.
const (
	OutRelay = "relay"
	OutSlirp = "slirp4netns"
)

// Attached describes the network that the container now has.
type Attached struct {
	IP      string
	Prefix  int
	Gateway string
	DNS     []string
	MTU     int
	IPv6    bool   // an address below fd00::/64 comes by router advertisement
	Ports   []Port // with the host ports that were chosen

	// Endpoints are the bridge networks; IP, Prefix, Gateway and DNS above are then those
	// of the first. The descriptor of N0, the user's network namespace, comes beside it:
	// a live shim keeps it, so that a new keeper gets it back.
	Endpoints []EndpointStatus `json:",omitempty"`
	Note      string           `json:",omitempty"` // what the user should know of it
	// Outgoing is what carries TCP from bridge networks to the world: OutRelay, or
	// OutSlirp with the reason behind it. Empty: there is no such way.
	Outgoing string `json:",omitempty"`
	// Lost are ports that the container had and that could not be had again. Its shim
	// asks for them from time to time, by Change.Publish.
	Lost []LostPort `json:",omitempty"`
}

// LostPort is a published port that somebody took while there was no keeper.
type LostPort struct {
	Port Port
	Why  string // with what to do about it
}

// Wanted are the ports that the container is to have: those that it has, and the lost.
func (a *Attached) Wanted() []Port {
	all := slices.Clone(a.Ports)
	for _, l := range a.Lost {
		all = append(all, l.Port)
	}
	return all
}
