package bridge

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/slirp"
)

func poolOf(prefix, gateway string) *pool {
	return newPool(slirp.Subnet{Prefix: netip.MustParsePrefix(prefix), Gateway: netip.MustParseAddr(gateway)})
}

func TestChoose(t *testing.T) {
	for _, c := range []struct {
		prefix, gateway, within string
		want                    []string
	}{
		{"10.1.0.0/29", "10.1.0.1", "", []string{"10.1.0.2", "10.1.0.3", "10.1.0.4", "10.1.0.5", "10.1.0.6"}},
		{"10.1.0.0/29", "10.1.0.6", "", []string{"10.1.0.1", "10.1.0.2", "10.1.0.3", "10.1.0.4", "10.1.0.5"}},
		{"10.1.0.0/29", "10.1.0.3", "", []string{"10.1.0.1", "10.1.0.2", "10.1.0.4", "10.1.0.5", "10.1.0.6"}},
		{"10.1.0.0/24", "10.1.0.1", "10.1.0.64/31", []string{"10.1.0.64", "10.1.0.65"}},
		{"10.1.0.0/24", "10.1.0.1", "10.1.0.0/30", []string{"10.1.0.2", "10.1.0.3"}},
		{"10.1.0.0/24", "10.1.0.1", "10.1.0.252/30", []string{"10.1.0.252", "10.1.0.253", "10.1.0.254"}},
		{"10.1.0.0/30", "10.1.0.1", "", []string{"10.1.0.2"}},
		{"255.255.255.248/29", "255.255.255.249", "255.255.255.252/30", []string{"255.255.255.252", "255.255.255.253", "255.255.255.254"}},
		{"fd5c::/126", "fd5c::1", "", []string{"fd5c::2", "fd5c::3"}},
		{"fd5c::/64", "fd5c::1", "fd5c::ff:0/127", []string{"fd5c::ff:0", "fd5c::ff:1"}},
	} {
		p := poolOf(c.prefix, c.gateway)
		var within netip.Prefix
		if c.within != "" {
			within = netip.MustParsePrefix(c.within)
		}
		for _, want := range c.want {
			if got, err := p.take(want, netip.Addr{}, nil, within); err != nil || got.String() != want {
				t.Errorf("%s in %q: %v, %v; want %s", c.prefix, c.within, got, err, want)
			}
		}
		if got, err := p.take("late", netip.Addr{}, nil, within); !errors.Is(err, unix.ENOSPC) {
			t.Errorf("%s in %q: %v, %v after all", c.prefix, c.within, got, err)
		}
		// The one that was given back is found, wherever it lies.
		for _, back := range c.want {
			p.free(back, netip.MustParseAddr(back))
			if got, err := p.take(back, netip.Addr{}, nil, within); err != nil || got.String() != back {
				t.Errorf("%s: %v, %v; %s was free", c.prefix, got, err, back)
			}
		}
	}
}

// An address that was given back rests while there are others: those who remember it
// do not find somebody else at once.
func TestAddressRests(t *testing.T) {
	p := poolOf("10.1.0.0/24", "10.1.0.1")
	seen := map[netip.Addr]bool{}
	for i := range 253 {
		a, err := p.take("x", netip.Addr{}, nil, netip.Prefix{})
		if err != nil || seen[a] {
			t.Fatal(i, a, err)
		}
		seen[a] = true
		p.free("x", a)
	}
	if a, err := p.take("x", netip.Addr{}, nil, netip.Prefix{}); err != nil || a.String() != "10.1.0.2" {
		t.Error(a, err)
	}
}

func TestOnlyTheHolderFrees(t *testing.T) {
	p := poolOf("10.1.0.0/24", "10.1.0.1")
	a, err := p.take("x", netip.MustParseAddr("10.1.0.9"), nil, netip.Prefix{})
	if err != nil {
		t.Fatal(err)
	}
	p.free("y", a)
	p.free("y", netip.Addr{})
	if err := p.refuse("y", a); !errors.Is(err, unix.EADDRINUSE) {
		t.Error(err)
	}
	if _, err := p.take("x", a, nil, netip.Prefix{}); err != nil {
		t.Error("its own address: ", err)
	}
}

// Whatever is asked for in whatever order, no address is two containers'.
func TestLeasesAreUnique(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	p := poolOf("10.1.0.0/27", "10.1.0.1")
	has := map[string]netip.Addr{}
	for range 20000 {
		id := string(rune('a' + random.IntN(40)))
		if a, ok := has[id]; ok {
			p.free(id, a)
			delete(has, id)
			continue
		}
		var want netip.Addr
		var before []netip.Addr
		some := netip.AddrFrom4([4]byte{10, 1, 0, byte(random.IntN(40))})
		switch random.IntN(3) {
		case 0:
			want = some
		case 1:
			before = []netip.Addr{some}
		}
		a, err := p.take(id, want, before, netip.Prefix{})
		if err != nil {
			if want == (netip.Addr{}) && len(has) < 29 {
				t.Fatalf("%d of 29 are taken: %v", len(has), err)
			}
			continue
		}
		for other, b := range has {
			if a == b {
				t.Fatalf("%s is %s's and %s's", a, id, other)
			}
		}
		if !p.Prefix.Contains(a) || a == p.Gateway || p.reserved(a) {
			t.Fatal(a)
		}
		has[id] = a
	}
}

func TestMACs(t *testing.T) {
	for a, want := range map[string]string{"10.89.0.2": "02:42:0a:59:00:02", "fd5c::12:3456": "02:46:00:12:34:56", "255.255.255.254": "02:42:ff:ff:ff:fe"} {
		if got := macOf(netip.MustParseAddr(a)).String(); got != want {
			t.Errorf("%s: %s, want %s", a, got, want)
		}
	}
	if got := linkLocal(macOf(netip.MustParseAddr("10.89.0.2"))).String(); got != "fe80::42:aff:fe59:2" {
		t.Error(got)
	}
}

func TestLast(t *testing.T) {
	for p, want := range map[string]string{"10.0.0.0/8": "10.255.255.255", "10.1.2.4/30": "10.1.2.7", "fd5c::/120": "fd5c::ff", "10.1.1.1/32": "10.1.1.1"} {
		if got := last(netip.MustParsePrefix(p)).String(); got != want {
			t.Errorf("%s: %s, want %s", p, got, want)
		}
	}
}
