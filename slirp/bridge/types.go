package bridge

import (
	"net/netip"

	"github.com/rc-containers/rc/slirp"
)

// Member is one container on one network, as it is now.
type Member struct {
	ID     string // the container's
	Status slirp.EndpointStatus
	// Found: it was there when Open came, and nobody has asked for it since. Network's
	// name and Aliases of its Status are then what the links say: the name, no aliases.
	Found bool
}

// Way is the way out of N0: the tap that slirp4netns made in it.
type Way struct {
	Device string       // tap0
	Prefix netip.Prefix // its network, as given to slirp4netns by --cidr: 10.0.2.0/24
	IPv6   bool         // started with --enable-ipv6
}
