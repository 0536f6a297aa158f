package forward

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/tests/accept"
)

// TestServerSeesTheClient: every family and protocol, from a wire of the host.
func TestServerSeesTheClient(t *testing.T) {
	s := newScene(t)
	s.serveTCP("tcp", ":80", accept.Caller)
	s.serveUDP("udp", ":53")
	_, tcp := s.publish("tcp", "", 80)
	_, udp := s.publish("udp", "", 53)
	for _, c := range []struct{ network, addr string }{
		{"tcp", net.JoinHostPort(host4, tcp)}, {"tcp", net.JoinHostPort(host6, tcp)},
		{"udp", net.JoinHostPort(host4, udp)}, {"udp", net.JoinHostPort(host6, udp)},
	} {
		for _, question := range []string{"?", "", strings.Repeat("x", 40000)} {
			got, own, err := ask(s.client.in, c.network, c.addr, question)
			if seen, rest, _ := strings.Cut(got, " "); err != nil || seen != own || c.network == "udp" && rest != question {
				t.Errorf("%s %s: the client is %s, the server sees %q (%d bytes of answer), %v", c.network, c.addr, own, seen, len(got), err)
			}
		}
	}
}

// TestTwoPortsOneClient: the same client's port at two ports of ours.
func TestTwoPortsOneClient(t *testing.T) {
	s := newScene(t)
	s.serveUDP("udp", ":53")
	s.serveUDP("udp", ":54")
	_, a := s.publish("udp", "", 53)
	_, b := s.publish("udp", "", 54)
	_, again := s.publish("udp", "", 53)
	var c net.PacketConn
	var err error
	s.client.in(func() { c, err = net.ListenPacket("udp4", client4+":0") })
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	own := c.LocalAddr().String()
	for i, port := range []string{a, b, again, a} {
		to, _ := net.ResolveUDPAddr("udp", net.JoinHostPort(host4, port))
		if _, err := c.WriteTo([]byte("?"), to); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 100)
		n, from, err := c.ReadFrom(buf)
		if err != nil || from.String() != to.String() {
			t.Fatalf("%d: asked %s, %v answers: %v", i, to, from, err)
		}
		seen := strings.TrimSuffix(string(buf[:n]), " ?")
		if i == 2 { // to the server it would be the first flow: the gateway stands in
			own, seen = gateway4, strings.Split(seen, ":")[0]
		}
		if seen != own {
			t.Errorf("%d: the server sees %q, not %s", i, seen, own)
		}
		own = c.LocalAddr().String()
	}
}

// TestGatewayStandsIn: for the host's loopback, and for a server of the other family.
func TestGatewayStandsIn(t *testing.T) {
	s := newScene(t)
	s.serveTCP("tcp", ":80", accept.Caller)
	s.serveTCP("tcp4", inside4+":81", accept.Caller)
	s.serveTCP("tcp6", "["+inside6+"]:82", accept.Caller)
	s.serveUDP("udp", ":53")
	s.serveUDP("udp4", inside4+":54")
	s.serveUDP("udp6", "["+inside6+"]:55")
	for _, c := range []struct {
		network, host string
		inside        uint16
		in            func(func())
		want          string
	}{
		{"tcp", "127.0.0.1", 80, here, gateway4}, {"tcp", "::1", 80, here, gateway6},
		{"udp", "127.0.0.1", 53, here, gateway4}, {"udp", "::1", 53, here, gateway6},
		{"tcp", host6, 81, s.client.in, gateway4}, {"tcp", host4, 82, s.client.in, gateway6},
		{"udp", host6, 54, s.client.in, gateway4}, {"udp", host4, 55, s.client.in, gateway6},
	} {
		_, port := s.publish(c.network, "", c.inside)
		got, _, err := ask(c.in, c.network, net.JoinHostPort(c.host, port), "?")
		seen, _, _ := strings.Cut(got, " ")
		ap, perr := netip.ParseAddrPort(seen)
		if err != nil || perr != nil || ap.Addr().Unmap().String() != c.want {
			t.Errorf("%s to %s, port %d inside: seen as %q, not %s; %v", c.network, c.host, c.inside, got, c.want, err)
		}
	}
}

// TestAddressesAreFound: without an address told, those of the namespace; without any
// of IPv6 there, one on lo.
func TestAddressesAreFound(t *testing.T) {
	s := newScene(t)
	s.container.ip("address del " + inside6 + "/64 dev e0\n")
	s.serveTCP("tcp", ":80", accept.Caller)
	s.serveUDP("udp", ":53")
	_, tcp := s.publish("tcp", "", 80)
	_, udp := s.publish("udp", "", 53)
	s.Serve(Inside{})
	for network, port := range map[string]string{"tcp": tcp, "udp": udp} {
		for _, host := range []string{host4, host6} {
			got, own, err := ask(s.client.in, network, net.JoinHostPort(host, port), "?")
			if seen, _, _ := strings.Cut(got, " "); err != nil || seen != own {
				t.Errorf("%s to %s: %s is seen as %q, %v", network, host, own, seen, err)
			}
		}
	}
}

// TestRefusals: what has no server refuses at once, and what is not ours stays closed.
func TestRefusals(t *testing.T) {
	s := newScene(t)
	s.serveTCP("tcp", "127.0.0.1:81", accept.Caller)
	_, none := s.publish("tcp", "", 80)
	_, local := s.publish("tcp", "", 81)
	for _, addr := range []string{net.JoinHostPort(host4, none), net.JoinHostPort(host6, none), net.JoinHostPort(host4, local)} {
		begin := time.Now()
		if got, _, err := ask(s.client.in, "tcp", addr, ""); !errors.Is(err, unix.ECONNRESET) {
			t.Errorf("%s: %q, %v", addr, got, err)
		}
		if took := time.Since(begin); took > time.Second {
			t.Errorf("%s: refused after %v", addr, took)
		}
	}
	s.serveTCP("tcp", ":80", accept.Caller)
	s.Serve(Inside{Offline: true})
	if got, _, err := ask(s.client.in, "tcp", net.JoinHostPort(host4, none), ""); !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("on no network: %q, %v", got, err)
	}
	eventually(t, "nothing is open", func() bool { return s.Open() == 0 })
}

// TestOwnTrafficIsLeft: what a service sends from its published port to others than its
// clients goes the container's own way.
func TestOwnTrafficIsLeft(t *testing.T) {
	s := newScene(t)
	server := s.serveUDP("udp4", inside4+":53")
	_, port := s.publish("udp", "", 53)
	if _, _, err := ask(s.client.in, "udp", net.JoinHostPort(host4, port), "?"); err != nil {
		t.Fatal(err)
	}
	peer, err := net.ListenPacket("udp4", gateway4+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	if _, err := server.WriteTo([]byte("of my own"), peer.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	_ = peer.SetDeadline(time.Now().Add(3 * time.Second))
	n, from, err := peer.ReadFrom(buf)
	if err != nil || from.String() != inside4+":53" || string(buf[:n]) != "of my own" {
		t.Errorf("%q from %v, %v", buf[:n], from, err)
	}
}

// TestAnswersComeFromWhereTheQuestionWent on a host with several addresses.
func TestAnswersComeFromWhereTheQuestionWent(t *testing.T) {
	s := newScene(t)
	ipBatch(t, "address add 192.0.2.77/24 dev c0\naddress add 2001:db8:1::77/64 dev c0 nodad\n")
	s.serveUDP("udp", ":53")
	_, port := s.publish("udp", "", 53)
	for _, host := range []string{"192.0.2.77", "2001:db8:1::77", host4, host6} {
		// A connected client hears nobody else.
		if got, own, err := ask(s.client.in, "udp", net.JoinHostPort(host, port), "?"); err != nil || !strings.HasPrefix(got, own) {
			t.Errorf("%s: %q, %v", host, got, err)
		}
	}
}

// TestWaitUntilServed: what comes before the container has its network is kept.
func TestWaitUntilServed(t *testing.T) {
	s := newScene(t)
	s.serveTCP("tcp", ":80", accept.Caller)
	p, err := s.Listen(Port{Proto: "tcp", Inside: 80})
	if err != nil {
		t.Fatal(err)
	}
	c, err := dialFrom(s.client.in, "tcp", netip.AddrPortFrom(netip.MustParseAddr(host4), p.Host.Port()).String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	time.Sleep(30 * time.Millisecond)
	s.Serve(scenery)
	buf := make([]byte, 100)
	n, err := c.Read(buf)
	if err != nil || !bytes.Equal(buf[:n], []byte(c.LocalAddr().String())) {
		t.Errorf("%q, %v", buf[:n], err)
	}
}
