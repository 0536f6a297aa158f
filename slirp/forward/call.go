package forward

import (
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// call is a connection that is being made.
type call struct {
	route
	caller      *caller
	syn         []byte // as it came last
	seq         uint32
	first, last time.Time // a SYN
	fd          int       // the host's socket
	answered    bool      // that one is connected, and the SYN is with the kernel of N0
}

// over tells that nobody waits any more. Who still wants the connection sends its SYN
// again, a second later and then twice as late each time; or each second, four times
// (tcp(7), tcp_syn_retries; ip-sysctl.rst, tcp_syn_linear_timeouts). Nothing else says
// that a container has given up.
func (c *call) over(now time.Time) bool {
	if c.answered {
		return now.Sub(c.last) > handshake
	}
	return now.Sub(c.last) > 2*c.last.Sub(c.first)+4*time.Second
}

// ask is a SYN that has come.
func (o *Outbound) ask(r route, seq uint32, syn []byte) {
	now := time.Now()
	if c := o.calls[r]; c != nil {
		c.syn, c.seq, c.last = append(c.syn[:0], syn...), seq, now
		if c.answered {
			o.inject(c.syn)
		}
		return
	}
	if _, ok := o.passed[r]; ok {
		o.pass(r, syn, now)
		return
	}
	if !allowed(r.to.Addr()) {
		o.inject(refusal(r, seq))
		return
	}
	from := o.enter(r.from.Addr())
	if from == nil {
		o.pass(r, syn, now)
		return
	}
	c := &call{route: r, caller: from, syn: append([]byte(nil), syn...), seq: seq, first: now, last: now, fd: -1}
	o.calls[r] = c
	o.startTicking()
	o.dial(c)
}

// allowed: what is the host's own only by a side door is nobody's. 0.0.0.0 and :: are
// its loopback to connect(2); an IPv4 address in one of IPv6 is asked for by that of
// IPv4; a link-local one would need a zone, and is of the container's own wire.
func allowed(to netip.Addr) bool {
	return !to.IsUnspecified() && !to.IsLoopback() && !to.IsMulticast() && !to.Is4In6() &&
		!(to.Is6() && to.IsLinkLocalUnicast()) && !(to.Is4() && to.As4()[0] == 0)
}

// enter counts a call in; nil: there is no room for it.
func (o *Outbound) enter(address netip.Addr) *caller {
	o.mu.Lock()
	defer o.mu.Unlock()
	c := o.callers[address]
	if c == nil {
		c = &caller{o: o, address: address}
	}
	mine := c.pending + c.open
	if c.pending >= maxCalls || mine >= maxPairs || !takeSockets(2, 2*int64(mine+1)) {
		return nil
	}
	c.pending++
	o.callers[address] = c
	return c
}

// count changes what c has; one without anything is forgotten.
func (c *caller) count(pending, open int) {
	c.o.mu.Lock()
	defer c.o.mu.Unlock()
	c.pending += pending
	c.open += open
	if c.pending+c.open == 0 {
		delete(c.o.callers, c.address)
	}
}

// parted is the end of a pair.
func (c *caller) parted() { c.count(0, -1) }

// dial connects on the host.
func (o *Outbound) dial(c *call) {
	six := c.to.Addr().Is6()
	family := unix.AF_INET
	if six {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err == nil {
		c.fd = fd
		if err = prepare(fd, outside); err == nil {
			to := sockaddr(c.to, six, 0)
			if err = unix.Connect(fd, to); err == unix.EINPROGRESS {
				// On the host itself the answer is there by now, and the second call takes it.
				if err = unix.Connect(fd, to); err == unix.EALREADY {
					err = unix.EINPROGRESS
				}
			}
		}
	}
	if err == unix.EINPROGRESS {
		if err = o.add(fd, unix.EPOLLOUT); err == nil {
			o.dialing[int32(fd)] = c
			return
		}
	}
	o.decide(c, err)
}

// outcome is that of a dial which took longer.
func (o *Outbound) outcome(c *call) {
	delete(o.dialing, int32(c.fd))
	o.remove(c.fd)
	errno, err := unix.GetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && errno != 0 {
		err = unix.Errno(errno)
	}
	o.decide(c, err)
}

// decide tells the container what the host's connect(2) has said.
func (o *Outbound) decide(c *call, err error) {
	switch err {
	case nil:
		c.answered, c.last = true, time.Now()
		o.inject(c.syn)
		return
	case unix.ECONNREFUSED, unix.ECONNRESET:
		o.inject(refusal(c.route, c.seq))
	case unix.EHOSTUNREACH, unix.EHOSTDOWN, unix.EACCES, unix.EPERM:
		o.inject(unreachable(c.route, c.syn, true))
	case unix.ETIMEDOUT, unix.EADDRNOTAVAIL:
		// It waits, as it would without us; the latter: no port of the host's is free now.
	case unix.ENETUNREACH, unix.ENETDOWN, unix.EAFNOSUPPORT, unix.EINVAL:
		o.inject(unreachable(c.route, c.syn, false))
	default: // EMFILE and its like: slirp4netns has descriptors of its own
		o.pass(c.route, c.syn, c.last)
	}
	o.forget(c)
}

// connect makes a pair of a call: fd is the container's side of it.
func (o *Outbound) connect(c *call, fd int) {
	delete(o.calls, c.route)
	c.caller.count(-1, 1)
	relay.adopt(c.caller, fd, c.fd)
}

// forget gives a call up.
func (o *Outbound) forget(c *call) {
	delete(o.calls, c.route)
	if c.fd >= 0 {
		if o.dialing[int32(c.fd)] == c {
			delete(o.dialing, int32(c.fd))
			o.remove(c.fd)
		}
		_ = unix.Close(c.fd)
	}
	giveSockets(2)
	c.caller.count(-1, 0)
}

// inject sends a packet to the container, or to the listeners. One that is lost is asked
// for again.
func (o *Outbound) inject(packet []byte) { _, _ = unix.Write(o.exit.Tun, packet) }

// pass lets slirp4netns have a connection: its SYN goes on as if we were not here. What
// is passed once is passed whenever it comes, or both would answer. Without room to
// remember it is dropped; it will come again.
func (o *Outbound) pass(r route, syn []byte, now time.Time) {
	if _, ok := o.passed[r]; !ok && len(o.passed) >= maxPassed {
		return
	}
	o.passed[r] = now
	o.startTicking()
	_, _ = unix.Write(o.exit.Pass, syn)
}
