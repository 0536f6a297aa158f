package forward

import (
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"
)

// try is one way to reach a service inside.
type try struct {
	to netip.Addr
	as netip.AddrPort // who the server sees; zero: whom the kernel chooses
}

// plan lists the ways for a client, the best first: as itself, as the gateway where
// that cannot be, and last by the other family, for a server that has only that.
func (d *door) plan(from netip.AddrPort, turned bool) []try {
	at := d.f.inside.Load()
	if at.Offline {
		return nil
	}
	v4, v6 := d.addresses(at, from.Addr().Is6())
	to, gateway, other, otherGateway := v4, at.Gateway, v6, at.Gateway6
	if from.Addr().Is6() {
		to, gateway, other, otherGateway = v6, at.Gateway6, v4, at.Gateway
	}
	var tries []try
	if turned && keepable(from.Addr()) && to.IsValid() {
		tries = append(tries, try{to, from})
	}
	for _, t := range []try{{to, netip.AddrPortFrom(gateway, 0)}, {other, netip.AddrPortFrom(otherGateway, 0)}} {
		if !t.to.IsValid() {
			continue
		}
		if turned && t.as.IsValid() {
			tries = append(tries, t)
		}
		tries = append(tries, try{to: t.to})
	}
	return tries
}

// keepable: a service that trusts its own loopback must not be told that a client of
// the host's comes from there, and a link-local address says nothing elsewhere.
func keepable(a netip.Addr) bool { return a.IsGlobalUnicast() }

// open makes a socket inside and connects it: err is EINPROGRESS while that lasts.
func (t try) open(a *annex, socketType int, port uint16) (fd int, err error) {
	six := t.to.Is6()
	family, level, transparent := unix.AF_INET, unix.SOL_IP, unix.IP_TRANSPARENT
	if six {
		family, level, transparent = unix.AF_INET6, unix.SOL_IPV6, unix.IPV6_TRANSPARENT
	}
	if fd, err = a.socket(kind{family, socketType}); err != nil {
		return -1, err
	}
	defer func() {
		if err != nil && err != unix.EINPROGRESS {
			_ = unix.Close(fd)
			fd = -1
		}
	}()
	var options [][3]int
	if socketType == unix.SOCK_STREAM {
		options = append(options, [3]int{unix.SOL_TCP, unix.TCP_NODELAY, 1}, [3]int{unix.SOL_TCP, unix.TCP_SYNCNT, synRetries})
	}
	if t.as.IsValid() {
		options = append(options, [3]int{unix.SOL_SOCKET, unix.SO_MARK, mark}, [3]int{level, transparent, 1})
		if t.as.Port() == 0 {
			// The port is chosen at connect: it need be free for this server only (ip(7)).
			options = append(options, [3]int{unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1})
		} else {
			// The same client at another port of ours, or its last connection's TIME_WAIT.
			options = append(options, [3]int{unix.SOL_SOCKET, unix.SO_REUSEADDR, 1})
		}
	}
	for _, o := range options {
		if err = unix.SetsockoptInt(fd, o[0], o[1], o[2]); err != nil {
			return fd, err
		}
	}
	if t.as.IsValid() {
		if err = unix.Bind(fd, sockaddr(t.as, six, 0)); err != nil {
			return fd, err
		}
	}
	to := sockaddr(netip.AddrPortFrom(t.to, port), six, 0)
	if err = unix.Connect(fd, to); err == unix.EINPROGRESS {
		// Over lo the answer is there by now: the second call takes it (connect(2)).
		if err = unix.Connect(fd, to); err == unix.EALREADY {
			err = unix.EINPROGRESS
		}
	}
	return fd, err
}

// next drops the tries that err of the first says are in vain.
func next(tries []try, err error) []try {
	failed := tries[0]
	tries = tries[1:]
	if refused := errors.Is(err, unix.ECONNREFUSED); refused {
		for len(tries) > 0 && tries[0].to == failed.to {
			tries = tries[1:]
		}
	}
	return tries
}

// dial is a connection that is being made.
type dial struct {
	gate   *gate
	client int // accepted
	fd     int // inside, under way
	tries  []try
}

// welcome takes a client in, or refuses it.
func (d *door) welcome(g *gate, client int, from netip.AddrPort) {
	open := d.f.open.Add(1)
	if open > maxPairs || !takeSockets(2, 2*open) {
		d.f.open.Add(-1)
		reset(client)
		return
	}
	p := &dial{gate: g, client: client, fd: -1}
	if d.enter() {
		p.tries = d.plan(from, d.canTCP())
	}
	p.step(d)
}

// step tries until one way leads in, or waits for the outcome.
func (p *dial) step(d *door) {
	for len(p.tries) > 0 {
		if t := p.tries[0]; t.as.IsValid() && !d.turned.tcp {
			d.turnLate(service{unix.IPPROTO_TCP, netip.AddrPortFrom(t.to, p.gate.port.Inside)})
		}
		fd, err := p.tries[0].open(d.annex, unix.SOCK_STREAM, p.gate.port.Inside)
		switch err {
		case nil:
			relay.adopt(p.gate, p.client, fd)
			return
		case unix.EINPROGRESS:
			p.fd = fd
			if d.watch(fd, p, unix.EPOLLOUT) == nil {
				d.pending++
				return
			}
			_ = unix.Close(fd)
			p.fd = -1
		}
		p.tries = next(p.tries, err)
	}
	p.fail(d)
}

// ready has the outcome of a dial that took longer.
func (p *dial) ready(d *door, _ uint32) {
	fd := p.fd
	errno, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	d.forget(fd)
	d.pending--
	p.fd = -1
	if err == nil && errno == 0 {
		relay.adopt(p.gate, p.client, fd)
		return
	}
	_ = unix.Close(fd)
	p.tries = next(p.tries, unix.Errno(errno))
	p.step(d)
}

// fail refuses the client.
func (p *dial) fail(d *door) {
	if p.fd >= 0 {
		d.forget(p.fd)
		d.pending--
		_ = unix.Close(p.fd)
		p.fd = -1
	}
	reset(p.client)
	giveSockets(2)
	d.f.open.Add(-1)
}
