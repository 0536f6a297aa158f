package forward

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

func between(from, to string) route {
	return route{netip.MustParseAddrPort(from), netip.MustParseAddrPort(to)}
}

// makeSYN is what a kernel sends first, with options.
func makeSYN(r route, seq uint32) []byte {
	tcp := make([]byte, 24)
	binary.BigEndian.PutUint16(tcp, r.from.Port())
	binary.BigEndian.PutUint16(tcp[2:], r.to.Port())
	binary.BigEndian.PutUint32(tcp[4:], seq)
	tcp[12], tcp[13] = 6<<4, 2
	binary.BigEndian.PutUint16(tcp[14:], 64240)
	copy(tcp[20:], []byte{2, 4, 0x05, 0xb4}) // MSS 1460
	binary.BigEndian.PutUint16(tcp[16:], checksum(r.from.Addr(), r.to.Addr(), unix.IPPROTO_TCP, tcp))
	return wrap(r.from.Addr(), r.to.Addr(), unix.IPPROTO_TCP, tcp)
}

var someRoutes = []route{between("10.88.0.5:40000", "192.0.2.7:443"), between("[fd00:88::5]:40001", "[2001:db8::7]:25")}

func TestParseSYN(t *testing.T) {
	for _, want := range someRoutes {
		syn := makeSYN(want, 7)
		got, seq, ok := parseSYN(syn)
		if !ok || got != want || seq != 7 {
			t.Errorf("%v: %v %d %v", want, got, seq, ok)
		}
		flags := len(syn) - 24 + 13
		for _, f := range []byte{0, 1, 4, 0x10, 0x12, 0x06, 0x03} {
			other := bytes.Clone(syn)
			other[flags] = f
			if _, _, ok := parseSYN(other); ok {
				t.Errorf("flags %#x are no SYN", f)
			}
		}
		other := bytes.Clone(syn)
		other[flags] = 0xc2 // ECN (RFC 3168)
		if _, _, ok := parseSYN(other); !ok {
			t.Error("one that offers ECN is one, too")
		}
		for n := range len(syn) - 4 { // the options need not be there
			if _, _, ok := parseSYN(syn[:n]); ok {
				t.Errorf("%d bytes are none", n)
			}
		}
	}
	syn := makeSYN(someRoutes[0], 7)
	for what, change := range map[string]func(p []byte){
		"a fragment":        func(p []byte) { p[6] = 0x20 },
		"a later fragment":  func(p []byte) { p[7] = 3 },
		"UDP":               func(p []byte) { p[9] = unix.IPPROTO_UDP },
		"no header of IP":   func(p []byte) { p[0] = 0x44 },
		"too long a header": func(p []byte) { p[0] = 0x4f },
		"no IP":             func(p []byte) { p[0] = 0x55 },
	} {
		p := bytes.Clone(syn)
		change(p)
		if _, _, ok := parseSYN(p); ok {
			t.Errorf("%s was taken for a SYN", what)
		}
	}
}

// sound checks the checksums of a packet of ours.
func sound(t *testing.T, p []byte) (proto byte, data []byte) {
	t.Helper()
	var from, to netip.Addr
	if p[0]>>4 == 4 {
		if int(binary.BigEndian.Uint16(p[2:])) != len(p) || fold(sum(0, p[:20])) != 0 {
			t.Errorf("header of IPv4: % x", p[:20])
		}
		from, to, proto, data = netip.AddrFrom4([4]byte(p[12:])), netip.AddrFrom4([4]byte(p[16:])), p[9], p[20:]
	} else {
		if int(binary.BigEndian.Uint16(p[4:])) != len(p)-40 {
			t.Errorf("header of IPv6: % x", p[:40])
		}
		from, to, proto, data = netip.AddrFrom16([16]byte(p[8:])), netip.AddrFrom16([16]byte(p[24:])), p[6], p[40:]
	}
	left := checksum(from, to, proto, data)
	if proto == unix.IPPROTO_ICMP { // without the addresses
		left = fold(sum(0, data))
	}
	if left != 0 {
		t.Errorf("protocol %d: the checksum is wrong by %#x", proto, left)
	}
	return proto, data
}

func TestAnswers(t *testing.T) {
	for _, r := range someRoutes {
		syn := makeSYN(r, 1<<32-1)
		sound(t, syn)
		proto, tcp := sound(t, refusal(r, 1<<32-1))
		if proto != unix.IPPROTO_TCP || binary.BigEndian.Uint16(tcp) != r.to.Port() || binary.BigEndian.Uint32(tcp[8:]) != 0 || tcp[13] != 0x14 {
			t.Errorf("%v: % x", r, tcp)
		}
		for _, host := range []bool{false, true} {
			_, icmp := sound(t, unreachable(r, syn, host))
			if !bytes.HasPrefix(syn, icmp[8:]) || len(icmp) < 8+28 {
				t.Errorf("it quotes % x", icmp[8:])
			}
			if (icmp[1] != 0) != host {
				t.Errorf("code %d", icmp[1])
			}
		}
	}
}

func TestAllowed(t *testing.T) {
	for text, want := range map[string]bool{
		"192.0.2.1": true, "10.0.0.1": true, "2001:db8::1": true, "fd00::1": true, "169.254.169.254": true,
		"127.0.0.1": false, "127.9.9.9": false, "0.0.0.0": false, "0.0.0.1": false, "224.0.0.1": false,
		"::1": false, "::": false, "::ffff:127.0.0.1": false, "::ffff:192.0.2.1": false, "fe80::1": false, "ff02::1": false,
	} {
		if got := allowed(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}

// Whatever comes out of the tun is read without a fault, and what is a SYN can be
// answered.
func FuzzParseSYN(f *testing.F) {
	for _, r := range someRoutes {
		f.Add(makeSYN(r, 1))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		if r, seq, ok := parseSYN(p); ok {
			sound(t, refusal(r, seq))
			sound(t, unreachable(r, p, true))
		}
	})
}
