package names

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/rc-containers/rc/slirp"
)

// TestNames: every name of a container, from whoever shares a network with it.
func TestNames(t *testing.T) {
	r := newRig(t, Options{}, netA, netB)
	web := r.member("web", on(netA, "127.1.0.2 fd00::2", "www", "api.example.org", "Web"))
	db := r.member("db", on(netA, "127.1.0.3"), on(netB, "127.2.0.3", "store"))
	r.member("job", on(netB, "127.2.0.9"))
	const fromWeb, fromDB, fromJob = "127.1.0.2", "127.1.0.3", "127.2.0.9"

	for _, name := range []string{
		"web.", "WEB.", "wEb.", "www.", "web-host.", web[:12] + ".", "api.example.org.",
		"web.alpha.", "www.alpha.", "web.rc.internal.", "web.alpha.rc.internal.", "WEB.Rc.Internal.", "api.example.org.rc.internal.",
		"web.rc.internal.rc.internal.",
	} {
		r.addrs(fromDB, netA, name, "127.1.0.2", "fd00::2")
		r.addrs(fromWeb, netA, name, "127.1.0.2", "fd00::2") // its own
	}
	// 64 digits are one more than a label may have (RFC 1035 2.3.4): nobody can ask
	// for a whole id.
	if _, err := (&dnsmessage.Message{Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(db + ".")}}}).Pack(); err == nil {
		t.Error("a label of 64 bytes")
	}
	r.addrs(fromWeb, netA, "db.", "127.1.0.3")
	r.addrs(fromDB, netA, "db.", "127.1.0.3", "127.2.0.3")
	r.addrs(fromDB, netA, "db.beta.", "127.2.0.3")
	r.addrs(fromDB, netA, "store.", "127.2.0.3")
	// What is not on a network of the asker is not known, but forwarded as any name.
	r.addrs(fromJob, netB, "web.", "192.0.2.77")
	r.addrs(fromJob, netB, "web.alpha.", "192.0.2.77")
	r.addrs(fromWeb, netA, "store.", "192.0.2.77")
	r.addrs(fromWeb, netA, "job.missing.", "NameError")
	r.addrs(fromJob, netB, "web.rc.internal.", "NameError")
	r.addrs(fromJob, netB, "nobody.beta.rc.internal.", "NameError")
	r.addrs(fromJob, netB, "rc.internal.")
	r.addrs(fromJob, netB, "rc.internal.rc.internal.")

	r.s.Remove(web)
	r.addrs(fromDB, netA, "web.rc.internal.", "NameError")
	r.s.Remove(web)
	r.member("web", on(netA, "127.1.0.7"))
	r.addrs(fromDB, netA, "web.", "127.1.0.7")
	r.member("web", on(netB, "127.2.0.7"))
	r.addrs("127.1.0.9", netA, "web.rc.internal.", "NameError")
	r.addrs(fromJob, netB, "web.", "127.2.0.7")
}

// TestNoData: a name that is there has no other types, which is no NXDOMAIN: with
// that, musl and `host` take the name for missing (aardvark-dns#679).
func TestNoData(t *testing.T) {
	r := newRig(t, Options{}, netA)
	r.member("web", on(netA, "127.1.0.2"))
	for _, typ := range []dnsmessage.Type{dnsmessage.TypeAAAA, dnsmessage.TypeMX, dnsmessage.TypeTXT, 64, 65} {
		m, err := r.ask("127.1.0.2", netA, "web.", typ)
		if err != nil || m.RCode != 0 || len(m.Answers) != 0 || !m.Authoritative || !m.RecursionAvailable || !m.RecursionDesired {
			t.Errorf("%v: %+v %v", typ, m.Header, err)
		}
	}
	if m, err := r.ask("127.1.0.2", netA, "web.", dnsmessage.TypeALL); err != nil || len(m.Answers) != 1 {
		t.Errorf("%+v %v", m.Answers, err)
	}
	m, err := r.ask("127.1.0.2", netA, "wEB.", dnsmessage.TypeA)
	if err != nil || len(m.Answers) != 1 || m.Answers[0].Header.TTL > 5 || m.Questions[0].Name.String() != "wEB." || m.ID != 4711 {
		t.Errorf("%+v %v", m, err)
	}
	if n := r.up.asked.Load(); n != 0 {
		t.Errorf("%d of our names went to the resolver", n)
	}
}

// TestReverse: addresses have names, those of nobody have none, and no address of a
// network is ever asked of the resolvers.
func TestReverse(t *testing.T) {
	r := newRig(t, Options{}, netA, netB)
	v6 := netA
	v6.Subnets = append(slices.Clone(netA.Subnets), slirp.Subnet{Prefix: netip.MustParsePrefix("fd00:1::/64")})
	r.serve(v6)
	r.member("web", on(netA, "127.1.0.2 fd00:1::2", "www"))
	r.member("job", on(netB, "127.2.0.2"))
	ask := func(from string, n slirp.Network, name string) []string {
		m, err := r.ask(from, n, name, dnsmessage.TypePTR)
		if err != nil {
			t.Fatal(err)
		}
		return append(m.addrs(), m.RCode.String())
	}
	const v6name = "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0.0.0.0.d.f.ip6.arpa."
	long := "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0.0.0.0.d.f.ip6.arpa."
	for name, want := range map[string]string{
		"2.0.1.127.in-addr.arpa.": "web.alpha. RCodeSuccess",
		"2.0.1.127.IN-ADDR.arpa.": "web.alpha. RCodeSuccess",
		"3.0.1.127.in-addr.arpa.": "RCodeNameError",
		"1.0.1.127.in-addr.arpa.": "RCodeNameError",
		long:                      "web.alpha. RCodeSuccess",
	} {
		if got := strings.Join(ask("127.1.0.2", netA, name), " "); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if n := r.up.asked.Load(); n != 0 {
		t.Errorf("%d addresses of ours went to the resolver", n)
	}
	// Another network's, or no whole address: none of our business.
	for i, name := range []string{"2.0.2.127.in-addr.arpa.", "2.0.127.in-addr.arpa.", "02.0.1.127.in-addr.arpa.", v6name} {
		if got := ask("127.1.0.2", netA, name); len(got) != 1 || int(r.up.asked.Load()) != i+1 {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestShared: containers of one alias are all named, each first in its turn.
func TestShared(t *testing.T) {
	r := newRig(t, Options{}, netA)
	for i := range 3 {
		r.member(fmt.Sprint("w", i), on(netA, fmt.Sprint("127.1.0.", 10+i), "web"))
	}
	first := make(map[string]int)
	for range 9 {
		m, err := r.ask("127.1.0.10", netA, "web.", dnsmessage.TypeA)
		if err != nil || len(m.Answers) != 3 {
			t.Fatal(m.Answers, err)
		}
		first[m.addrs()[0]]++
	}
	if len(first) != 3 || first["127.1.0.10"] != 3 {
		t.Errorf("%v", first)
	}
	// A container that is called so hides nobody, and a host name counts last.
	id := r.member("web", on(netA, "127.1.0.20"))
	r.addrs("127.1.0.10", netA, "web.", "127.1.0.10", "127.1.0.11", "127.1.0.12", "127.1.0.20")
	r.s.Set("other", Member{Name: "x", Hostname: "web", Endpoints: []slirp.EndpointStatus{on(netA, "127.1.0.30")}})
	r.addrs("127.1.0.10", netA, "web.", "127.1.0.10", "127.1.0.11", "127.1.0.12", "127.1.0.20")
	r.s.Remove(id)
	for i := range 3 {
		r.member(fmt.Sprint("w", i), on(netA, fmt.Sprint("127.1.0.", 10+i)))
	}
	r.addrs("127.1.0.10", netA, "web.", "127.1.0.30")
}

// TestTruncation: what does not fit comes by TCP, and whole.
func TestTruncation(t *testing.T) {
	r := newRig(t, Options{}, netA)
	for i := range 200 {
		r.member(fmt.Sprint("w", i), on(netA, fmt.Sprint("127.1.1.", i), "web"))
	}
	for _, c := range []struct {
		change []func(*dnsmessage.Message)
		most   int
	}{{nil, 512}, {[]func(*dnsmessage.Message){edns(100, false)}, 512}, {[]func(*dnsmessage.Message){edns(1232, false)}, 1232}} {
		m, err := r.ask("127.1.1.1", netA, "web.", dnsmessage.TypeA, c.change...)
		if err != nil || !m.Truncated || m.size > c.most || m.size < c.most-40 || len(m.Answers) == 0 {
			t.Errorf("%d: %d bytes, %d answers, TC %v, %v", c.most, m.size, len(m.Answers), m.Truncated, err)
		}
	}
	if m, err := r.ask("127.1.1.1", netA, "web.", dnsmessage.TypeA, edns(4096, false)); err != nil || m.Truncated || len(m.Answers) != 200 {
		t.Errorf("%d answers, TC %v, %v", len(m.Answers), m.Truncated, err)
	}
	m, err := r.exchange("tcp", "127.1.1.1", netA, pack(t, "web.", dnsmessage.TypeA))
	if err != nil || m.Truncated || len(m.Answers) != 200 {
		t.Errorf("TCP: %d answers, TC %v, %v", len(m.Answers), m.Truncated, err)
	}
}

// TestSpecial: the host's names, and localhost.
func TestSpecial(t *testing.T) {
	r := newRig(t, Options{}, netA)
	r.member("web", on(netA, "127.1.0.2", "host.docker.internal", "localhost"))
	r.s.Set("loop", Member{Name: "loop", HostLoopback: true, Endpoints: []slirp.EndpointStatus{on(netA, "127.1.0.3")}})
	for _, name := range []string{"host.containers.internal.", "host.docker.internal.", "host.docker.internal.rc.internal."} {
		r.addrs("127.1.0.2", netA, name, "192.0.2.1")
		r.addrs("127.1.0.3", netA, name, "10.0.2.2")
		r.addrs("127.1.0.99", netA, name, "192.0.2.1")
	}
	r.addrs("127.1.0.2", netA, "localhost.", "127.0.0.1", "::1")
	if n := r.up.asked.Load(); n != 0 {
		t.Errorf("%d special names went to the resolver", n)
	}
}

// TestHostFamily: on a network of IPv6 alone the host's name is its address of IPv6, and
// of IPv6 alone is a host that has no other; where both have IPv4 it is that.
func TestHostFamily(t *testing.T) {
	const v4, v6 = "192.0.2.1", "2001:db8::7"
	of := map[string]slirp.Network{"4": testNetwork("a", "127.1.0.0/16"), "6": testNetwork("b", "fd00:1::/64")}
	for _, c := range []struct{ nets, host, want string }{
		{"4", v4 + " " + v6, v4}, {"6", v4 + " " + v6, v6}, {"6 4", v4 + " " + v6, v4},
		{"4", v6, v6}, {"6", v4, v4}, {"4", "", ""},
	} {
		var who asker
		for _, n := range strings.Fields(c.nets) {
			who.nets = append(who.nets, &network{config: of[n]})
		}
		var got []string
		var list []netip.Addr
		for _, a := range strings.Fields(c.host) {
			list = append(list, netip.MustParseAddr(a))
		}
		for _, a := range who.reachable(list) {
			got = append(got, a.String())
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("network of IPv%s, host %q: %q", c.nets, c.host, got)
		}
	}
}

// TestInternal: no question leaves an internal network, from one that is on another
// network too it does; and a network without DNS gives no names.
func TestInternal(t *testing.T) {
	internal, mute := testNetwork("gamma", "127.3.0.0/16"), testNetwork("delta", "127.4.0.0/16")
	internal.Internal, mute.NoDNS = true, true
	r := newRig(t, Options{}, netA, internal, mute)
	r.member("safe", on(internal, "127.3.0.2"), on(mute, "127.4.0.2"))
	r.member("both", on(internal, "127.3.0.3"), on(netA, "127.1.0.3"))
	r.addrs("127.3.0.9", internal, "example.org.", "NameError")
	r.addrs("127.3.0.9", internal, "both.", "127.3.0.3")
	r.addrs("127.3.0.3", internal, "example.org.", "192.0.2.77")
	r.addrs("127.4.0.2", mute, "safe.delta.rc.internal.", "NameError")
	r.addrs("127.4.0.2", mute, "safe.", "127.3.0.2")
}

// TestExpect: names that are not back yet are waited for, not denied.
func TestExpect(t *testing.T) {
	r := newRig(t, Options{}, netA)
	here := r.member("here", on(netA, "127.1.0.2"))
	db := strings.Repeat("d", 64)
	r.s.Expect([]string{here}, time.Hour) // is there: nobody is missing
	r.addrs("127.1.0.2", netA, "db.", "192.0.2.77")
	r.s.Expect([]string{here, db}, 5*time.Second)
	within(t, "a name that is there", time.Second, func() { r.addrs("127.1.0.2", netA, "here.", "127.1.0.2") })
	time.AfterFunc(300*time.Millisecond, func() {
		r.s.Set(db, Member{Name: "db", Endpoints: []slirp.EndpointStatus{on(netA, "127.1.0.3")}})
	})
	within(t, "a name that comes back", 2*time.Second, func() { r.addrs("127.1.0.2", netA, "db.", "127.1.0.3") })
	// One that never comes back holds nobody for longer than was said.
	gone := strings.Repeat("e", 64)
	r.s.Expect([]string{gone}, 200*time.Millisecond)
	within(t, "a name that never comes back", 2*time.Second, func() { r.addrs("127.1.0.2", netA, "e.rc.internal.", "NameError") })
	r.s.Expect([]string{gone}, time.Hour)
	time.AfterFunc(100*time.Millisecond, func() { r.s.Remove(gone) })
	within(t, "one that ended meanwhile", 2*time.Second, func() { r.addrs("127.1.0.2", netA, "e.missing.", "NameError") })
}
