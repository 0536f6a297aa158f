package names

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/slirp"
)

// listeners are the sockets of one network.
type listeners struct {
	s      *Server
	config slirp.Network
	udp    []*net.UDPConn
	tcp    []net.Listener

	mu    sync.Mutex
	conns map[net.Conn]bool // of TCP, nil once closed
}

// errClosed is a Server after Close.
var errClosed = errors.New("the resolver is closed")

// Serve answers the questions that come to the sockets, in goroutines of its own,
// until Drop or Close. The sockets are the Server's from now on, after an error too;
// udp must be of *net.UDPConn. A network that is served already gets these in place
// of the old ones. A question whose source address is outside of n's subnets is
// dropped: the kernel accepts one for any of its addresses on any bridge.
func (s *Server) Serve(n slirp.Network, udp []net.PacketConn, tcp []net.Listener) error {
	l := &listeners{s: s, config: n, tcp: tcp, conns: make(map[net.Conn]bool)}
	for _, p := range udp {
		c, ok := p.(*net.UDPConn)
		if !ok {
			closeAll(udp, tcp)
			return fmt.Errorf("resolver of network %s: a %T is no socket of UDP", n.Name, p)
		}
		// Replies to a container that does not answer ARP wait in the kernel, charged
		// to this socket: more room than one such container can fill.
		_ = c.SetWriteBuffer(socketBuffer)
		// Questions of all containers wait in one queue, 200 in the default's.
		_ = c.SetReadBuffer(socketBuffer)
		l.udp = append(l.udp, c)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		closeAll(udp, tcp)
		return errClosed
	}
	if old := s.serving[n.ID]; old != nil {
		old.close()
	}
	s.serving[n.ID] = l
	s.zone.serve(n)
	for _, c := range l.udp {
		s.running.Go(func() { l.readUDP(c) })
	}
	for _, t := range l.tcp {
		s.running.Go(func() { l.accept(t) })
	}
	return nil
}

// socketBuffer in bytes; the kernel doubles it, and caps it at net.core.wmem_max and
// rmem_max: twice the default, usually.
const socketBuffer = 1 << 20

func closeAll(udp []net.PacketConn, tcp []net.Listener) {
	for _, c := range udp {
		_ = c.Close()
	}
	for _, t := range tcp {
		_ = t.Close()
	}
}

// Drop closes the sockets of a network and forgets it; the containers on it stay
// known. A network that is not served is no error.
func (s *Server) Drop(networkID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.serving[networkID]; l != nil {
		delete(s.serving, networkID)
		l.close()
		s.zone.drop(networkID)
	}
}

// Close drops every network and waits for all goroutines. Further calls do nothing.
func (s *Server) Close() {
	s.mu.Lock()
	for id, l := range s.serving {
		delete(s.serving, id)
		l.close()
		s.zone.drop(id)
	}
	if !s.closed {
		s.closed = true
		close(s.out.done)
	}
	s.mu.Unlock()
	s.running.Wait()
}

func (l *listeners) close() {
	for _, c := range l.udp {
		_ = c.Close()
	}
	for _, t := range l.tcp {
		_ = t.Close()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		_ = c.Close()
	}
	l.conns = nil
}

// readUDP answers one socket's questions. What is known here is answered by this
// goroutine; what must wait for others gets one of its own.
func (l *listeners) readUDP(c *net.UDPConn) {
	buf := make([]byte, maxQuestion)
	var r rates
	for {
		n, from, err := c.ReadFromUDPAddrPort(buf)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			time.Sleep(errorPause)
			continue
		}
		from = netip.AddrPortFrom(from.Addr().Unmap().WithZone(""), from.Port())
		if !inside(l.config, from.Addr()) || !r.allow(from.Addr(), time.Now()) {
			continue
		}
		reply, later := l.s.answer(l.config.ID, from.Addr(), buf[:n], false)
		if later != nil {
			l.s.running.Go(func() { send(c, later(), from) })
			continue
		}
		send(c, reply, from)
	}
}

// errorPause keeps an error that does not pass from becoming a busy loop.
const errorPause = 20 * time.Millisecond

// send never waits: a buffer that is full, of replies to somebody whom ARP cannot
// find, is no reason to leave all others without an answer.
func send(c *net.UDPConn, reply []byte, to netip.AddrPort) {
	if len(reply) == 0 {
		return
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	var sa unix.Sockaddr = &unix.SockaddrInet4{Port: int(to.Port())}
	if a := to.Addr(); a.Is4() {
		sa.(*unix.SockaddrInet4).Addr = a.As4()
	} else {
		sa = &unix.SockaddrInet6{Port: int(to.Port()), Addr: a.As16()}
	}
	_ = raw.Write(func(fd uintptr) bool {
		_ = unix.Sendto(int(fd), reply, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, sa)
		return true
	})
}

// answer is what to say to one packet: the reply (empty: nothing), or later, which
// finds it, takes its time and must be called once. packet may be reused after it.
func (s *Server) answer(networkID string, from netip.Addr, packet []byte, tcp bool) (reply []byte, later func() []byte) {
	q, refusal, ok := parse(packet)
	who := s.zone.who(networkID, from)
	if !ok || len(who.nets) == 0 {
		return nil, nil
	}
	limit := q.size
	if tcp {
		limit = 1<<16 - 1
	}
	if refusal != dnsmessage.RCodeSuccess || q.badVers {
		return q.reply(answer{rcode: refusal}, limit), nil
	}
	// Before the look-up: a container that comes between the two would be missed.
	pending := s.zone.pending()
	a := s.own(who, &q)
	if !a.known && pending == nil && !who.forward {
		a = nxdomain // --internal: to musl, REFUSED would be no answer
	}
	// While somebody is missing, what is there is told; that something is not there
	// is not known yet.
	if a.known && (pending == nil || a.rcode == dnsmessage.RCodeSuccess) {
		return q.reply(a, limit), nil
	}
	if !s.limits.forwards.take(who.key) {
		return q.reply(servfail, limit), nil
	}
	return nil, func() []byte {
		defer s.limits.forwards.give(who.key)
		if pending != nil {
			return s.whole(pending, networkID, from, &q, tcp)
		}
		return s.out.forward(who, &q, tcp)
	}
}

// whole answers a question once all expected containers are there.
func (s *Server) whole(pending <-chan struct{}, networkID string, from netip.Addr, q *question, tcp bool) []byte {
	select {
	case <-pending:
	case <-s.out.done:
		return nil
	}
	limit := q.size
	if tcp {
		limit = 1<<16 - 1
	}
	who := s.zone.who(networkID, from)
	a := s.own(who, q)
	if !a.known && who.forward {
		return s.out.forward(who, q, tcp)
	}
	if !a.known {
		a = nxdomain
	}
	return q.reply(a, limit)
}

// own is the answer to what needs no resolver.
func (s *Server) own(who asker, q *question) answer {
	switch stem(q.name) {
	case "localhost":
		// RFC 6761 6.3: never asked of anybody.
		return answer{known: true, addrs: []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}}
	case "host.containers.internal", "host.docker.internal":
		if who.m != nil && who.m.HostLoopback {
			return answer{known: true, addrs: []netip.Addr{netip.MustParseAddr(slirp.Gateway)}}
		}
		return answer{known: true, addrs: who.reachable(s.out.opts.Host())}
	}
	return s.zone.lookup(who, q)
}

// reachable are those of the host's addresses that the asker should try: of IPv4 where
// both have it, since many a service of a host listens there alone, else the others.
func (who asker) reachable(host []netip.Addr) []netip.Addr {
	of4 := slices.ContainsFunc(who.nets, func(n *network) bool {
		return slices.ContainsFunc(n.config.Subnets, func(s slirp.Subnet) bool { return s.Prefix.Addr().Is4() })
	})
	var list []netip.Addr
	for _, a := range host {
		if a.Is4() == of4 {
			list = append(list, a)
		}
	}
	if len(list) == 0 {
		return host
	}
	return list
}
