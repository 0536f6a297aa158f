package forward

import (
	"container/list"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// flow is one UDP client at one gate: a socket inside that is connected to the server.
type flow struct {
	gate     *gate
	client   netip.AddrPort
	local    netip.Addr // of the host, which the client wrote to and hears from
	fd       int
	used     time.Time
	answered bool
	place    *list.Element
	as       asKey // zero: shown as the gateway, or as the container itself
	turned   bool  // answers come back by what turnPackets remembers
}

type flowKey struct {
	gate   *gate
	client netip.AddrPort
	local  netip.Addr
}

// flows are those of one container, the one that was silent for longest first.
type flows struct {
	d               *door
	all             map[flowKey]*flow
	fresh, answered *list.List
	// as are the clients that are shown inside as themselves, at a port: two flows of
	// one (it wrote to two addresses of the host) would be one to the server.
	as   map[asKey]*flow
	room *datagram // nil while nobody needs it
	// learned are those that the kernel may have been told of since relearn.
	learned int
}

type asKey struct {
	client netip.AddrPort
	inside uint16
}

func newFlows(d *door) *flows {
	return &flows{d: d, all: map[flowKey]*flow{}, fresh: list.New(), answered: list.New(), as: map[asKey]*flow{}}
}

func (s *flows) count() int { return len(s.all) }

// bindUDP: without SO_REUSEADDR, by which two programs could have one port.
func (g *gate) bindUDP() error {
	// The answer must come from the address that was asked, one of many: the client
	// takes it from no other.
	if !g.port.Host.Addr().IsValid() || g.port.Host.Addr().IsUnspecified() {
		level, option := unix.SOL_IP, unix.IP_PKTINFO
		if g.six {
			level, option = unix.SOL_IPV6, unix.IPV6_RECVPKTINFO
		}
		if err := unix.SetsockoptInt(g.fd, level, option, 1); err != nil {
			return err
		}
	}
	// Bursts wait while other clients are served: bounded by net.core.rmem_max.
	_ = unix.SetsockoptInt(g.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1<<20)
	if err := unix.Bind(g.fd, sockaddr(g.port.Host, g.six, 0)); err != nil {
		return err
	}
	return g.learnPort()
}

// receive carries what clients sent.
func (g *gate) receive(d *door) {
	s := d.flows
	if s.room == nil {
		s.room = newDatagram()
	}
	for range 64 {
		n, from, to, err := s.room.receive(g.fd)
		if err != nil {
			return // EAGAIN, or an ICMP error of one client
		}
		first := s.room.data[:n]
		if f := s.all[flowKey{g, from, to}]; f != nil {
			s.touch(f)
			_, _ = sendto(f.fd, first) // dropped where it finds no room, as by any router
			continue
		}
		s.begin(&flow{gate: g, client: from, local: to}, first)
	}
}

// begin makes a flow for a client's first datagram and carries that one, where there
// is room for the flow.
func (s *flows) begin(f *flow, first []byte) {
	if s.count() >= maxFlows {
		s.evict()
	}
	for !takeSockets(1, int64(s.count())) {
		if s.count() == 0 {
			return
		}
		s.evict()
	}
	if !f.connect(s.d, first) {
		giveSockets(1)
		return
	}
	f.used = time.Now()
	f.place = s.fresh.PushBack(f)
	s.all[f.key()] = f
}

func (f *flow) key() flowKey { return flowKey{f.gate, f.client, f.local} }

func (s *flows) touch(f *flow) {
	f.used = time.Now()
	s.list(f).MoveToBack(f.place)
}

func (s *flows) list(f *flow) *list.List {
	if f.answered {
		return s.answered
	}
	return s.fresh
}

// connect opens the way inside, by the first one where somebody listens, and sends the
// first datagram.
func (f *flow) connect(d *door, first []byte) bool {
	if !d.enter() {
		return false
	}
	if d.flows.learned >= maxFlows {
		d.flows.relearn()
	}
	inside := f.gate.port.Inside
	for tries := d.plan(f.client, d.canUDP()); len(tries) > 0; {
		t := tries[0]
		as := asKey{t.as, inside}
		if t.as == f.client && d.flows.as[as] != nil {
			tries = tries[1:]
			continue
		}
		if t.as.IsValid() {
			d.turnLate(service{unix.IPPROTO_UDP, netip.AddrPortFrom(t.to, inside)})
			d.flows.learned++ // by what is sent, be it to a server that is not there
		}
		fd, err := t.open(d.annex, unix.SOCK_DGRAM, inside)
		if err == nil {
			if err = deliver(fd, first, len(tries) == 1); err == nil {
				err = d.watch(fd, f, unix.EPOLLIN)
			}
			if err == nil {
				f.fd, f.turned = fd, t.as.IsValid()
				if t.as == f.client {
					d.flows.as[as], f.as = f, as
				}
				return true
			}
			_ = unix.Close(fd)
		}
		tries = next(tries, err)
	}
	return false
}

// relearn has the kernel remember the flows that there are, and forget the others: its
// set has room for twice as many as may be, and keeps those that ended or were pushed out
// for minutes. Full, it takes no new one, whose answers went astray then: 8,192 clients
// in three minutes are a flood, or a name server. In case of an error the old set stays.
func (s *flows) relearn() {
	s.learned = 0
	var known []asKey
	for _, l := range []*list.List{s.answered, s.fresh} {
		for e := l.Back(); e != nil; e = e.Prev() {
			if f := e.Value.(*flow); f.turned {
				if sa, err := unix.Getsockname(f.fd); err == nil {
					known = append(known, asKey{addrOf(sa), f.gate.port.Inside})
				}
			}
		}
	}
	s.d.annex.in(func() { _ = turnPackets(!s.d.turned.tcp, known) })
}

// deliver sends a first datagram. That nobody is there is said by ICMP, which over lo
// has come when sendto returns; anyway: it does not matter.
func deliver(fd int, first []byte, anyway bool) error {
	if _, err := sendto(fd, first); err != nil && err != unix.EAGAIN && !anyway {
		return err
	}
	if anyway {
		return nil
	}
	errno, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && errno != 0 {
		return unix.Errno(errno)
	}
	return err
}

// ready carries what the server sent back.
func (f *flow) ready(d *door, _ uint32) {
	s := d.flows
	if s.room == nil {
		s.room = newDatagram()
	}
	for range 64 {
		n, err := recvfrom(f.fd, s.room.data, 0)
		if err == unix.EAGAIN || err == unix.EINTR {
			return
		}
		if err != nil { // ECONNREFUSED: the next datagram looks anew who listens where
			s.end(f)
			return
		}
		if !f.answered {
			s.fresh.Remove(f.place)
			f.answered = true
			f.place = s.answered.PushBack(f)
		}
		s.touch(f)
		_ = s.room.send(f.gate.fd, n, f.client, f.local, f.gate.six)
	}
}

// end closes a flow.
func (s *flows) end(f *flow) {
	delete(s.all, f.key())
	if f.as.inside != 0 {
		delete(s.as, f.as)
	}
	s.list(f).Remove(f.place)
	s.d.forget(f.fd)
	_ = unix.Close(f.fd)
	giveSockets(1)
}

// evict ends the one that was silent for longest, of those never answered if there are
// any: who invents addresses shuts out others who do, not those who talk.
func (s *flows) evict() {
	for _, l := range []*list.List{s.fresh, s.answered} {
		if e := l.Front(); e != nil {
			s.end(e.Value.(*flow))
			return
		}
	}
}

// expire ends flows that were silent for too long.
func (s *flows) expire(now time.Time) {
	for _, l := range []*list.List{s.fresh, s.answered} {
		life := freshFlow
		if l == s.answered {
			life = flowLife
		}
		for e := l.Front(); e != nil && now.Sub(e.Value.(*flow).used) > life; e = l.Front() {
			s.end(e.Value.(*flow))
		}
	}
	if s.count() == 0 {
		s.room = nil
	}
}

// drop ends those of one gate; clear all.
func (s *flows) drop(g *gate) {
	for _, f := range s.all {
		if f.gate == g {
			s.end(f)
		}
	}
}

func (s *flows) clear() {
	for _, f := range s.all {
		s.end(f)
	}
}
