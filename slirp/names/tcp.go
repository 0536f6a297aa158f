package names

import (
	"errors"
	"net"
	"net/netip"
	"time"
)

const (
	// idleTimeout is how long a connection may be without a question (RFC 7766 6.2.3:
	// in the order of seconds).
	idleTimeout = 10 * time.Second
	// bodyTimeout is how long a message may take from its first byte to its last, and
	// a reply to be taken: who reads or writes a byte a second holds nothing.
	bodyTimeout = 3 * time.Second
	dialTimeout = 2 * time.Second // to a resolver
)

// accept takes the connections of one listener.
func (l *listeners) accept(t net.Listener) {
	for {
		c, err := t.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			time.Sleep(errorPause) // no descriptors left: some will be
			continue
		}
		from := addressOf(c)
		if !inside(l.config, from) {
			_ = c.Close()
			continue
		}
		who := l.s.zone.who(l.config.ID, from)
		if !l.s.limits.conns.take(who.key) {
			_ = c.Close()
			continue
		}
		l.s.running.Go(func() {
			defer l.s.limits.conns.give(who.key)
			if l.hold(c) {
				l.converse(c, from)
			}
			l.release(c)
		})
	}
}

func addressOf(c net.Conn) netip.Addr {
	a, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return netip.Addr{}
	}
	return a.Addr().Unmap().WithZone("")
}

// hold makes close end the connection; false when that is past.
func (l *listeners) hold(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conns == nil {
		return false
	}
	l.conns[c] = true
	return true
}

func (l *listeners) release(c net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
	_ = c.Close()
}

// converse answers one question after the other: who sends several at once gets
// their answers in order (RFC 7766 6.2.1.1 allows any), and one connection never
// has more than one under way.
func (l *listeners) converse(c net.Conn, from netip.Addr) {
	var r rates
	for {
		if c.SetDeadline(time.Now().Add(idleTimeout)) != nil {
			return
		}
		packet, err := readFramed(c, maxQuestion)
		if err != nil || !r.allow(from, time.Now()) {
			return
		}
		reply, later := l.s.answer(l.config.ID, from, packet, true)
		if later != nil {
			reply = later()
		}
		if len(reply) == 0 || c.SetWriteDeadline(time.Now().Add(bodyTimeout)) != nil || writeFramed(c, reply) != nil {
			return
		}
	}
}
