package names

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// flood sends n questions from an address without waiting for answers.
func (r *rig) flood(from string, n int, name func(i int) string) *net.UDPConn {
	r.t.Helper()
	c, err := net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(from), 0)), net.UDPAddrFromAddrPort(r.at[netA.ID]))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { c.Close() })
	for i := range n {
		if _, err := c.Write(pack(r.t, name(i), dnsmessage.TypeA)); err != nil {
			r.t.Fatal(err)
		}
		if i%50 == 49 {
			time.Sleep(time.Millisecond) // not more than a socket's buffer at once
		}
	}
	return c
}

func (p *pool) used() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.taken
}

// TestFloodOfForwards: containers that ask for more than may be under way are told
// so; their neighbours' questions go through, and all is given back.
func TestFloodOfForwards(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{}, netA)
	hang := make(chan struct{})
	r.up.set(func(m *dnsmessage.Message, tcp bool) []byte {
		if strings.HasPrefix(m.Questions[0].Name.String(), "slow") {
			<-hang
			return nil
		}
		return world(m, tcp)
	})
	before := descriptors(t)
	for i := range 12 {
		ip := fmt.Sprint("127.1.0.", 10+i)
		r.member(fmt.Sprint("hog", i), on(netA, ip))
		c := r.flood(ip, 600, func(i int) string { return fmt.Sprintf("slow%d.org.", i) })
		_ = c.SetReadDeadline(time.Now().Add(time.Second))
		buf := make([]byte, 512)
		if n, err := c.Read(buf); err != nil || rcode(buf[:n]) != dnsmessage.RCodeServerFailure {
			t.Errorf("hog %d: %v", i, err)
		}
	}
	if n := r.s.limits.forwards.used(); n < maxForwards/2 || n > maxForwards {
		t.Errorf("%d under way", n)
	}
	if n := descriptors(t) - before; n > maxForwards+maxExtra+50 {
		t.Errorf("%d descriptors more", n)
	}
	r.member("good", on(netA, somebody))
	within(t, "a neighbour's question", 2*time.Second, func() { r.addrs(somebody, netA, "example.org.", "192.0.2.77") })
	within(t, "a neighbour's name", time.Second, func() { r.addrs(somebody, netA, "good.", somebody) })
	close(hang)
	for until := time.Now().Add(7 * time.Second); r.s.limits.forwards.used() > 0 || r.s.limits.extra.used() > 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("%d and %d not given back", r.s.limits.forwards.used(), r.s.limits.extra.used())
		}
	}
}

// TestConnections: no container has all connections, a silent or slow one is closed.
func TestConnections(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{}, netA)
	r.member("hog", on(netA, "127.1.0.10"))
	r.member("web", on(netA, somebody))
	dial := func(from string) net.Conn {
		d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(from), 0))}
		c, err := d.Dial("tcp", r.at[netA.ID].String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	start := time.Now()
	for range 100 {
		c := dial("127.1.0.10")
		_, _ = c.Write([]byte{0, 40, 1}) // and never the rest
	}
	web := dial(somebody)
	for range 50 { // a connection takes many questions
		_ = web.SetDeadline(time.Now().Add(5 * time.Second))
		if err := writeFramed(web, pack(t, "web.", dnsmessage.TypeA)); err != nil {
			t.Fatal(err)
		}
		if _, err := readFramed(web, 1<<16); err != nil {
			t.Fatal(err)
		}
	}
	if n := r.s.limits.conns.used(); n > maxConnsEach+1 {
		t.Errorf("%d connections", n)
	}
	for until := start.Add(bodyTimeout + 3*time.Second); r.s.limits.conns.used() > 1; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("a message without an end is waited for")
		}
	}
	for _, bad := range []string{"\x00\x00", "\x00\x05hello", "\xff\xff" + strings.Repeat("x", 100), "\x00\x0c\x00\x00\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00"} {
		c := dial(somebody)
		_ = c.SetDeadline(time.Now().Add(2 * time.Second))
		_, _ = io.WriteString(c, bad)
		if n, err := c.Read(make([]byte, 10)); n > 0 || err == nil {
			t.Errorf("%q: %d bytes", bad, n)
		}
	}
}

// TestForeignSource: nobody asks a network's gateway from outside of it.
func TestForeignSource(t *testing.T) {
	r := newRig(t, Options{}, netA, netB)
	r.member("web", on(netA, somebody))
	for _, from := range []string{"127.2.0.2", "127.0.0.1"} {
		c, err := net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(from), 0)), net.UDPAddrFromAddrPort(r.at[netA.ID]))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, _ = c.Write(pack(t, "web.", dnsmessage.TypeA))
		_ = c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		if n, err := c.Read(make([]byte, 512)); err == nil {
			t.Errorf("%s: %d bytes", from, n)
		}
		if _, err := r.exchange("tcp", from, netA, pack(t, "web.", dnsmessage.TypeA)); err == nil {
			t.Errorf("%s: an answer by TCP", from)
		}
	}
}

func TestRates(t *testing.T) {
	var r rates
	now := time.Now()
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	count := func(from netip.Addr, n int) (allowed int) {
		for range n {
			if r.allow(from, now) {
				allowed++
			}
		}
		return allowed
	}
	if n := count(a, maxRate+500); n != maxRate {
		t.Error(n)
	}
	if n := count(b, 10); n != 10 {
		t.Error(n)
	}
	now = now.Add(10 * time.Millisecond)
	if n := count(a, 1000); n < maxRate/100-1 || n > maxRate/100 {
		t.Error(n)
	}
	for i := range 10 * maxBuckets {
		r.allow(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), now)
	}
	if len(r.by) > maxBuckets {
		t.Error(len(r.by))
	}
}

func TestPool(t *testing.T) {
	p := pool{all: 100, each: 40}
	take := func(who string, n int) (got int) {
		for range n {
			if p.take(who) {
				got++
			}
		}
		return got
	}
	for i, want := range []int{34, 22, 15} { // a third of what there is, of what is left, ...
		if got := take(fmt.Sprint(i), 100); got < want-2 || got > want+2 {
			t.Errorf("%d: %d, want about %d", i, got, want)
		}
	}
	if take("new", 1) != 1 {
		t.Error("nothing is left")
	}
	for p.used() > 0 {
		for i := range p.by {
			p.give(i)
			break
		}
	}
	if len(p.by) != 0 {
		t.Error(p.by)
	}
}

// TestClose: sockets and goroutines end, with questions under way; sockets that come
// later are closed; a network served again goes on.
func TestClose(t *testing.T) {
	before := runtime.NumGoroutine()
	r := newRig(t, Options{}, netA, netB)
	r.up.set(func(*dnsmessage.Message, bool) []byte { return nil })
	r.member("web", on(netA, somebody))
	r.serve(netA)
	r.addrs(somebody, netA, "web.", somebody)
	r.flood(somebody, 20, func(int) string { return "slow.org." })
	r.s.Drop(netB.ID)
	r.s.Drop(netB.ID)
	if _, err := r.ask("127.2.0.2", netB, "web.", dnsmessage.TypeA); err == nil {
		t.Error("a dropped network answers")
	}
	within(t, "Close", time.Second, r.s.Close)
	r.s.Close()
	udp, tcp := both(t, "127.1.0.1:0")
	if err := r.s.Serve(netA, []net.PacketConn{udp}, []net.Listener{tcp}); err == nil {
		t.Error("served after Close")
	}
	if _, err := tcp.Accept(); err == nil {
		t.Error("the sockets are open")
	}
	udp, tcp = both(t, "127.1.0.1:0")
	s := New(Options{})
	if err := s.Serve(netA, []net.PacketConn{wrapped{udp}}, []net.Listener{tcp}); err == nil {
		t.Error("any packet socket is taken")
	}
	s.Close()
	const ofUpstream = 4 // and one for each question that it sits on
	for until := time.Now().Add(3 * time.Second); runtime.NumGoroutine() > before+ofUpstream; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(until) {
			buf := make([]byte, 1<<16)
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
		}
	}
}

type wrapped struct{ net.PacketConn }

// TestRateOfQuestions is the 1,000 a second, half of them forwarded, from
// ten containers while others come and go; none is lost.
func TestRateOfQuestions(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{}, netA)
	stop := make(chan struct{})
	var churn sync.WaitGroup
	churn.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
				r.s.Remove(r.member(fmt.Sprint("c", i), on(netA, "127.1.9.9", "web")))
			}
		}
	})
	var askers sync.WaitGroup
	start := time.Now()
	for i := range 10 {
		ip := fmt.Sprint("127.1.0.", 10+i)
		r.member(fmt.Sprint("w", i), on(netA, ip))
		askers.Go(func() {
			for k := range 200 {
				time.Sleep(time.Until(start.Add(time.Duration(k) * 10 * time.Millisecond)))
				name, want := fmt.Sprintf("w%d.", i), ip
				if k%2 == 0 {
					name, want = "example.org.", "192.0.2.77"
				}
				if m, err := r.ask(ip, netA, name, dnsmessage.TypeA); err != nil || len(m.Answers) != 1 || m.addrs()[0] != want {
					t.Errorf("%s: %v %v", name, m.addrs(), err)
				}
			}
		})
	}
	askers.Wait()
	close(stop)
	churn.Wait()
	if d := time.Since(start); d > 4*time.Second {
		t.Errorf("2,000 questions took %v", d)
	}
}
