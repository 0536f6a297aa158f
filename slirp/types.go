// Package slirp gives a container its network: a slirp4netns driven through
// rootlesskit's packages by the keeper (package slirp/keeper, program rc-net),
// published ports, and the resolver files. This package is the light half that
// rc and the shim link: types, the client of the keeper's socket, texts.
package slirp

import "github.com/rc-containers/rc/userns"

// Port is one published port.
type Port struct {
	HostIP        string // "" is every address
	HostPort      uint16 // 0: chosen by the keeper
	ContainerPort uint16
	Proto         string // tcp or udp
}

// DNS is what a container's resolv.conf and hosts files are made from.
type DNS struct {
	Servers  []string // --dns
	Search   []string // --dns-search
	Options  []string // --dns-option
	AddHosts []string // --add-host NAME:IP, checked
}

// Welcome is the keeper's answer to a greeting: who it is, and U0's map. The
// descriptor of U0's user namespace comes beside it.
type Welcome struct {
	Version  string
	PID      int
	UID, GID []userns.IDMap
	SingleID bool
}

// Attach asks for the network of one container. The descriptors of its network
// namespace and of the user namespace that owns it go beside it, in this order.
type Attach struct {
	ID           string
	PID          int // the container's init, as the keeper sees it
	Ports        []Port
	HostLoopback bool // let 10.0.2.2 reach the host's loopback
	IPv6         bool
}

// Attached describes the network that the container now has.
type Attached struct {
	IP      string
	Prefix  int
	Gateway string
	DNS     []string
	MTU     int
	Ports   []Port // with the host ports that were chosen
}
