package bridge

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/slirp"
)

// What containers open to the world by TCP goes through a relay (package forward,
// Outbound) where the kernel can do that: sockets carry three times what slirp4netns's
// own TCP does, for a third of the processor time. This file is its way in and out of
// N0; the rules are in outrules.go.
//
//	bridge ── SYN, markAsk ── rule 1001 ──► tcp-out ─► the relay: connects on the host
//	listener ◄─ tproxy, markHere, rule 1002 ─ tcp-out ◄─ the same SYN, when that works
//	bridge ── all after it, markHere, rule 1002 ──► the relay's socket
//
// So nobody is connected inside who is not outside, and a refusal is one.

// Marks of packets in N0, and the tables that they lead to. A container's packets come
// without one: a veth between namespaces takes it off (skb_scrub_packet).
const (
	markAsk  = 0x72636f31 // a SYN on its way to the relay
	markHere = 0x72636f32 // for one of the relay's sockets
	markSent = 0x72636f33 // of them
	// Priorities of the rules that heed them begin here; tables have the mark's number.
	rulesOut = 1000
)

// outDevice is the tun by which the relay is asked and answers, passDevice one that it
// only writes to.
const outDevice, passDevice = "tcp-out", "tcp-pass"

// Out is what a relay of outgoing TCP needs of N0: descriptors that its owner closes.
// A number below zero: not there (no IPv6).
type Out struct {
	// Tun gives the SYNs of containers, one IP packet at a read, and takes packets for
	// them. A SYN that is written to it comes to Listen, as does all that follows it.
	Tun int
	// Listen are sockets that accept what was written, for IPv4 and IPv6: the local
	// address of what they accept is the one that the container asked for.
	Listen4, Listen6 int
	// Pass is another tun: a SYN that is written to it goes on to slirp4netns, and counts
	// as any that came by a bridge does.
	Pass int
}

// Close gives them up.
func (o *Out) Close() {
	for _, fd := range []*int{&o.Tun, &o.Listen4, &o.Listen6, &o.Pass} {
		if *fd >= 0 {
			_ = unix.Close(*fd)
		}
		*fd = -1
	}
}

// OpenOut prepares for a relay, which Lead then leads to. Uplink has been called: what is
// on no bridge, and not slirp4netns's, is the world. An error says what the kernel or
// this place lacks; then all is as before. About 1 ms.
func (w *World) OpenOut(ipv6 bool) (*Out, error) {
	o := &Out{-1, -1, -1, -1}
	var err error
	// A keeper that was killed has the tun until its descriptors are closed. Others need
	// the thread meanwhile.
	for end := time.Now().Add(time.Second); ; time.Sleep(2 * time.Millisecond) {
		err = w.Do(func() error { return w.openOut(o, ipv6 && w.ipv6) })
		if !errors.Is(err, unix.EBUSY) || time.Now().After(end) {
			break
		}
	}
	if err != nil {
		o.Close()
		return nil, hint.New(relayOp, err, "")
	}
	return o, nil
}

const relayOp = "relay the TCP connections of containers to the world"

func (w *World) openOut(o *Out, six bool) (err error) {
	o.Close() // of a try before
	if o.Tun, err = w.openTun(outDevice, six); err != nil {
		return err
	}
	if o.Pass, err = w.openTun(passDevice, six); err != nil {
		return err
	}
	if err := w.routeOut(six); err != nil {
		return err
	}
	if o.Listen4, err = listenOut(unix.AF_INET); err != nil || !six {
		return err
	}
	o.Listen6, err = listenOut(unix.AF_INET6)
	return err
}

// Lead has connections to the world go through the relay that works on o, until o is
// nil: then slirp4netns carries them. What is open goes on as it is.
func (w *World) Lead(o *Out) error {
	err := w.Do(func() error { return w.filter.lead(o) })
	if err != nil {
		return hint.New(relayOp, err, "")
	}
	return nil
}

// openTun makes one, or takes the one that is there, and brings it up; EBUSY: somebody
// has it. It stays when we end: to take a link away takes the kernel 30 ms each, in which
// the sockets of a keeper that was killed still swallow questions of DNS.
func (w *World) openTun(name string, six bool) (int, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: "/dev/net/tun", Err: err}
	}
	r, err := unix.NewIfreq(name)
	if err == nil {
		r.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, r)
	}
	if err == nil {
		err = unix.IoctlSetInt(fd, unix.TUNSETPERSIST, 1)
	}
	if err == nil {
		err = w.raiseTun(name, six)
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("make %s: %w", name, err)
	}
	return fd, nil
}

func (w *World) raiseTun(name string, six bool) error {
	index, err := w.linkIndex(name)
	if err != nil {
		return err
	}
	w.index = max(w.index, index)
	// What comes out of it has the address of somebody on a bridge: a check of the way
	// back would drop it (the larger one of all's and the link's, routeOut).
	if err := setSysctl("net/ipv4/conf/"+name+"/rp_filter", "0"); err != nil {
		return err
	}
	if six {
		if err := setSysctl("net/ipv6/conf/"+name+"/disable_ipv6", "0"); err != nil {
			return err
		}
	}
	return w.route.run(forwardV4(index), setMTU(index, slirp.MTU), setUp(index))
}

// routeOut leads marked packets to the tun, or to us.
func (w *World) routeOut(six bool) error {
	for _, s := range []string{
		"net/ipv4/conf/all/rp_filter",
		// A SYN from the port of a connection in TIME_WAIT goes to the tun like any other.
		// Early demultiplexing would find that socket, and ip_forward drops what has one.
		"net/ipv4/tcp_early_demux",
	} {
		if err := setSysctl(s, "0"); err != nil {
			return err
		}
	}
	index, err := w.linkIndex(outDevice)
	if err != nil {
		return err
	}
	families := []byte{unix.AF_INET}
	if six {
		families = append(families, unix.AF_INET6)
	}
	for _, f := range families {
		for _, r := range []request{
			// What main knows without a default route is on a bridge, or is slirp4netns's
			// own, and is refused there: the relay would find it on the host, or beyond.
			leadMark(f, rulesOut, markAsk, unix.RT_TABLE_MAIN, true),
			leadMark(f, rulesOut+1, markAsk, markAsk, false),
			leadMark(f, rulesOut+2, markHere, markHere, false),
		} {
			if err := w.route.run(r); err != nil && !errors.Is(err, unix.EEXIST) { // of a keeper before us
				return err
			}
		}
		if err := w.route.run(replaced(tableRoute(f, markAsk, unix.RTN_UNICAST, index)), replaced(tableRoute(f, markHere, unix.RTN_LOCAL, 1))); err != nil {
			return err
		}
	}
	return nil
}

// leadMark is ip rule add priority P fwmark M lookup T [suppress_prefixlength 0].
func leadMark(family byte, priority, mark, table uint32, noDefault bool) request {
	header := make([]byte, unix.SizeofRtMsg) // struct fib_rule_hdr
	header[0], header[7] = family, unix.FR_ACT_TO_TBL
	b, err := body(header, func(ae *netlink.AttributeEncoder) {
		ae.Uint32(unix.FRA_PRIORITY, priority)
		ae.Uint32(unix.FRA_FWMARK, mark)
		ae.Uint32(unix.FRA_TABLE, table)
		if noDefault {
			ae.Uint32(unix.FRA_SUPPRESS_PREFIXLEN, 0)
		}
	})
	return request{"route by a mark", unix.RTM_NEWRULE, create, b, err}
}

// tableRoute is the default route of a table.
func tableRoute(family byte, table uint32, kind byte, index int) request {
	header := make([]byte, unix.SizeofRtMsg)
	header[0], header[5], header[7] = family, unix.RTPROT_STATIC, kind
	if kind == unix.RTN_LOCAL {
		header[6] = unix.RT_SCOPE_HOST
	}
	b, err := body(header, func(ae *netlink.AttributeEncoder) {
		ae.Uint32(unix.RTA_TABLE, table)
		ae.Uint32(unix.RTA_OIF, uint32(index))
	})
	return request{"add a route for a mark", unix.RTM_NEWROUTE, netlink.Create, b, err}
}

// listenOut listens on loopback, which no packet of a container's has as destination
// (the kernel drops it as a Martian): what the rules of lead choose is all that comes.
func listenOut(family int) (fd int, err error) {
	fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	defer func() {
		if err != nil {
			_ = unix.Close(fd)
			fd = -1
		}
	}()
	transparent := [3]int{unix.SOL_IP, unix.IP_TRANSPARENT, 1}
	var at unix.Sockaddr = &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
	if family == unix.AF_INET6 {
		transparent = [3]int{unix.SOL_IPV6, unix.IPV6_TRANSPARENT, 1}
		at = &unix.SockaddrInet6{Addr: [16]byte{15: 1}}
	}
	for _, o := range [][3]int{transparent, {unix.SOL_SOCKET, unix.SO_MARK, markSent}, {unix.SOL_TCP, unix.TCP_SYNCNT, synAcks}} {
		if err := unix.SetsockoptInt(fd, o[0], o[1], o[2]); err != nil {
			return fd, os.NewSyscallError("setsockopt", err)
		}
	}
	if err := unix.Bind(fd, at); err != nil {
		return fd, os.NewSyscallError("bind", err)
	}
	return fd, os.NewSyscallError("listen", unix.Listen(fd, 1<<16-1))
}

// synAcks more are sent to a container that does not complete its connection, 7 seconds
// long: it is at the other end of a veth.
const synAcks = 2
