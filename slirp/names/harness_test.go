package names

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/rc-containers/rc/slirp"
)

// The tests stand on the loopback, all of 127.0.0.0/8 being local: network A is
// 127.1.0.0/16 with its gateway 127.1.0.1, and a container asks from its own address.
var (
	netA = testNetwork("alpha", "127.1.0.0/16")
	netB = testNetwork("beta", "127.2.0.0/16")
)

func testNetwork(name, prefix string) slirp.Network {
	p := netip.MustParsePrefix(prefix)
	return slirp.Network{
		Name: name, ID: strings.Repeat(name[:1], 64),
		Subnets: []slirp.Subnet{{Prefix: p, Gateway: p.Addr().Next()}},
	}
}

// rig is a Server with its resolvers.
type rig struct {
	t  testing.TB
	s  *Server
	at map[string]netip.AddrPort // where a network is served, by its id
	up *upstream
}

func newRig(t testing.TB, o Options, nets ...slirp.Network) *rig {
	t.Helper()
	r := &rig{t: t, at: make(map[string]netip.AddrPort)}
	if o.Upstream == nil {
		r.up = newUpstream(t, "127.0.0.1:0")
		o.Upstream = func() []netip.AddrPort { return []netip.AddrPort{r.up.addr} }
	}
	if o.Host == nil {
		o.Host = func() []netip.Addr { return []netip.Addr{netip.MustParseAddr("192.0.2.1")} }
	}
	r.s = New(o)
	t.Cleanup(r.s.Close)
	for _, n := range nets {
		r.serve(n)
	}
	return r
}

func (r *rig) serve(n slirp.Network) {
	r.t.Helper()
	udp, tcp := both(r.t, netip.AddrPortFrom(n.Subnets[0].Gateway, 0).String())
	r.at[n.ID] = netip.MustParseAddrPort(udp.LocalAddr().String())
	if err := r.s.Serve(n, []net.PacketConn{udp}, []net.Listener{tcp}); err != nil {
		r.t.Fatal(err)
	}
}

// both listens with UDP and TCP on the same port.
func both(t testing.TB, addr string) (net.PacketConn, net.Listener) {
	t.Helper()
	for range 20 {
		tcp, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		udp, err := net.ListenPacket("udp", tcp.Addr().String())
		if err == nil {
			return udp, tcp
		}
		tcp.Close()
	}
	t.Fatal("no port is free for both")
	return nil, nil
}

// on is an endpoint on a network.
func on(n slirp.Network, ip string, aliases ...string) slirp.EndpointStatus {
	e := slirp.EndpointStatus{Network: n.Name, NetworkID: n.ID, Aliases: aliases}
	for a := range strings.FieldsSeq(ip) {
		if addr := netip.MustParseAddr(a); addr.Is4() {
			e.IP = addr
		} else {
			e.IP6 = addr
		}
	}
	return e
}

// member sets a container with a name and places.
func (r *rig) member(name string, places ...slirp.EndpointStatus) string {
	id := strings.Repeat("0", 64-len(name)) + name
	id = name + id[len(name):]
	r.s.Set(id, Member{Name: name, Hostname: name + "-host", Endpoints: places})
	return id
}

// reply is what came back.
type reply struct {
	dnsmessage.Message
	size int
}

// ask sends one question from an address to the gateway of a network.
func (r *rig) ask(from string, n slirp.Network, name string, t dnsmessage.Type, change ...func(*dnsmessage.Message)) (reply, error) {
	return r.exchange("udp", from, n, pack(r.t, name, t, change...))
}

func pack(t testing.TB, name string, typ dnsmessage.Type, change ...func(*dnsmessage.Message)) []byte {
	t.Helper()
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: 4711, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: typ, Class: dnsmessage.ClassINET}},
	}
	for _, f := range change {
		f(&m)
	}
	packet, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return packet
}

func (r *rig) exchange(network, from string, n slirp.Network, packet []byte) (got reply, err error) {
	local := netip.AddrPortFrom(netip.MustParseAddr(from), 0)
	d := net.Dialer{LocalAddr: net.UDPAddrFromAddrPort(local)}
	if network == "tcp" {
		d.LocalAddr = net.TCPAddrFromAddrPort(local)
	}
	c, err := d.Dial(network, r.at[n.ID].String())
	if err != nil {
		return got, err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(6 * time.Second))
	var raw []byte
	if network == "tcp" {
		if err = writeFramed(c, packet); err == nil {
			raw, err = readFramed(c, 1<<16)
		}
	} else {
		if _, err = c.Write(packet); err == nil {
			raw = make([]byte, 1<<16)
			var size int
			size, err = c.Read(raw)
			raw = raw[:size]
		}
	}
	if err != nil {
		return got, err
	}
	got.size = len(raw)
	return got, got.Unpack(raw)
}

// addrs asks for a name and wants these addresses, in any order; "NXDOMAIN" and the
// like stand for what else may come.
func (r *rig) addrs(from string, n slirp.Network, name string, want ...string) {
	r.t.Helper()
	var got []string
	for _, t := range []dnsmessage.Type{dnsmessage.TypeA, dnsmessage.TypeAAAA} {
		m, err := r.ask(from, n, name, t)
		if err != nil {
			r.t.Errorf("%s asks %s for %s: %v", from, n.Name, name, err)
			return
		}
		if m.RCode != dnsmessage.RCodeSuccess {
			got = []string{strings.TrimPrefix(m.RCode.String(), "RCode")}
			break
		}
		got = append(got, m.addrs()...)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		r.t.Errorf("%s asks %s for %s: %v, want %v", from, n.Name, name, got, want)
	}
}

func (m reply) addrs() (got []string) {
	for _, a := range m.Answers {
		switch b := a.Body.(type) {
		case *dnsmessage.AResource:
			got = append(got, netip.AddrFrom4(b.A).String())
		case *dnsmessage.AAAAResource:
			got = append(got, netip.AddrFrom16(b.AAAA).String())
		case *dnsmessage.PTRResource:
			got = append(got, b.PTR.String())
		}
	}
	return got
}

// servers is a list of resolvers that changes.
type servers struct {
	list atomic.Pointer[[]netip.AddrPort]
}

func (s *servers) set(list ...netip.AddrPort) { s.list.Store(&list) }
func (s *servers) get() []netip.AddrPort      { return *s.list.Load() }

// upstream is a resolver of the host, which says what handle says: nil is nothing.
type upstream struct {
	addr  netip.AddrPort
	asked atomic.Int32
	tcp   atomic.Int32

	mu     sync.Mutex
	handle func(m *dnsmessage.Message, tcp bool) []byte
	last   []byte // the last question
}

func newUpstream(t testing.TB, addr string) *upstream {
	t.Helper()
	udp, tcp := both(t, addr)
	t.Cleanup(func() { udp.Close(); tcp.Close() })
	u := &upstream{addr: netip.MustParseAddrPort(udp.LocalAddr().String()), handle: world}
	go u.datagrams(udp)
	go u.streams(tcp)
	return u
}

func (u *upstream) set(f func(m *dnsmessage.Message, tcp bool) []byte) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.handle = f
}

func (u *upstream) question() []byte {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.last
}

func (u *upstream) do(packet []byte, tcp bool) []byte {
	u.asked.Add(1)
	var m dnsmessage.Message
	if m.Unpack(packet) != nil {
		return nil
	}
	u.mu.Lock()
	u.last = slices.Clone(packet)
	f := u.handle
	u.mu.Unlock()
	return f(&m, tcp)
}

func (u *upstream) datagrams(c net.PacketConn) {
	buf := make([]byte, 1<<16)
	for {
		n, from, err := c.ReadFrom(buf)
		if err != nil {
			return
		}
		packet := slices.Clone(buf[:n])
		go func() {
			if out := u.do(packet, false); out != nil {
				_, _ = c.WriteTo(out, from)
			}
		}()
	}
}

func (u *upstream) streams(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		u.tcp.Add(1)
		go func() {
			defer c.Close()
			if packet, err := readFramed(c, 1<<16); err == nil {
				if out := u.do(packet, true); out != nil {
					_ = writeFramed(c, out)
				}
			}
		}()
	}
}

// world says 192.0.2.77 to every A, and that nothing under "missing." is there.
func world(m *dnsmessage.Message, tcp bool) []byte { return say(m, "192.0.2.77") }

func say(m *dnsmessage.Message, ip string) []byte {
	out := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: m.ID, Response: true, RecursionDesired: true, RecursionAvailable: true},
		Questions: m.Questions,
	}
	q := m.Questions[0]
	if strings.HasSuffix(strings.ToLower(q.Name.String()), "missing.") {
		out.RCode = dnsmessage.RCodeNameError
	} else if q.Type == dnsmessage.TypeA {
		out.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 60},
			Body:   &dnsmessage.AResource{A: netip.MustParseAddr(ip).As4()},
		}}
	}
	return mustPack(out)
}

func mustPack(m dnsmessage.Message) []byte {
	packet, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return packet
}

// edns adds an OPT record.
func edns(size int, do bool, options ...dnsmessage.Option) func(*dnsmessage.Message) {
	return func(m *dnsmessage.Message) {
		var h dnsmessage.ResourceHeader
		_ = h.SetEDNS0(size, dnsmessage.RCodeSuccess, do)
		m.Additionals = append(m.Additionals, dnsmessage.Resource{Header: h, Body: &dnsmessage.OPTResource{Options: options}})
	}
}

// within is a time that even a busy machine keeps.
func within(t *testing.T, what string, most time.Duration, f func()) {
	t.Helper()
	start := time.Now()
	f()
	if d := time.Since(start); d > most {
		t.Errorf("%s took %v, at most %v", what, d, most)
	}
}

func descriptors(t testing.TB) int {
	t.Helper()
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(d)
}

func be16(b []byte) int { return int(binary.BigEndian.Uint16(b)) }
