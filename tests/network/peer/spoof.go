package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// spoof FROM TO COUNT sends datagrams to TO's sink that say they are from FROM
// (raw(7), IP_HDRINCL), and prints how many the kernel let out of here.
func spoof(args []string) error {
	from, err := netip.ParseAddr(args[0])
	if err != nil {
		return err
	}
	to, err := netip.ParseAddr(args[1])
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return fmt.Errorf("raw socket: %w", err)
	}
	sent := 0
	var last error
	for range number(args, 2, 20) {
		if last = unix.Sendto(fd, datagram(from, to), 0, &unix.SockaddrInet4{Addr: to.As4()}); last == nil {
			sent++
		}
	}
	if sent == 0 {
		return last
	}
	return print(sent)
}

// datagram is IPv4 and UDP to port 9; the kernel fills in the sum of the header, and
// none is needed for UDP.
func datagram(from, to netip.Addr) []byte {
	const payload = "spoofed"
	p := make([]byte, 28, 28+len(payload))
	p[0], p[8], p[9] = 0x45, 64, unix.IPPROTO_UDP
	binary.BigEndian.PutUint16(p[2:], uint16(28+len(payload)))
	f, t := from.As4(), to.As4()
	copy(p[12:], f[:])
	copy(p[16:], t[:])
	binary.BigEndian.PutUint16(p[20:], 4321)
	binary.BigEndian.PutUint16(p[22:], 9)
	binary.BigEndian.PutUint16(p[24:], uint16(8+len(payload)))
	return append(p, payload...)
}

// arp IP VICTIM COUNT tells everybody, and VICTIM in person, that IP is at our hardware
// address, as answers and as questions (packet(7)).
func arp(args []string) error {
	claimed, err := netip.ParseAddr(args[0])
	if err != nil {
		return err
	}
	victim, err := netip.ParseAddr(args[1])
	if err != nil {
		return err
	}
	device, err := net.InterfaceByName("eth0")
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("packet socket: %w", err)
	}
	to := &unix.SockaddrLinklayer{Ifindex: device.Index, Halen: 6}
	sent := 0
	var last error
	for range number(args, 2, 20) {
		for _, op := range []byte{1, 2} {
			if last = unix.Sendto(fd, frame(device.HardwareAddr, claimed, victim, op), 0, to); last == nil {
				sent++
			}
		}
	}
	if sent == 0 {
		return last
	}
	return print(sent)
}

// frame is Ethernet and ARP (RFC 826).
func frame(mac net.HardwareAddr, claimed, victim netip.Addr, op byte) []byte {
	p := []byte{0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}
	p = append(p, mac...)
	p = append(p, 0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, op)
	p = append(p, mac...)
	c, v := claimed.As4(), victim.As4()
	p = append(p, c[:]...)
	p = append(p, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF)
	return append(p, v[:]...)
}

// neighbour IP prints where this container believes that address to be.
func neighbour(args []string) error {
	table, err := os.ReadFile("/proc/net/arp")
	for line := range strings.Lines(string(table)) {
		if f := strings.Fields(line); len(f) > 3 && f[0] == args[0] {
			fmt.Println(f[3])
			return nil
		}
	}
	return errors.Join(err, errors.New("not known here"))
}
