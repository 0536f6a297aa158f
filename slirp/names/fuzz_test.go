package names

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/rc-containers/rc/slirp"
)

// seeds are packets of every kind: questions of C libraries, of dig, of nobody.
func seeds(t testing.TB) [][]byte {
	list := [][]byte{nil, {0}, make([]byte, 11), make([]byte, 12), make([]byte, 512)}
	for _, name := range []string{"web.", "WEB.alpha.", "web.rc.internal.", "2.0.1.127.in-addr.arpa.", "localhost.", "host.docker.internal.", "example.org.", ".", strings.Repeat("a.", 126) + "."} {
		if strings.HasSuffix(name, "..") {
			name = strings.TrimSuffix(name, ".")
		}
		for _, typ := range []dnsmessage.Type{dnsmessage.TypeA, dnsmessage.TypeAAAA, dnsmessage.TypePTR, dnsmessage.TypeALL, dnsmessage.TypeAXFR, 65} {
			list = append(list, pack(t, name, typ))
		}
	}
	cookie := dnsmessage.Option{Code: 10, Data: []byte("12345678")}
	for _, change := range []func(*dnsmessage.Message){
		edns(1232, true, cookie), edns(0, false), edns(65535, false),
		func(m *dnsmessage.Message) { edns(512, false)(m); edns(512, false)(m) },
		func(m *dnsmessage.Message) { m.Questions = append(m.Questions, m.Questions[0]) },
		func(m *dnsmessage.Message) { m.Questions = nil },
		func(m *dnsmessage.Message) { m.Response = true },
		func(m *dnsmessage.Message) { m.OpCode = 5 },
		func(m *dnsmessage.Message) { m.Questions[0].Class = dnsmessage.ClassCHAOS },
		func(m *dnsmessage.Message) { edns(512, false)(m); m.Additionals[0].Header.TTL = 1 << 16 },
	} {
		list = append(list, pack(t, "web.", dnsmessage.TypeA, change))
	}
	return append(list,
		// A name that points at itself, one that points beyond, one without an end.
		[]byte("\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\xc0\x0c\x00\x01\x00\x01"),
		[]byte("\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\xff\xff\x00\x01\x00\x01"),
		[]byte("\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x3fabc"),
		// More records than there are bytes.
		[]byte("\x00\x01\x01\x00\x00\x01\xff\xff\xff\xff\xff\xff\x03web\x00\x00\x01\x00\x01"),
		// A label with a dot, a zero byte, and one that is no UTF-8.
		[]byte("\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03w.b\x00\x00\x01\x00\x01"),
		[]byte("\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03\x00\xff\xc3\x00\x00\x01\x00\x01"),
	)
}

func fuzzServer() *Server {
	s := New(Options{
		Upstream: func() []netip.AddrPort { return nil },
		Host:     func() []netip.Addr { return []netip.Addr{netip.MustParseAddr("192.0.2.1")} },
	})
	s.zone.serve(netA)
	for _, ip := range []string{"127.1.0.2 fd00::2", "127.1.0.3", "127.1.0.4"} {
		s.Set(ip, Member{Name: "web", Hostname: "h", Endpoints: []slirp.EndpointStatus{on(netA, ip, "www", "an.alias")}})
	}
	return s
}

// FuzzQuestion: whatever a container sends, the reply, if any, is a well-formed
// answer to it that is not larger than it said it takes, and what goes to a resolver
// is one well-formed question.
func FuzzQuestion(f *testing.F) {
	for _, s := range seeds(f) {
		f.Add(s)
	}
	s := fuzzServer()
	from := netip.MustParseAddr("127.1.0.2")
	f.Fuzz(func(t *testing.T, packet []byte) {
		for _, tcp := range []bool{false, true} {
			reply, later := s.answer(netA.ID, from, slices.Clone(packet), tcp)
			if later != nil {
				checkQuery(t, packet)
				reply = later() // no servers: SERVFAIL
			}
			if len(reply) > 0 {
				checkReply(t, packet, reply, tcp)
			}
		}
	})
}

func checkReply(t *testing.T, packet, reply []byte, tcp bool) {
	t.Helper()
	var m dnsmessage.Message
	if err := m.Unpack(reply); err != nil {
		t.Fatalf("no message: %v\n%q", err, reply)
	}
	if !m.Response || len(packet) < headerSize || be16(reply) != be16(packet) || packet[2]&flagQR != 0 {
		t.Fatalf("an answer to what is no question: %q to %q", reply, packet)
	}
	if q, _, _ := parse(packet); !tcp && len(reply) > q.size {
		t.Fatalf("%d bytes for %d", len(reply), q.size)
	}
	if len(reply) > 1<<16-1 || tcp && m.Truncated {
		t.Fatal("TCP takes 64 KiB")
	}
}

func checkQuery(t *testing.T, packet []byte) {
	t.Helper()
	q, _, _ := parse(packet)
	query, err := q.query(q.size)
	if err != nil {
		t.Fatalf("%q: %v", packet, err)
	}
	var m dnsmessage.Message
	if err := m.Unpack(query); err != nil || len(m.Questions) != 1 || len(m.Additionals) > 1 || len(query) > headerSize+255+4+optRR {
		t.Fatalf("%q becomes %q: %v", packet, query, err)
	}
	var p dnsmessage.Parser
	if _, err := p.Start(query); err != nil {
		t.Fatal(err)
	}
	// matches trusts the place where the question ends.
	query[2] |= flagQR
	if !matches(slices.Clone(query), query, q.questionEnd()) {
		t.Fatalf("an echo is no answer: %q", query)
	}
	if end := q.questionEnd(); end > len(query) || [2]byte(query[end-4:end-2]) != [2]byte{byte(q.q.Type >> 8), byte(q.q.Type)} {
		t.Fatalf("the question does not end at %d: %q", end, query)
	}
}

// FuzzReply: whatever a resolver sends, what passes is an answer to our question.
func FuzzReply(f *testing.F) {
	for _, s := range seeds(f) {
		f.Add(s)
	}
	q, _, _ := parse(pack(f, "ExAmPle.org.", dnsmessage.TypeA))
	query, err := q.query(512)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(append(slices.Clone(query[:2]), 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0))
	f.Fuzz(func(t *testing.T, packet []byte) {
		if len(packet) >= 2 {
			packet = append(slices.Clone(query[:2]), packet[2:]...)
		}
		got := slices.Clone(packet)
		if !matches(got, query, q.questionEnd()) {
			return
		}
		if be16(got[4:]) == 1 && string(got[headerSize:q.questionEnd()]) != string(query[headerSize:q.questionEnd()]) {
			t.Fatalf("%q passes for an answer to %q", got, query)
		}
	})
}

func FuzzResolvConf(f *testing.F) {
	f.Add("nameserver 192.0.2.1\n")
	f.Add("nameserver fe80::1%eth0 # x\r\noptions ndots:5")
	f.Fuzz(func(t *testing.T, text string) {
		list := parseServers(text)
		if len(list) == 0 || len(list) > maxResolvers {
			t.Fatal(list)
		}
		for _, s := range list {
			if !s.IsValid() || s.Port() != port {
				t.Fatal(s)
			}
		}
	})
}

// TestGarbage: the seeds over the wire; the server lives, and nobody waits for it.
func TestGarbage(t *testing.T) {
	r := newRig(t, Options{}, netA)
	r.member("web", on(netA, somebody))
	for _, network := range []string{"udp", "tcp"} {
		for _, packet := range seeds(t) {
			c := r.dial(network, somebody)
			if network == "tcp" {
				_ = writeFramed(c, packet)
			} else {
				_, _ = c.Write(packet)
			}
			c.Close()
		}
		r.addrs(somebody, netA, "web.", somebody)
	}
	// Refusals name what is wrong, at once.
	for _, c := range []struct {
		change func(*dnsmessage.Message)
		want   dnsmessage.RCode
	}{
		{func(m *dnsmessage.Message) { m.OpCode = 5 }, dnsmessage.RCodeNotImplemented},
		{func(m *dnsmessage.Message) { m.Questions = append(m.Questions, m.Questions[0]) }, dnsmessage.RCodeFormatError},
		{func(m *dnsmessage.Message) { m.Questions = nil }, dnsmessage.RCodeFormatError},
		{func(m *dnsmessage.Message) { m.Questions[0].Class = dnsmessage.ClassCHAOS }, dnsmessage.RCodeRefused},
		{func(m *dnsmessage.Message) { m.Questions[0].Type = dnsmessage.TypeAXFR }, dnsmessage.RCodeRefused},
		{func(m *dnsmessage.Message) { edns(512, false)(m); edns(512, false)(m) }, dnsmessage.RCodeFormatError},
	} {
		within(t, c.want.String(), time.Second, func() {
			if m, err := r.ask(somebody, netA, "web.", dnsmessage.TypeA, c.change); err != nil || m.RCode != c.want {
				t.Errorf("%v, want %v: %v", m.RCode, c.want, err)
			}
		})
	}
	m, err := r.ask(somebody, netA, "web.", dnsmessage.TypeA, func(m *dnsmessage.Message) { edns(512, false)(m); m.Additionals[0].Header.TTL = 1 << 16 })
	if err != nil || len(m.Answers) != 0 || len(m.Additionals) != 1 || m.Additionals[0].Header.ExtendedRCode(m.RCode) != 16 {
		t.Errorf("BADVERS: %+v %v", m, err)
	}
}
