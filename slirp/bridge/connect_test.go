package bridge

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/slirp"
)

func TestTwoOnOneNetwork(t *testing.T) {
	w := open(t, nil, Options{})
	n := testNetwork("web", "10.89.0.0/24", "fd5c:1::/64")
	a, b := newBox(t), newBox(t)
	sa, sb := a.join(w, on(n)), b.join(w, on(n))
	if sa.IP.String() != "10.89.0.2" || sb.IP.String() != "10.89.0.3" || sa.IP6.String() != "fd5c:1::2" ||
		sa.Interface != "eth0" || sa.MAC != "02:42:0a:59:00:02" || sa.Prefix != 24 || len(sa.DNS) != 2 {
		t.Errorf("%+v %+v", sa, sb)
	}
	b.serve(":80")
	// At once: neither the search for doubles nor a bridge port that is not up yet.
	for _, network := range []string{"udp", "tcp"} {
		a.mustAsk(network, "10.89.0.3:80", "10.89.0.2:")
	}
	a.mustAsk("udp", "[fd5c:1::3]:80", "[fd5c:1::2]:")
	a.mustAsk("tcp", "[fd5c:1::3]:80", "[fd5c:1::2]:")
}

// The first packet after Connect must arrive: a lost ARP costs a second.
func TestFirstPacketArrives(t *testing.T) {
	w := open(t, nil, Options{})
	n := testNetwork("web", "10.89.0.0/24")
	a := newBox(t)
	a.join(w, on(n))
	a.serve(":80")
	for range 50 {
		b := newBox(t)
		b.join(w, on(n))
		begin := time.Now()
		b.mustAsk("udp", "10.89.0.2:80", "10.89.0.")
		if d := time.Since(begin); d > 300*time.Millisecond {
			t.Errorf("the first packet took %v", d)
		}
		w.Gone(b.id)
		b.end()
	}
}

func TestNetworksAreApart(t *testing.T) {
	w := open(t, nil, Options{})
	n1, n2 := testNetwork("one", "10.89.1.0/24", "fd5c:1::/64"), testNetwork("two", "10.89.2.0/24", "fd5c:2::/64")
	a, b, both := newBox(t), newBox(t), newBox(t)
	a.join(w, on(n1))
	b.join(w, on(n2))
	if s := both.join(w, on(n1)); s.Interface != "eth0" {
		t.Errorf("%+v", s)
	}
	if s := both.join(w, on(n2)); s.Interface != "eth1" {
		t.Errorf("%+v", s)
	}
	b.serve(":80")
	both.serve(":80")
	for _, network := range []string{"tcp", "udp"} {
		both.mustAsk(network, "10.89.2.2:80", "10.89.2.3:")
		a.mustAsk(network, "10.89.1.3:80", "10.89.1.2:")
		a.mustNotAsk(network, "10.89.2.2:80")
		a.mustNotAsk(network, "[fd5c:2::2]:80")
		a.mustNotAsk(network, "10.89.2.3:80") // the other address of one that it can reach
	}
}

func TestAddresses(t *testing.T) {
	w := open(t, nil, Options{})
	n := testNetwork("web", "10.89.0.0/29")
	a, b := newBox(t), newBox(t)
	e := on(n)
	e.IP = netip.MustParseAddr("10.89.0.5")
	if s := a.join(w, e); s.IP != e.IP {
		t.Errorf("%+v", s)
	}
	_, err := w.Connect(b.id, b.netns, e)
	if !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("a taken address: %v", err)
	}
	t.Log(err)
	for _, ip := range []string{"10.89.1.1", "10.89.0.0", "10.89.0.7", "10.89.0.1"} {
		e.IP = netip.MustParseAddr(ip)
		_, err := w.Connect(b.id, b.netns, e)
		if !errors.Is(err, unix.ERANGE) && !errors.Is(err, unix.EADDRINUSE) {
			t.Errorf("%s: %v", ip, err)
		}
		t.Log(err)
	}
	e.IP, e.Last = netip.Addr{}, []netip.Addr{netip.MustParseAddr("10.89.0.5"), netip.MustParseAddr("10.89.0.4")}
	if s := b.join(w, e); s.IP.String() != "10.89.0.4" {
		t.Errorf("what it had before was free: %+v", s)
	}
	w.Gone(a.id)
	c := newBox(t)
	if s := c.join(w, e); s.IP.String() != "10.89.0.5" {
		t.Errorf("%+v", s)
	}
}

func TestExhaustion(t *testing.T) {
	w := open(t, nil, Options{})
	n := testNetwork("small", "10.89.0.0/29")
	var last *box
	for range 5 { // .2 to .6
		last = newBox(t)
		last.join(w, on(n))
	}
	late := newBox(t)
	_, err := w.Connect(late.id, late.netns, on(n))
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	t.Log(err)
	w.Gone(last.id)
	if s := late.join(w, on(n)); s.IP.String() != "10.89.0.6" {
		t.Errorf("%+v", s)
	}
}

func TestConnectAgainChangesNothing(t *testing.T) {
	w := open(t, nil, Options{})
	n := testNetwork("web", "10.89.0.0/24")
	a := newBox(t)
	first := a.join(w, on(n))
	again := a.join(w, slirp.Endpoint{Network: n, Aliases: []string{"www"}})
	if again.IP != first.IP || len(again.Aliases) != 1 || len(linksOf(t, w, "v")) != 1 {
		t.Errorf("%+v %v", again, linksOf(t, w, "v"))
	}
	// The same container once more, in another namespace: its end was never told.
	b := newBox(t)
	b.id = a.id
	e := on(n)
	e.Last = []netip.Addr{first.IP}
	if s := b.join(w, e); s.IP != first.IP {
		t.Errorf("%+v", s)
	}
	c := newBox(t)
	c.join(w, on(n))
	c.serve(":80")
	b.mustAsk("udp", "10.89.0.3:80", "10.89.0.2:")
}
