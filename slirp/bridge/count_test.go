package bridge

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/slirp"
	"github.com/rc-containers/rc/tests/accept"
)

// limitTracked lets an address have n open connections.
func limitTracked(t testing.TB, n uint32) {
	t.Helper()
	before := maxTracked
	maxTracked = func() uint32 { return n }
	t.Cleanup(func() { maxTracked = before })
}

// tracked is the number of entries in N0.
func tracked(t testing.TB, w *World) (n int) {
	t.Helper()
	err := w.Do(func() error {
		text, err := os.ReadFile("/proc/sys/net/netfilter/nf_conntrack_count")
		if err != nil {
			return err
		}
		n, err = strconv.Atoi(strings.TrimSpace(string(text)))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// send sends one datagram to each of n ports of an address that answers nothing, and
// counts those that were refused.
func (b *box) send(address string, first, n int) (refused int) {
	b.t.Helper()
	err := b.do(func() error {
		for port := range n {
			c, err := net.Dial("udp", net.JoinHostPort(address, strconv.Itoa(first+port)))
			if err != nil {
				return err
			}
			_, _ = c.Write([]byte("?"))
			if _, err := c.Write([]byte("!")); errors.Is(err, unix.EHOSTUNREACH) || errors.Is(err, unix.EACCES) {
				refused++
			}
			_ = c.Close()
		}
		return nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return refused
}

// One container does not use up the table of connections that all share; what it has
// closed is not counted, and questions to the gateway take no entry.
func TestTrackedConnectionsAreBounded(t *testing.T) {
	at := accept.AtHost(t, accept.Saying("from the host"))
	const limit = 40
	limitTracked(t, limit)
	w := open(t, nil, Options{})
	if w.filter.noCount != nil {
		t.Skip("the kernel does not count connections: ", w.filter.noCount)
	}
	n := testNetwork("web", "10.89.0.0/24", "fd5c:1::/64")
	a, b := newBox(t), newBox(t)
	a.join(w, on(n))
	b.join(w, on(n))
	startSlirp(t, w, DefaultWay)
	if err := w.Uplink(DefaultWay); err != nil {
		t.Fatal(err)
	}
	if err := w.Do(func() error { return setSysctl("net/netfilter/nf_conntrack_udp_timeout", "4") }); err != nil {
		t.Fatal(err)
	}
	before := tracked(t, w)
	for range 2 * limit {
		a.mustAsk("tcp", at, "from the host")
	}
	if refused := a.send("192.0.2.1", 1000, 5*limit); refused < 3*limit {
		t.Errorf("%d of %d were refused", refused, 5*limit)
	}
	udp := tracked(t, w) - before - 2*limit // those of TCP wait for late segments
	t.Logf("%d entries at first, %d more of UDP after %d clients", before, udp, 5*limit)
	if udp > limit+2 {
		t.Errorf("one container has %d open, more than %d", udp, limit)
	}
	if refused := b.send("192.0.2.1", 1000, limit/2); refused != 0 {
		t.Errorf("of another container's %d were refused", refused)
	}
	was := tracked(t, w)
	a.send("10.89.0.1", 53, 1)
	b.send("fd5c:1::1", 53, 1)
	for range 20 {
		_, _ = b.ask("udp", "10.89.0.1:53")
	}
	if now := tracked(t, w); now > was {
		t.Errorf("questions to the gateway took %d entries", now-was)
	}
	// What is over is given back.
	time.Sleep(5 * time.Second)
	if refused := a.send("192.0.2.1", 5000, limit/2); refused != 0 {
		t.Errorf("%d are refused though the others have ended", refused)
	}
}

// The resolver and the echo of the gateway go on without tracking, by TCP and UDP, IPv4
// and IPv6.
func TestGatewayAnswersUntracked(t *testing.T) {
	w := open(t, nil, Options{})
	n := testNetwork("web", "10.89.0.0/24", "fd5c:1::/64")
	a := newBox(t)
	a.join(w, on(n))
	udp, tcp, err := w.ListenDNS(n.ID)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range udp {
		go answer(p)
		defer p.Close()
	}
	for _, l := range tcp {
		defer l.Close()
		accept.Each(l, accept.Caller)
	}
	for _, gateway := range []string{"10.89.0.1", "fd5c:1::1"} {
		for _, network := range []string{"udp", "tcp"} {
			a.mustAsk(network, net.JoinHostPort(gateway, "53"), "")
		}
	}
	if n := tracked(t, w); n != 0 {
		t.Errorf("they took %d entries", n)
	}
}

// Without nft_connlimit nothing is counted, and all else is as it was.
func TestNothingCounts(t *testing.T) {
	before := whenOver
	whenOver = 1 << 7
	defer func() { whenOver = before }()
	w := open(t, nil, Options{})
	if w.filter.noCount == nil || w.filter.noPorts != nil {
		t.Errorf("%v %v", w.filter.noCount, w.filter.noPorts)
	}
	n := testNetwork("web", "10.89.0.0/24")
	a, b := newBox(t), newBox(t)
	a.join(w, on(n))
	b.join(w, on(n))
	b.serve(":80")
	a.mustAsk("tcp", "10.89.0.3:80", "10.89.0.2:")
}

// BenchmarkTracked opens what one container may have, and tells what the last ones cost.
func BenchmarkTracked(b *testing.B) {
	w := open(b, nil, Options{})
	n := testNetwork("web", "10.89.0.0/24")
	a := newBox(b)
	a.join(w, on(n))
	err := w.Do(func() error {
		return w.route.run(newBridge(w.nextIndex(), slirp.Device, macOf(netip.MustParseAddr("10.0.2.100"))))
	})
	if err == nil {
		err = w.Uplink(DefaultWay)
	}
	if err != nil {
		b.Fatal(err)
	}
	for _, have := range []int{0, 1000, 4000, 8000} {
		if now := tracked(b, w); now < have {
			a.send("192.0.2.2", 1000, have-now)
		}
		b.Run(fmt.Sprint(have), func(b *testing.B) {
			for i := range b.N {
				a.send("192.0.2.3", 1+i%100, 1)
			}
		})
	}
}
