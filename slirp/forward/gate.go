package forward

import (
	"errors"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// gate is one socket that listens on the host.
type gate struct {
	f    *Forwarder
	fd   int
	six  bool // an AF_INET6 socket: IPv4 addresses are mapped
	port Port
}

// openGate binds. Without an address one socket takes both families, unless the host
// has no IPv6.
func openGate(f *Forwarder, p Port) (*gate, error) {
	kind := unix.SOCK_STREAM
	if p.Proto == "udp" {
		kind = unix.SOCK_DGRAM
	}
	var err error
	for _, family := range families(p.Host.Addr()) {
		g := &gate{f: f, six: family == unix.AF_INET6, port: p}
		if g.fd, err = unix.Socket(family, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0); err == nil {
			if err = g.bind(); err == nil {
				return g, nil
			}
			_ = unix.Close(g.fd)
		}
		if !errors.Is(err, unix.EAFNOSUPPORT) && !errors.Is(err, unix.EADDRNOTAVAIL) {
			break
		}
	}
	return nil, err
}

func families(a netip.Addr) []int {
	switch {
	case !a.IsValid():
		return []int{unix.AF_INET6, unix.AF_INET}
	case a.Is4():
		return []int{unix.AF_INET}
	}
	return []int{unix.AF_INET6}
}

func (g *gate) bind() error {
	if g.six {
		only := 0
		if g.port.Host.Addr().IsValid() {
			only = 1
		}
		if err := unix.SetsockoptInt(g.fd, unix.SOL_IPV6, unix.IPV6_V6ONLY, only); err != nil {
			return err
		}
	}
	if g.port.Proto == "udp" {
		return g.bindUDP()
	}
	// A connection of our predecessor may be in TIME_WAIT; a socket that listens is
	// in the way all the same (socket(7)). For UDP it would not be.
	if err := unix.SetsockoptInt(g.fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return err
	}
	if err := unix.Bind(g.fd, sockaddr(g.port.Host, g.six, 0)); err != nil {
		return err
	}
	// What is accepted inherits these.
	for _, o := range [][3]int{
		{unix.SOL_TCP, unix.TCP_NODELAY, 1}, {unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{unix.SOL_TCP, unix.TCP_KEEPIDLE, keepIdle}, {unix.SOL_TCP, unix.TCP_KEEPINTVL, keepInterval}, {unix.SOL_TCP, unix.TCP_KEEPCNT, keepCount},
	} {
		if err := unix.SetsockoptInt(g.fd, o[0], o[1], o[2]); err != nil {
			return err
		}
	}
	if err := unix.Listen(g.fd, 1<<16-1); err != nil { // bounded by net.core.somaxconn
		return err
	}
	return g.learnPort()
}

func (g *gate) learnPort() error {
	sa, err := unix.Getsockname(g.fd)
	if err != nil {
		return err
	}
	g.port.Host = netip.AddrPortFrom(g.port.Host.Addr(), addrOf(sa).Port())
	return nil
}

// ready is called when somebody stands at the gate.
func (g *gate) ready(d *door, _ uint32) {
	if g.port.Proto == "udp" {
		g.receive(d)
		return
	}
	for range 64 { // then others have their turn
		fd, sa, err := unix.Accept4(g.fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return
		case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE), errors.Is(err, unix.ENOBUFS), errors.Is(err, unix.ENOMEM):
			// They wait in the queue, and we do not spin.
			time.Sleep(10 * time.Millisecond)
			return
		case err != nil: // accept(2): errors of that one connection
			continue
		}
		d.welcome(g, fd, addrOf(sa))
	}
}

func (g *gate) close() {
	if g.fd >= 0 {
		_ = unix.Close(g.fd)
	}
	g.fd = -1
}

// reset closes with RST, which is how a port without a server refuses.
func reset(fd int) {
	_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	_ = unix.Close(fd)
}

// sockaddr is ap for a socket of IPv6 (six) or IPv4; no address is the wildcard.
func sockaddr(ap netip.AddrPort, six bool, zone uint32) unix.Sockaddr {
	addr := ap.Addr()
	if !six {
		sa := &unix.SockaddrInet4{Port: int(ap.Port())}
		if addr.IsValid() {
			sa.Addr = addr.As4()
		}
		return sa
	}
	sa := &unix.SockaddrInet6{Port: int(ap.Port()), ZoneId: zone}
	if addr.IsValid() {
		sa.Addr = addr.As16()
	}
	return sa
}

// addrOf is what a socket address says, an IPv4 one unmapped.
func addrOf(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), uint16(sa.Port))
	}
	return netip.AddrPort{}
}

// parted counts a connection that has ended.
func (g *gate) parted() { g.f.open.Add(-1) }
