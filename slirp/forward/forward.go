// Package forward carries the published ports of containers: it listens on the host
// and goes on from sockets in the container's network namespace, where the server sees
// the client's own address, for TCP and UDP, IPv4 and IPv6.
//
//	client ──► gate (a socket of the host's namespace)
//	             │ door: an epoll and a goroutine for each container, and a thread in
//	             ▼       the container's namespace while clients come
//	           socket inside, transparent: it says that it is the client (ip(7),
//	             │             IP_TRANSPARENT) ──► the server, over the container's lo
//	             ▼
//	           relay: TCP pairs of all containers, a few epolls; UDP stays at the door
//
// What the server answers is for an address that is elsewhere, so it must be turned
// back to our socket (package file turn.go): the packets carry a mark, a rule of policy
// routing sends what is marked to a table in which every address is local. TCP's sockets
// take the mark over from the client's first packet (tcp_fwmark_accept); for UDP, where
// no socket belongs to a client, nftables remembers the flow. Neither connection
// tracking nor NAT nor any program of the host is needed.
//
// rootlesskit's builtin driver was before: a thread and a JSON message for each
// connection, two pipes while it is open, nft or iptables on the host, no client's
// address for UDP. Where a process may have 20,000 descriptors podman's, which is the
// same, had used them up before 9,000 connections (57 MB); here they are 18,000
// descriptors and 3.4 MB.
//
// Every packet that arrives here is a stranger's: all is bounded (limits.go).
package forward

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Port is one way in.
type Port struct {
	Proto  string         // "tcp" or "udp"
	Host   netip.AddrPort // without an address: every one, of IPv4 and IPv6; port 0: chosen
	Inside uint16         // the container's
}

// Inside is where the services of a container are. Without IP or IP6 the namespace is
// looked at when a client needs one, unless Offline. A client whose own address cannot
// be kept (of the host's loopback, of the other family) is shown as Gateway or Gateway6.
type Inside struct {
	IP, IP6, Gateway, Gateway6 netip.Addr
	Offline                    bool // on no network: clients are refused
}

// Forwarder is the ports of one container.
type Forwarder struct {
	netns   *os.File     // borrowed
	door    *door        // nil before the first port: most containers have none
	open    atomic.Int64 // pairs, half-made ones included
	inside  atomic.Pointer[Inside]
	mu      sync.Mutex // of what follows
	gates   []*gate
	serving bool
	closed  bool
}

// New prepares for the ports of the container with that network namespace, which it
// borrows until Close.
func New(netns *os.File) (*Forwarder, error) { return &Forwarder{netns: netns}, nil }

// Listen takes a port of the host; what comes waits until Serve. The port that was
// chosen is in the result. Errors are the kernel's of socket(2), bind(2) and listen(2).
func (f *Forwarder) Listen(p Port) (Port, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return p, os.ErrClosed
	}
	if f.door == nil {
		d, err := newDoor(f, f.netns)
		if err != nil {
			return p, err
		}
		f.door = d
	}
	g, err := openGate(f, p)
	if err != nil {
		return p, err
	}
	f.gates = append(f.gates, g)
	if f.serving {
		f.door.do(func() { f.door.admit(g) })
	}
	return g.port, nil
}

// Serve says where to carry what comes from now on.
func (f *Forwarder) Serve(at Inside) {
	f.inside.Store(&at)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.serving || f.closed {
		return
	}
	f.serving = true
	if len(f.gates) == 0 {
		return
	}
	gates := slices.Clone(f.gates)
	f.door.do(func() {
		for _, g := range gates {
			f.door.admit(g)
		}
	})
}

// Stop gives a port of Listen's up and cuts its connections.
func (f *Forwarder) Stop(p Port) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := slices.IndexFunc(f.gates, func(g *gate) bool { return g.port == p })
	if i < 0 {
		return fmt.Errorf("%s %s is not published: %w", p.Proto, p.Host, unix.ENOENT)
	}
	g := f.gates[i]
	f.gates = slices.Delete(f.gates, i, i+1)
	f.door.do(func() { f.door.dismiss(g) })
	relay.cut(g)
	return nil
}

// Move leads a port of Listen's to another service inside. The socket stays, so nobody
// else can take the port; connections through it are cut.
func (f *Forwarder) Move(p Port, inside uint16) (Port, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := slices.IndexFunc(f.gates, func(g *gate) bool { return g.port == p })
	if i < 0 {
		return p, fmt.Errorf("%s %s is not published: %w", p.Proto, p.Host, unix.ENOENT)
	}
	g := f.gates[i]
	f.door.do(func() {
		f.door.clear(g)
		g.port.Inside = inside // the door's own while it runs
	})
	relay.cut(g)
	return g.port, nil
}

// Close gives all ports up and cuts all connections.
func (f *Forwarder) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return os.ErrClosed
	}
	f.closed = true
	if f.door != nil {
		f.door.end()
	}
	for _, g := range f.gates {
		g.close()
		relay.cut(g)
	}
	f.gates = nil
	return nil
}

// Open is the number of TCP connections now.
func (f *Forwarder) Open() int { return int(f.open.Load()) }
