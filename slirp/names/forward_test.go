package names

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/slirp"
)

const somebody = "127.1.0.2"

// TestForward: what a resolver gets is the question and nothing else; the asker gets
// its answer whole.
func TestForward(t *testing.T) {
	r := newRig(t, Options{}, netA)
	m, err := r.ask(somebody, netA, "ExAmPle.org.", dnsmessage.TypeA)
	if err != nil || m.ID != 4711 || m.Questions[0].Name.String() != "ExAmPle.org." || !slices.Equal(m.addrs(), []string{"192.0.2.77"}) || m.Answers[0].Header.TTL != 60 {
		t.Errorf("%+v %v", m, err)
	}
	if q := r.up.question(); len(q) != 29 || be16(q) == 4711 {
		t.Errorf("the resolver was asked %q", q)
	}
	cookie := dnsmessage.Option{Code: 10, Data: []byte("12345678")}
	if _, err = r.ask(somebody, netA, "example.org.", dnsmessage.TypeA, edns(1232, true, cookie)); err != nil {
		t.Error(err)
	}
	var q dnsmessage.Message
	if err := q.Unpack(r.up.question()); err != nil || len(q.Additionals) != 1 {
		t.Fatalf("%+v %v", q, err)
	}
	h := q.Additionals[0].Header
	if h.Class != 1232 || !h.DNSSECAllowed() || len(q.Additionals[0].Body.(*dnsmessage.OPTResource).Options) != 0 {
		t.Errorf("%+v", q.Additionals[0])
	}
	if m, err := r.exchange("tcp", somebody, netA, pack(t, "example.org.", dnsmessage.TypeA)); err != nil || len(m.Answers) != 1 || r.up.tcp.Load() != 1 {
		t.Errorf("TCP: %+v %v", m, err)
	}
	r.addrs(somebody, netA, "x.missing.", "NameError")
}

// TestForwardTruncated: TC of a resolver reaches the asker, whose TCP reaches the
// resolver; a resolver without TCP is asked by UDP all the same.
func TestForwardTruncated(t *testing.T) {
	r := newRig(t, Options{}, netA)
	r.up.set(func(m *dnsmessage.Message, tcp bool) []byte {
		out := world(m, tcp)
		if !tcp {
			out[2] |= flagTC
		}
		return out
	})
	if m, err := r.ask(somebody, netA, "big.org.", dnsmessage.TypeA); err != nil || !m.Truncated {
		t.Errorf("%+v %v", m, err)
	}
	if m, err := r.exchange("tcp", somebody, netA, pack(t, "big.org.", dnsmessage.TypeA)); err != nil || m.Truncated || len(m.Answers) != 1 {
		t.Errorf("%+v %v", m, err)
	}
	r.up.set(func(m *dnsmessage.Message, tcp bool) []byte {
		if tcp {
			return nil // closes
		}
		return world(m, tcp)
	})
	if m, err := r.exchange("tcp", somebody, netA, pack(t, "small.org.", dnsmessage.TypeA)); err != nil || len(m.Answers) != 1 {
		t.Errorf("%+v %v", m, err)
	}
	// More than was asked for is cut, not passed on.
	r.up.set(func(m *dnsmessage.Message, tcp bool) []byte { return append(world(m, tcp), make([]byte, 600)...) })
	m, err := r.ask(somebody, netA, "fat.org.", dnsmessage.TypeA)
	if err == nil && (m.size > 512 || !m.Truncated && m.RCode == 0) {
		t.Errorf("%d bytes, %+v", m.size, m.Header)
	}
}

// TestForgery: answers to another question, with another id, or none at all change
// nothing.
func TestForgery(t *testing.T) {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var list servers
	list.set(netip.MustParseAddrPort(c.LocalAddr().String()))
	r := newRig(t, Options{Upstream: list.get}, netA)
	go func() {
		buf := make([]byte, 2048)
		n, from, err := c.ReadFrom(buf)
		if err != nil {
			return
		}
		var m dnsmessage.Message
		if m.Unpack(buf[:n]) != nil {
			return
		}
		bad := say(&m, "203.0.113.66")
		other := m
		other.Questions = []dnsmessage.Question{{Name: dnsmessage.MustNewName("evil.orgx."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}}
		mx := m
		mx.Questions = []dnsmessage.Question{{Name: m.Questions[0].Name, Type: dnsmessage.TypeMX, Class: dnsmessage.ClassINET}}
		for _, packet := range [][]byte{
			append([]byte{bad[0] ^ 1}, bad[1:]...), say(&other, "203.0.113.66"), say(&mx, "203.0.113.66"), buf[:n], bad[:5], {}, bad[:14],
			say(&m, "192.0.2.77"),
		} {
			_, _ = c.WriteTo(packet, from)
		}
	}()
	m, err := r.ask(somebody, netA, "true.orgs.", dnsmessage.TypeA)
	if err != nil || !slices.Equal(m.addrs(), []string{"192.0.2.77"}) {
		t.Errorf("%v %v", m.addrs(), err)
	}
}

// TestDeadResolver: the next one is asked after a second, and the dead one no more
// (aardvark-dns#482).
func TestDeadResolver(t *testing.T) {
	t.Parallel()
	var list servers
	r := newRig(t, Options{Upstream: list.get}, netA)
	dead, live := newUpstream(t, "127.0.0.1:0"), newUpstream(t, "127.0.0.1:0")
	dead.set(func(*dnsmessage.Message, bool) []byte { return nil })
	list.set(dead.addr, live.addr)
	ask := func() {
		t.Helper()
		if m, err := r.ask(somebody, netA, "example.org.", dnsmessage.TypeA); err != nil || len(m.Answers) != 1 {
			t.Errorf("%+v %v", m, err)
		}
	}
	within(t, "the first question", 3*time.Second, ask)
	n := dead.asked.Load()
	within(t, "20 more", time.Second, func() {
		for range 20 {
			ask()
		}
	})
	if dead.asked.Load() != n {
		t.Errorf("the dead one was asked again")
	}
	// Its penalty over, one question probes it, and does not wait for it.
	r.s.out.health.mu.Lock()
	for s, b := range r.s.out.health.bad {
		b.until = time.Now().Add(-time.Second)
		r.s.out.health.bad[s] = b
	}
	r.s.out.health.mu.Unlock()
	within(t, "the probing one", 900*time.Millisecond, ask)
	// Alive again, it is the first again.
	dead.set(world)
	r.s.out.health.answered(dead.addr)
	n, m := dead.asked.Load(), live.asked.Load()
	ask()
	if dead.asked.Load() != n+1 || live.asked.Load() != m {
		t.Error("the first of the list is not asked first")
	}
}

// TestHelpless: a resolver that fails or refuses is no reason to stop, and its word
// counts if there is no better.
func TestHelpless(t *testing.T) {
	var list servers
	r := newRig(t, Options{Upstream: list.get}, netA)
	refuses, live := newUpstream(t, "127.0.0.1:0"), newUpstream(t, "127.0.0.1:0")
	refuses.set(func(m *dnsmessage.Message, _ bool) []byte {
		return mustPack(dnsmessage.Message{Header: dnsmessage.Header{ID: m.ID, Response: true, RCode: dnsmessage.RCodeRefused}})
	})
	list.set(refuses.addr, live.addr)
	r.addrs(somebody, netA, "example.org.", "192.0.2.77")
	list.set(refuses.addr)
	within(t, "the refusal", time.Second, func() { r.addrs(somebody, netA, "example.org.", "Refused") })
}

// TestOffline: without a network the answer is there at once, and an error that a
// program may try again after.
func TestOffline(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{
		Dial: func(string, netip.AddrPort, time.Duration) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", unix.ENETUNREACH)}
		},
		Host: func() []netip.Addr { return nil },
	}, netA)
	r.member("web", on(netA, somebody))
	for range 3 {
		within(t, "no network", 500*time.Millisecond, func() { r.addrs(somebody, netA, "example.org.", "ServerFailure") })
	}
	r.addrs(somebody, netA, "web.", somebody)
	r.addrs(somebody, netA, "host.containers.internal.")
	if m, err := r.exchange("tcp", somebody, netA, pack(t, "example.org.", dnsmessage.TypeA)); err != nil || m.RCode != dnsmessage.RCodeServerFailure {
		t.Errorf("%+v %v", m, err)
	}
	closed, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	var list servers
	list.set(netip.MustParseAddrPort(closed.LocalAddr().String()))
	s := newRig(t, Options{Upstream: list.get}, netA)
	within(t, "a closed port", time.Second, func() { s.addrs(somebody, netA, "example.org.", "ServerFailure") })
	silent := newUpstream(t, "127.0.0.1:0")
	silent.set(func(*dnsmessage.Message, bool) []byte { return nil })
	list.set(silent.addr)
	within(t, "silence", 5*time.Second, func() {
		if m, err := s.ask(somebody, netA, "example.org.", dnsmessage.TypeA); err != nil || m.RCode != dnsmessage.RCodeServerFailure {
			t.Errorf("%+v %v", m, err)
		}
	})
	within(t, "silence again", 2500*time.Millisecond, func() {
		if m, err := s.ask(somebody, netA, "example.org.", dnsmessage.TypeA); err != nil || m.RCode != dnsmessage.RCodeServerFailure {
			t.Errorf("%+v %v", m, err)
		}
	})
	silent.set(world)
	s.addrs(somebody, netA, "example.org.", "192.0.2.77")
}

// TestResolvConf: the file counts as it is, however it was changed.
func TestResolvConf(t *testing.T) {
	dir := t.TempDir()
	path, old := filepath.Join(dir, "resolv.conf"), filepath.Join(dir, "old")
	h := hostFile{path: path}
	want := func(list ...string) {
		t.Helper()
		time.Sleep(recheck)
		var got []string
		for _, s := range h.servers() {
			got = append(got, s.String())
		}
		if !slices.Equal(got, list) {
			t.Errorf("%v, want %v", got, list)
		}
	}
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want("127.0.0.1:53")
	write(path, "nameserver 192.0.2.1\n")
	want("192.0.2.1:53")
	write(path, "nameserver 192.0.2.2\n") // the same size, in place
	want("192.0.2.2:53")
	write(old, "nameserver 192.0.2.3\n")
	if err := os.Rename(old, path); err != nil {
		t.Fatal(err)
	}
	want("192.0.2.3:53")
	write(old, "nameserver ::1\nnameserver fe80::1%lo\n")
	if err := errors.Join(os.Remove(path), os.Symlink("old", path)); err != nil {
		t.Fatal(err)
	}
	want("[::1]:53", "[fe80::1%lo]:53")
	write(old, "# nothing\n")
	want("127.0.0.1:53")
	if err := os.Remove(old); err != nil {
		t.Fatal(err)
	}
	want("127.0.0.1:53")
}

func TestParseServers(t *testing.T) {
	for text, want := range map[string]string{
		"":                            "127.0.0.1:53",
		"nameserver\nnameserver x\n":  "127.0.0.1:53",
		"#nameserver 192.0.2.1\n":     "127.0.0.1:53",
		"nameserver 192.0.2.1 # home": "192.0.2.1:53",
		"search this.is.dumb\noptions retrans:3 retry:1\nnameserver 192.0.2.1\n": "192.0.2.1:53", // aardvark-dns#418
		"nameserver 192.0.2.1 192.0.2.2\r\n":                                     "192.0.2.1:53 192.0.2.2:53",
		"nameserver 192.0.2.1\n\tnameserver 192.0.2.1\n":                         "192.0.2.1:53",
		"nameserver ::ffff:192.0.2.1":                                            "192.0.2.1:53",
		strings.Repeat("nameserver 192.0.2.1\n", 4000):                           "192.0.2.1:53",
	} {
		var got []string
		for _, s := range parseServers(text) {
			got = append(got, s.String())
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%.40q: %v, want %s", text, got, want)
		}
	}
	var many strings.Builder
	for i := range 100 {
		fmt.Fprintf(&many, "nameserver 192.0.2.%d\n", i)
	}
	if n := len(parseServers(many.String())); n != maxResolvers {
		t.Error(n)
	}
}

// TestOwnServers: --dns is asked instead of the host's.
func TestOwnServers(t *testing.T) {
	var mu sync.Mutex
	var dialled []string
	up := newUpstream(t, "127.0.0.1:0")
	r := newRig(t, Options{Dial: func(_ string, to netip.AddrPort, _ time.Duration) (net.Conn, error) {
		mu.Lock()
		defer mu.Unlock()
		dialled = append(dialled, to.String())
		return net.Dial("udp", up.addr.String())
	}}, netA)
	r.s.Set("x", Member{Name: "x", Servers: []netip.Addr{netip.MustParseAddr("192.0.2.53")}, Endpoints: []slirp.EndpointStatus{on(netA, somebody)}})
	r.addrs(somebody, netA, "x.", somebody)
	r.addrs(somebody, netA, "example.org.", "192.0.2.77")
	mu.Lock()
	defer mu.Unlock()
	if len(dialled) != 2 || dialled[0] != "192.0.2.53:53" {
		t.Error(dialled)
	}
}

// TestHealthOrder is the order of servers without the clock.
func TestHealthOrder(t *testing.T) {
	a, b, c := netip.MustParseAddrPort("192.0.2.1:53"), netip.MustParseAddrPort("192.0.2.2:53"), netip.MustParseAddrPort("192.0.2.3:53")
	all, now := []netip.AddrPort{a, b, c}, time.Now()
	var h health
	check := func(at time.Time, probe, dead bool, want ...netip.AddrPort) {
		t.Helper()
		list, p, d := h.order(all, at)
		if !slices.Equal(list, want) || p != probe || d != dead {
			t.Errorf("%v %v %v, want %v %v %v", list, p, d, want, probe, dead)
		}
	}
	check(now, false, false, a, b, c)
	h.failed(a, true)
	check(now, false, false, b, c, a)
	h.failed(b, false)
	check(now, false, false, c, a, b)
	h.failed(c, true)
	check(now, false, false, a, b, c) // b was slow only
	h.failed(b, true)
	check(now, false, true, a, b, c)
	later := now.Add(penalty + time.Second)
	check(later, true, true, a, b, c)
	check(later, true, true, b, a, c) // one at a time
	h.answered(c)
	check(later, false, false, c, a, b)
	for i := range 1000 {
		h.failed(netip.AddrPortFrom(netip.MustParseAddr("192.0.2.9"), uint16(i)), true)
	}
	if len(h.bad) > maxBad {
		t.Error(len(h.bad))
	}
}
