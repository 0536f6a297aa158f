package forward

import (
	"encoding/binary"
	"net/netip"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The calls of package unix make a new address for each datagram, and tell the scheduler
// of Go before and after, as if they could block. These do neither.

// epollNow is epoll_wait(2) with a time-out of 0.
func epollNow(fd int, events []unix.EpollEvent) (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)), 0, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

func recvfrom(fd int, data []byte, flags int) (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(data))), uintptr(len(data)), uintptr(flags), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// sendto writes to a connected socket, without SIGPIPE.
func sendto(fd int, data []byte) (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(data))), uintptr(len(data)), unix.MSG_NOSIGNAL, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// datagram is the room for one of them with its addresses, for recvmsg(2) and sendmsg(2).
type datagram struct {
	data    []byte
	header  unix.Msghdr
	vec     unix.Iovec
	name    unix.RawSockaddrInet6 // the larger of the two
	control [64]byte
}

func newDatagram() *datagram {
	d := &datagram{data: make([]byte, 1<<16)}
	d.vec.Base = &d.data[0]
	d.header.Iov, d.header.Name, d.header.Control = &d.vec, (*byte)(unsafe.Pointer(&d.name)), &d.control[0]
	d.header.SetIovlen(1)
	return d
}

// receive takes one datagram: its bytes, whence, and the address here that it came to
// (none where the socket was not asked for it).
func (d *datagram) receive(fd int) (n int, from netip.AddrPort, to netip.Addr, err error) {
	d.vec.SetLen(len(d.data))
	d.header.Namelen = uint32(unsafe.Sizeof(d.name))
	d.header.SetControllen(len(d.control))
	r, _, errno := unix.RawSyscall(unix.SYS_RECVMSG, uintptr(fd), uintptr(unsafe.Pointer(&d.header)), 0)
	if errno != 0 {
		return 0, from, to, errno
	}
	return int(r), d.from(), d.to(), nil
}

func (d *datagram) from() netip.AddrPort {
	if d.name.Family == unix.AF_INET {
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(&d.name))
		return netip.AddrPortFrom(netip.AddrFrom4(v4.Addr), hostOrder(v4.Port))
	}
	return netip.AddrPortFrom(netip.AddrFrom16(d.name.Addr).Unmap().WithZone(zone(d.name.Scope_id)), hostOrder(d.name.Port))
}

// to reads the one control message that was asked for: struct in_pktinfo, struct
// in6_pktinfo (ip(7), ipv6(7)).
func (d *datagram) to() netip.Addr {
	h := (*unix.Cmsghdr)(unsafe.Pointer(&d.control[0]))
	data := d.control[unix.CmsgLen(0):]
	switch {
	case uint64(d.header.Controllen) < uint64(unix.CmsgLen(0)):
	case h.Level == unix.SOL_IP && h.Type == unix.IP_PKTINFO:
		return netip.AddrFrom4([4]byte(data[4:8])) // ipi_spec_dst
	case h.Level == unix.SOL_IPV6 && h.Type == unix.IPV6_PKTINFO:
		return netip.AddrFrom16([16]byte(data[:16]))
	}
	return netip.Addr{}
}

// send sends the first n bytes to an address, from one of ours if it is valid.
func (d *datagram) send(fd, n int, to netip.AddrPort, from netip.Addr, six bool) error {
	d.vec.SetLen(n)
	d.address(to, six)
	d.source(from)
	_, _, errno := unix.RawSyscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&d.header)), unix.MSG_NOSIGNAL)
	if errno != 0 {
		return errno
	}
	return nil
}

func (d *datagram) address(to netip.AddrPort, six bool) {
	if !six {
		*(*unix.RawSockaddrInet4)(unsafe.Pointer(&d.name)) = unix.RawSockaddrInet4{Family: unix.AF_INET, Port: hostOrder(to.Port()), Addr: to.Addr().As4()}
		d.header.Namelen = unix.SizeofSockaddrInet4
		return
	}
	d.name = unix.RawSockaddrInet6{Family: unix.AF_INET6, Port: hostOrder(to.Port()), Addr: to.Addr().As16(), Scope_id: index(to.Addr().Zone())}
	d.header.Namelen = unix.SizeofSockaddrInet6
}

func (d *datagram) source(from netip.Addr) {
	d.header.SetControllen(0)
	if !from.IsValid() {
		return
	}
	h := (*unix.Cmsghdr)(unsafe.Pointer(&d.control[0]))
	data := d.control[unix.CmsgLen(0):]
	size := unix.SizeofInet4Pktinfo
	clear(d.control[:])
	if from.Is4() {
		h.Level, h.Type = unix.SOL_IP, unix.IP_PKTINFO
		addr := from.As4()
		copy(data[4:], addr[:])
	} else {
		// A mapped address is fine: udp_sendmsg takes it from a socket of IPv6.
		h.Level, h.Type = unix.SOL_IPV6, unix.IPV6_PKTINFO
		size = unix.SizeofInet6Pktinfo
		addr := from.As16()
		copy(data, addr[:])
	}
	h.SetLen(unix.CmsgLen(size))
	d.header.SetControllen(unix.CmsgSpace(size))
}

// hostOrder swaps a port between the network's order and ours.
func hostOrder(port uint16) uint16 {
	var b [2]byte
	binary.NativeEndian.PutUint16(b[:], port)
	return binary.BigEndian.Uint16(b[:])
}

func zone(index uint32) string {
	if index == 0 {
		return ""
	}
	return strconv.Itoa(int(index))
}

func index(zone string) uint32 {
	n, _ := strconv.ParseUint(zone, 10, 32)
	return uint32(n)
}
