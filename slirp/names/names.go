// Package names is the resolver of bridge networks: it answers the names of a
// user's containers to those who share a network with them, and forwards every
// other question to the host's resolvers as they are at that moment.
//
//	container ── question ──► gateway:53 (a socket in N0, package bridge)
//	                             │ who asks: the network of the socket, the source address
//	                             ├─ a name of the asker's networks: answered here
//	                             ├─ host.containers.internal, localhost: answered here
//	                             └─ else ──► a resolver of /etc/resolv.conf, from the host's network
//
// The keeper is one small process, so the wire format is golang.org/x/net's
// dnsmessage, which net links already: 16 KB of program and no memory more.
// github.com/miekg/dns (v1.1.73) was measured beside it: 1.5 MB of program,
// 1.1 MB of PSS, 22 KB and 80 allocations at its init. What is forwarded is passed
// on as bytes, so a record type needs no code here.
package names

import (
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/rc-containers/rc/slirp"
)

// Options are what a Server needs of its surroundings; the zero value is right
// for a keeper.
type Options struct {
	// Upstream are the resolvers to forward to, in order of preference, asked for at
	// every forwarded question. nil: the host's /etc/resolv.conf as it is now.
	Upstream func() []netip.AddrPort
	// Host are the addresses at which a container reaches the host, the answer for
	// host.containers.internal. nil: the source addresses of the default routes.
	Host func() []netip.Addr
	// Dial opens a connection to a resolver; network is "udp" or "tcp". nil: from
	// where the process is, the host's network.
	Dial func(network string, to netip.AddrPort, timeout time.Duration) (net.Conn, error)
}

// Member is one container, as the names of its networks know it.
type Member struct {
	Name     string
	Hostname string
	// HostLoopback: the container reaches the host at slirp.Gateway, its loopback
	// included, so that is what host.containers.internal is for it.
	HostLoopback bool
	// Servers are its own resolvers (--dns), asked instead of the host's.
	Servers   []netip.Addr
	Endpoints []slirp.EndpointStatus
}

// Server answers on the gateways of any number of networks. All methods may be
// called at any time, from any goroutine.
type Server struct {
	zone   *zone
	out    *forwarder
	limits *limits

	running sync.WaitGroup // all goroutines

	mu      sync.Mutex
	serving map[string]*listeners // by the network's id
	closed  bool
}

// New makes a Server that serves nothing yet. It starts no goroutine and opens
// nothing; Close it in the end.
func New(o Options) *Server {
	l := newLimits()
	return &Server{zone: newZone(), limits: l, out: newForwarder(o, l), serving: make(map[string]*listeners)}
}

// Set puts a container on its networks, in place of what id stood for before.
// Networks that are not served (yet) may be among its endpoints.
func (s *Server) Set(id string, m Member) { s.zone.set(id, m) }

// Remove takes a container off all networks; none of that id is no error.
func (s *Server) Remove(id string) { s.zone.remove(id) }

// Expect names containers that are known to run but have not been Set, after a
// keeper's death. For as long as one is missing, at most d, questions whose
// answer could depend on it wait instead of being denied: to a program NXDOMAIN is
// final, a late answer is nothing.
func (s *Server) Expect(ids []string, d time.Duration) { s.zone.expect(ids, d) }
