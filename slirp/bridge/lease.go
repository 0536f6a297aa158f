package bridge

import (
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/slirp"
)

// pool is the addresses of one family of one network. What is taken is what containers
// have: there is no list of leases beside them that could be wrong.
type pool struct {
	slirp.Subnet
	taken map[netip.Addr]string // to the container
	next  netip.Addr            // where the search goes on: an address rests before another gets it
}

func newPool(s slirp.Subnet) *pool { return &pool{Subnet: s, taken: map[netip.Addr]string{}} }

// take gives id an address: want (a refusal if it cannot be), else one of those that it
// had before, else the next free one. within narrows the choice; zero: the whole subnet.
func (p *pool) take(id string, want netip.Addr, before []netip.Addr, within netip.Prefix) (netip.Addr, error) {
	if want.IsValid() {
		if err := p.refuse(id, want); err != nil {
			return netip.Addr{}, err
		}
		p.taken[want] = id
		return want, nil
	}
	for _, a := range before {
		if p.refuse(id, a) == nil {
			p.taken[a] = id
			return a, nil
		}
	}
	a, err := p.choose(within)
	if err == nil {
		p.taken[a] = id
		p.next = a.Next()
	}
	return a, err
}

// taken is who holds an address.
type takenBy struct {
	addr   netip.Addr
	holder string
}

func (t *takenBy) Error() string { return fmt.Sprintf("%s belongs to %s", t.addr, t.holder) }
func (t *takenBy) Unwrap() error { return unix.EADDRINUSE }

// refuse says why id cannot have a.
func (p *pool) refuse(id string, a netip.Addr) error {
	switch holder := p.taken[a]; {
	case !p.Prefix.Contains(a):
		return fmt.Errorf("%s is not in %s: %w", a, p.Prefix, unix.ERANGE)
	case a == p.Gateway:
		return &takenBy{a, "the gateway"}
	case p.reserved(a):
		return fmt.Errorf("%s is the first or the last of %s, which are nobody's: %w", a, p.Prefix, unix.ERANGE)
	case holder != "" && holder != id:
		return &takenBy{a, "container " + short(holder)}
	}
	return nil
}

// reserved are the subnet's own address (in IPv6 its routers', RFC 4291, 2.6.1), and
// the one for all in IPv4. Where a prefix has but two addresses both are usable (RFC
// 3021, 6164).
func (p *pool) reserved(a netip.Addr) bool {
	if p.Prefix.Bits() >= a.BitLen()-1 {
		return false
	}
	return a == p.Prefix.Addr() || a.Is4() && a == last(p.Prefix)
}

// choose finds the next free address of the range. It looks at no more addresses than
// can be taken, whatever the size of the range.
func (p *pool) choose(within netip.Prefix) (netip.Addr, error) {
	if !within.IsValid() {
		within = p.Prefix
	}
	a := p.next
	for range len(p.taken) + 4 { // the gateway, two that are reserved, and one that is free
		if !a.IsValid() || !within.Contains(a) {
			a = within.Addr()
		}
		if p.taken[a] == "" && p.refuse("", a) == nil {
			return a, nil
		}
		a = a.Next()
	}
	return netip.Addr{}, fmt.Errorf("all addresses of %s are taken: %w", within, unix.ENOSPC)
}

// free gives back what id has.
func (p *pool) free(id string, a netip.Addr) {
	if p.taken[a] == id {
		delete(p.taken, a)
	}
}

// last is the highest address of a prefix.
func last(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// macOf makes a MAC of an address, as Docker does: locally administered (IEEE 802,
// second bit), then the address, so that whoever has an address again has the MAC that
// others remember with it.
func macOf(a netip.Addr) net.HardwareAddr {
	b := a.AsSlice()
	if a.Is4() {
		return append(net.HardwareAddr{0x02, 0x42}, b...)
	}
	return append(net.HardwareAddr{0x02, 0x46}, b[12:]...) // another second byte: not an IPv4 one's
}

// linkLocal is the address of fe80::/64 that belongs to a MAC (RFC 4291, appendix A).
func linkLocal(mac net.HardwareAddr) netip.Addr {
	return netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 8: mac[0] ^ 2, 9: mac[1], 10: mac[2], 11: 0xff, 12: 0xfe, 13: mac[3], 14: mac[4], 15: mac[5]})
}

// short is a container's or network's ID as it is shown.
func short(id string) string { return id[:min(12, len(id))] }
