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
	lost []slirp.LostPort // had by the last keeper, and not to be had when we came
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
func publish(owner string, netns *os.File, ports []slirp.Port) (*published, error) {
	p, err := newPublished(owner, netns)
	if err != nil {
		return nil, err
	}
	if _, err := p.change(ports, nil); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// publishAgain is publish for a container that has outlived its keeper: a port that
// cannot be had is noted as lost, and keeps nothing else away.
func publishAgain(owner string, netns *os.File, ports []slirp.Port) (*published, error) {
	p, err := newPublished(owner, netns)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, want := range ports {
		if err := p.add(want); err != nil {
			p.lost = append(p.lost, slirp.LostPort{Port: want, Why: err.Error()})
		}
	}
	return p, nil
}

func newPublished(owner string, netns *os.File) (*published, error) {
	f, err := forward.New(netns)
	if err != nil {
		return nil, hint.New("publish ports", err, "")
	}
	return &published{owner: owner, forward: f}, nil
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

// tell fills in what is published now, and what was lost.
func (p *published) tell(got *slirp.Attached) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	got.Ports, got.Lost = p.listLocked(), slices.Clone(p.lost)
}

// rename tells who has the ports from now on, for those who want them.
func (p *published) rename(owner string) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.owner = owner
	for _, o := range p.open {
		holders.enter(owner, o)
	}
}

// listLocked is what is published, with the host ports that were chosen.
func (p *published) listLocked() []slirp.Port {
	ports := make([]slirp.Port, len(p.open))
	for i, o := range p.open {
		ports[i] = o.port
	}
	return ports
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
	addr, err := hostAddr(want)
	if err != nil {
		return refusePort(p.owner, want, err)
	}
	for try := range choices(want) {
		var gate forward.Port
		if gate, err = p.forward.Listen(forwardPort(want, addr, try)); err == nil {
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
