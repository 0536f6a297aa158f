package forward

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// route is who asks whom: of a container's connection to the world.
type route struct{ from, to netip.AddrPort }

// maxSYN bounds what is kept of one that waits. Options are 40 bytes at most, the headers
// of IPv6 and TCP 60; data may come along (RFC 7413), and is sent again without.
const maxSYN = 512

// parseSYN reads a packet of IPv4 or IPv6 that begins a TCP connection; seq is its
// sequence number. The kernel has checked the header of IP, but for IPv6 nothing further.
func parseSYN(p []byte) (r route, seq uint32, ok bool) {
	var from, to netip.Addr
	var tcp []byte
	switch {
	case len(p) >= 20 && p[0]>>4 == 4:
		n := int(p[0]&15) * 4
		// A fragment is none of ours: defragmentation was before.
		if n < 20 || len(p) < n || p[9] != unix.IPPROTO_TCP || binary.BigEndian.Uint16(p[6:])&0x3fff != 0 {
			return r, 0, false
		}
		from, to, tcp = netip.AddrFrom4([4]byte(p[12:])), netip.AddrFrom4([4]byte(p[16:])), p[n:]
	case len(p) >= 40 && p[0]>>4 == 6 && p[6] == unix.IPPROTO_TCP: // with other headers between: not
		from, to, tcp = netip.AddrFrom16([16]byte(p[8:])), netip.AddrFrom16([16]byte(p[24:])), p[40:]
	}
	if len(tcp) < 20 || tcp[13]&0x17 != 0x02 { // SYN without ACK, RST, FIN
		return r, 0, false
	}
	r.from = netip.AddrPortFrom(from, binary.BigEndian.Uint16(tcp))
	r.to = netip.AddrPortFrom(to, binary.BigEndian.Uint16(tcp[2:]))
	return r, binary.BigEndian.Uint32(tcp[4:]), true
}

// refusal is the RST that answers a SYN (RFC 9293, 3.10.7.1).
func refusal(r route, seq uint32) []byte {
	tcp := make([]byte, 20)
	binary.BigEndian.PutUint16(tcp, r.to.Port())
	binary.BigEndian.PutUint16(tcp[2:], r.from.Port())
	binary.BigEndian.PutUint32(tcp[8:], seq+1)
	tcp[12], tcp[13] = 5<<4, 0x14 // five words; RST and ACK
	binary.BigEndian.PutUint16(tcp[16:], checksum(r.to.Addr(), r.from.Addr(), unix.IPPROTO_TCP, tcp))
	return wrap(r.to.Addr(), r.from.Addr(), unix.IPPROTO_TCP, tcp)
}

// Of ICMP (RFC 792) and ICMPv6 (RFC 4443): destination unreachable.
const (
	noNet, noHost      = 0, 1
	noRoute6, noHost6  = 0, 3
	unreach4, unreach6 = 3, 1
)

// unreachable answers a SYN on behalf of the one that it was for.
func unreachable(r route, syn []byte, host bool) []byte {
	if r.from.Addr().Is4() {
		m := append([]byte{unreach4, noNet, 0, 0, 0, 0, 0, 0}, syn[:min(len(syn), int(syn[0]&15)*4+8)]...)
		if host {
			m[1] = noHost
		}
		binary.BigEndian.PutUint16(m[2:], fold(sum(0, m)))
		return wrap(r.to.Addr(), r.from.Addr(), unix.IPPROTO_ICMP, m)
	}
	m := append([]byte{unreach6, noRoute6, 0, 0, 0, 0, 0, 0}, syn...)
	if host {
		m[1] = noHost6
	}
	binary.BigEndian.PutUint16(m[2:], checksum(r.to.Addr(), r.from.Addr(), unix.IPPROTO_ICMPV6, m))
	return wrap(r.to.Addr(), r.from.Addr(), unix.IPPROTO_ICMPV6, m)
}

// wrap puts a header of IP before.
func wrap(from, to netip.Addr, proto byte, data []byte) []byte {
	if from.Is4() {
		h := make([]byte, 20, 20+len(data))
		h[0], h[8], h[9] = 0x45, 64, proto
		binary.BigEndian.PutUint16(h[2:], uint16(20+len(data)))
		h[6] = 0x40 // do not fragment: then the identification may be 0 (RFC 6864)
		copy(h[12:], from.AsSlice())
		copy(h[16:], to.AsSlice())
		binary.BigEndian.PutUint16(h[10:], fold(sum(0, h)))
		return append(h, data...)
	}
	h := make([]byte, 40, 40+len(data))
	h[0], h[6], h[7] = 0x60, proto, 64
	binary.BigEndian.PutUint16(h[4:], uint16(len(data)))
	copy(h[8:], from.AsSlice())
	copy(h[24:], to.AsSlice())
	return append(h, data...)
}

// checksum is that of TCP and ICMPv6, over the pseudo-header too.
func checksum(from, to netip.Addr, proto byte, data []byte) uint16 {
	s := sum(uint32(proto)+uint32(len(data)), from.AsSlice())
	return fold(sum(sum(s, to.AsSlice()), data))
}

// sum adds 16-bit words (RFC 1071); of an even number of bytes but for the last call.
func sum(s uint32, b []byte) uint32 {
	for ; len(b) > 1; b = b[2:] {
		s += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) == 1 {
		s += uint32(b[0]) << 8
	}
	return s
}

func fold(s uint32) uint16 {
	for s>>16 != 0 {
		s = s>>16 + s&0xffff
	}
	return ^uint16(s)
}
