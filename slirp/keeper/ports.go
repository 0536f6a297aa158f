package keeper

import (
	"errors"
	"net/netip"
	"os"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/slirp"
	"github.com/rc-containers/rc/slirp/forward"
)

// published is the ports of one container; nil is that of a container whose ports are
// somebody else's (pasta's).
type published struct {
	owner   string // what messages call the container
	forward *forward.Forwarder

	mu   sync.Mutex
	open []opened
}

// opened is one port as it was asked for and as it is.
type opened struct {
	port slirp.Port // with the host port that was chosen
	gate forward.Port
}

// inside is where the services of a container are reached: its own addresses, and
// those that a client is shown as whose own address cannot be kept (one of the host's
// loopback, or of the other family). Zero ones are not there, and without find a
// container that has none is on no network.
type inside struct {
	IP, IP6, Gateway, Gateway6 netip.Addr
	find                       bool // look for them in its namespace: pasta's are the host's
}

// insideOf is a bridge network's part of it.
func insideOf(e slirp.EndpointStatus) inside {
	return inside{IP: e.IP, IP6: e.IP6, Gateway: e.Gateway, Gateway6: e.Gateway6}
}

// insideSlirp is a slirp4netns of one container: whatever IPv6 address it gave itself
// is looked up when the first client of IPv6 comes.
func insideSlirp() inside {
	return inside{IP: netip.MustParseAddr(slirp.Address), Gateway: netip.MustParseAddr(slirp.Gateway)}
}

// publish listens on every port for the container called owner in messages; with an
// error on none. Clients wait until serve says where the services are. No ports are
// fine: others may be added later. It borrows netns.
func publish(owner string, netns *os.File, ports []slirp.Port) (*published, []slirp.Port, error) {
	f, err := forward.New(netns)
	if err != nil {
		return nil, nil, hint.New("publish ports", err, "")
	}
	p := &published{owner: owner, forward: f}
	got, err := p.change(ports, nil)
	if err != nil {
		p.close()
		return nil, nil, err
	}
	return p, got, nil
}

// serve carries connections to the given addresses from now on; those that are open
// stay. Without any address (the container is on no network) new ones are refused.
func (p *published) serve(at inside) {
	offline := !at.IP.IsValid() && !at.IP6.IsValid() && !at.find
	p.forward.Serve(forward.Inside{IP: at.IP, IP6: at.IP6, Gateway: at.Gateway, Gateway6: at.Gateway6, Offline: offline})
}

// close stops listening, and cuts open connections.
func (p *published) close() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	holders.leave(p.open)
	p.open = nil
	_ = p.forward.Close()
}

// list is what is published now, with the host ports that were chosen.
func (p *published) list() []slirp.Port {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.listLocked()
}

func (p *published) listLocked() []slirp.Port {
	ports := make([]slirp.Port, len(p.open))
	for i, o := range p.open {
		ports[i] = o.port
	}
	return ports
}

// change publishes more and fewer ports of a container that runs: all of it or, with an
// error, nothing. It returns what is published then. What is removed is named by its
// container port, and by address and host port as far as they are given.
func (p *published) change(add, remove []slirp.Port) ([]slirp.Port, error) {
	if p == nil {
		return nil, hint.New("change the published ports", unix.EOPNOTSUPP, "pasta has its ports for the life of the container; a container on a bridge or on slirp4netns can change them")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.open) + len(add); n > slirp.MaxPorts {
		return p.listLocked(), hint.Newf("publish ports", "", "%d ports, %d at most", n, slirp.MaxPorts)
	}
	gone, err := p.match(remove)
	if err != nil {
		return p.listLocked(), err
	}
	before := len(p.open)
	for _, want := range add {
		if err := p.add(want); err != nil {
			for _, o := range p.open[before:] {
				_ = p.forward.Stop(o.gate)
			}
			holders.leave(p.open[before:])
			p.open = p.open[:before]
			return p.listLocked(), err
		}
	}
	for _, o := range gone {
		_ = p.forward.Stop(o.gate)
	}
	holders.leave(gone)
	p.open = slices.DeleteFunc(p.open, func(o opened) bool { return slices.Contains(gone, o) })
	return p.listLocked(), nil
}

// match finds what is to be removed; each must be there.
func (p *published) match(remove []slirp.Port) (gone []opened, err error) {
	for _, r := range remove {
		before := len(gone)
		for _, o := range p.open {
			if slirp.Names(r, o.port) && !slices.Contains(gone, o) {
				gone = append(gone, o)
			}
		}
		if len(gone) == before {
			return nil, hint.New("unpublish port "+r.String()+" of "+p.owner, unix.ENOENT, "see what is published: rc port "+p.owner)
		}
	}
	return gone, nil
}

// choices counts the host ports that p may have; any (0) is one: the kernel's choice.
func choices(p slirp.Port) int {
	if p.HostPortEnd != 0 {
		return int(p.HostPortEnd) - int(p.HostPort) + 1
	}
	return 1
}

// add listens on one port, on the first free one where it may choose.
func (p *published) add(want slirp.Port) error {
	var addr netip.Addr
	if want.HostIP != "" {
		parsed, err := netip.ParseAddr(want.HostIP)
		if err != nil {
			return refusePort(p.owner, want, err)
		}
		addr = parsed.Unmap()
	}
	var err error
	for try := range choices(want) {
		gate := forward.Port{Proto: want.Proto, Host: netip.AddrPortFrom(addr, want.HostPort+uint16(try)), Inside: want.ContainerPort}
		if gate, err = p.forward.Listen(gate); err == nil {
			got := want
			got.HostPort, got.HostPortEnd = gate.Host.Port(), 0
			o := opened{got, gate}
			p.open = append(p.open, o)
			holders.enter(p.owner, o)
			return nil
		}
		if !errors.Is(err, unix.EADDRINUSE) {
			break
		}
	}
	return refusePort(p.owner, want, err)
}
