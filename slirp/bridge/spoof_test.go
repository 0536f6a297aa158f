package bridge

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// raw sends a frame from eth0 of b, whatever it says.
func (b *box) raw(frame []byte) {
	b.t.Helper()
	err := b.do(func() error {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		i, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		return unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: i.Index})
	})
	if err != nil {
		b.t.Fatal(err)
	}
}

// listen returns a count of how often a frame comes to eth0 of b. (Others come too: the
// kernel's own reports of multicast groups.)
func (b *box) listen(frameType uint16, frame []byte) func() int {
	b.t.Helper()
	var fd int
	err := b.do(func() (err error) {
		big := frameType<<8 | frameType>>8
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, int(big))
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = unix.Close(fd) })
	return func() (n int) {
		time.Sleep(30 * time.Millisecond)
		buf := make([]byte, 2000)
		for {
			l, _, err := unix.Recvfrom(fd, buf, 0)
			if err != nil {
				return n
			}
			if bytes.Equal(buf[:l], frame) {
				n++
			}
		}
	}
}

var broadcast = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

func frame(to, from net.HardwareAddr, kind uint16, data []byte) []byte {
	return append(binary.BigEndian.AppendUint16(append(append([]byte{}, to...), from...), kind), data...)
}

// arp says that mac has a.
func arp(frameFrom, mac net.HardwareAddr, a netip.Addr) []byte {
	data := []byte{0, 1, 8, 0, 6, 4, 0, 2}
	data = append(append(data, mac...), a.AsSlice()...)
	data = append(append(data, broadcast...), a.AsSlice()...)
	return frame(broadcast, frameFrom, unix.ETH_P_ARP, append(data, make([]byte, 18)...))
}

func ipv4(from, mac net.HardwareAddr, source, dest netip.Addr) []byte {
	h := []byte{0x45, 0, 0, 28, 0, 1, 0, 0, 64, unix.IPPROTO_UDP, 0, 0}
	h = append(append(h, source.AsSlice()...), dest.AsSlice()...)
	var sum uint32
	for i := 0; i < 20; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(h[i:]))
	}
	binary.BigEndian.PutUint16(h[10:], ^uint16(sum+sum>>16))
	return frame(mac, from, unix.ETH_P_IP, append(h, 0, 9, 0, 9, 0, 8, 0, 0))
}

// icmp6 is a message of ICMPv6 of one type about a target; the checksum is wrong, which
// a bridge does not look at.
func icmp6(from net.HardwareAddr, source netip.Addr, kind byte, target netip.Addr) []byte {
	all := netip.MustParseAddr("ff02::1")
	h := append([]byte{0x60, 0, 0, 0, 0, 24, unix.IPPROTO_ICMPV6, 255}, source.AsSlice()...)
	h = append(append(h, all.AsSlice()...), kind, 0, 0, 0, 0x20, 0, 0, 0)
	return frame(net.HardwareAddr{0x33, 0x33, 0, 0, 0, 1}, from, unix.ETH_P_IPV6, append(h, target.AsSlice()...))
}

func TestNobodySpeaksForOthers(t *testing.T) {
	w := open(t, nil, Options{})
	if w.filter.ports == nil {
		t.Skip("the kernel has no nf_tables for bridges: ", w.filter.noPorts)
	}
	n := testNetwork("web", "10.89.0.0/24", "fd5c:1::/64")
	a, victim, other := newBox(t), newBox(t), newBox(t)
	sa, sv, so := a.join(w, on(n)), victim.join(w, on(n)), other.join(w, on(n))
	mac := func(s string) net.HardwareAddr { m, _ := net.ParseMAC(s); return m }
	ma, mv, mo := mac(sa.MAC), mac(sv.MAC), mac(so.MAC)
	stranger := net.HardwareAddr{2, 0x42, 9, 9, 9, 9}
	for _, c := range []struct {
		name  string
		kind  uint16
		frame []byte
		come  bool
	}{
		{"own ARP", unix.ETH_P_ARP, arp(ma, ma, sa.IP), true},
		{"ARP for another", unix.ETH_P_ARP, arp(ma, ma, so.IP), false},
		{"ARP for the gateway", unix.ETH_P_ARP, arp(ma, ma, sa.Gateway), false},
		{"ARP that another has mine", unix.ETH_P_ARP, arp(ma, mo, sa.IP), false},
		{"ARP in another's frame", unix.ETH_P_ARP, arp(mo, ma, sa.IP), false},
		{"own packet", unix.ETH_P_IP, ipv4(ma, mv, sa.IP, sv.IP), true},
		{"another's address", unix.ETH_P_IP, ipv4(ma, mv, so.IP, sv.IP), false},
		{"the gateway's address", unix.ETH_P_IP, ipv4(ma, mv, sa.Gateway, sv.IP), false},
		{"an address outside", unix.ETH_P_IP, ipv4(ma, mv, netip.MustParseAddr("192.0.2.1"), sv.IP), false},
		{"another's MAC", unix.ETH_P_IP, ipv4(mo, mv, sa.IP, sv.IP), false},
		{"a new MAC", unix.ETH_P_IP, ipv4(stranger, mv, sa.IP, sv.IP), false},
		{"own advertisement", unix.ETH_P_IPV6, icmp6(ma, sa.IP6, 136, sa.IP6), true},
		{"own link-local one", unix.ETH_P_IPV6, icmp6(ma, linkLocal(ma), 136, linkLocal(ma)), true},
		{"advertisement for another", unix.ETH_P_IPV6, icmp6(ma, sa.IP6, 136, so.IP6), false},
		{"another's advertisement", unix.ETH_P_IPV6, icmp6(ma, so.IP6, 136, so.IP6), false},
		{"advertisement of a router", unix.ETH_P_IPV6, icmp6(ma, linkLocal(ma), 134, sa.IP6), false},
		{"redirect", unix.ETH_P_IPV6, icmp6(ma, linkLocal(ma), 137, sa.IP6), false},
		{"search for a double", unix.ETH_P_IPV6, icmp6(ma, netip.IPv6Unspecified(), 135, sa.IP6), true},
		{"anything else from nowhere", unix.ETH_P_IPV6, icmp6(ma, netip.IPv6Unspecified(), 128, sa.IP6), false},
		{"spanning tree and others", 0x88b5, frame(broadcast, ma, 0x88b5, make([]byte, 46)), false},
		{"a VLAN", 0x8100, frame(broadcast, ma, 0x8100, append([]byte{0, 5, 0x88, 0xb5}, make([]byte, 46)...)), false},
	} {
		count := victim.listen(c.kind, c.frame)
		a.raw(c.frame)
		if got := count(); (got > 0) != c.come {
			t.Errorf("%s: %d arrived", c.name, got)
		}
	}
}

// Without the filter of bridges, that of IP still knows which network a packet is of.
func TestSourceOfAnotherNetwork(t *testing.T) {
	w := open(t, nil, Options{})
	n, other := testNetwork("web", "10.89.0.0/24"), testNetwork("other", "10.89.1.0/24")
	a, b := newBox(t), newBox(t)
	sa := a.join(w, on(n))
	sb := b.join(w, on(other))
	ma, _ := net.ParseMAC(sa.MAC)
	udp, _, err := w.ListenDNS(other.ID)
	if err != nil {
		t.Fatal(err)
	}
	gateway := macOf(sa.Gateway)
	packet := ipv4(ma, gateway, sb.IP, sb.Gateway)
	binary.BigEndian.PutUint16(packet[14+22:], 53)
	a.raw(packet)
	until := time.Now().Add(100 * time.Millisecond)
	for _, c := range udp {
		_ = c.SetReadDeadline(until)
		if n, from, err := c.ReadFrom(make([]byte, 10)); err == nil {
			t.Errorf("%d bytes from %v", n, from)
		}
		_ = c.Close()
	}
}
