package main

import (
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// icmpv6 KIND TARGET COUNT sends what only a router or an address's owner may say, to
// all nodes (RFC 4861): "router", or "neighbour", that TARGET is at our hardware address.
// The kernel fills in the sum (raw(7), IPPROTO_ICMPV6).
func icmpv6(args []string) error {
	target, err := netip.ParseAddr(args[1])
	if err != nil {
		return err
	}
	device, err := net.InterfaceByName("eth0")
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMPV6)
	if err != nil {
		return fmt.Errorf("raw socket: %w", err)
	}
	// 255 proves to the receiver that it came from this wire.
	for _, option := range []int{unix.IPV6_MULTICAST_HOPS, unix.IPV6_UNICAST_HOPS} {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, option, 255); err != nil {
			return err
		}
	}
	p := message6(args[0], target, device.HardwareAddr)
	to := &unix.SockaddrInet6{Addr: netip.MustParseAddr("ff02::1").As16(), ZoneId: uint32(device.Index)}
	sent := 0
	var last error
	for range number(args, 2, 20) {
		if last = unix.Sendto(fd, p, 0, to); last == nil {
			sent++
		}
	}
	if sent == 0 {
		return last
	}
	return print(sent)
}

func message6(kind string, target netip.Addr, mac net.HardwareAddr) []byte {
	if kind == "router" {
		// Hop limit 64, a life of 1800 s, and our hardware address.
		p := []byte{134, 0, 0, 0, 64, 0, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1}
		return append(p, mac...)
	}
	a := target.As16()
	p := append([]byte{136, 0, 0, 0, 0xA0, 0, 0, 0}, a[:]...) // router, override
	return append(append(p, 2, 1), mac...)
}
