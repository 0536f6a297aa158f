package forward

import (
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rc-containers/rc/tests/accept"
)

// TestInternalNetwork: no way out for the container, and an answer for the client.
func TestInternalNetwork(t *testing.T) {
	s := newScene(t)
	s.container.ip("route del default via " + gateway4 + "\nroute del default via " + gateway6 + "\n")
	s.serveTCP("tcp", ":80", accept.Caller)
	s.serveUDP("udp", ":53")
	_, tcp := s.publish("tcp", "", 80)
	_, udp := s.publish("udp", "", 53)
	for network, port := range map[string]string{"tcp": tcp, "udp": udp} {
		for _, host := range []string{host4, host6} {
			got, own, err := ask(s.client.in, network, net.JoinHostPort(host, port), "?")
			if seen, _, _ := strings.Cut(got, " "); err != nil || seen != own {
				t.Errorf("%s %s: %s is seen as %q, %v", network, host, own, got, err)
			}
		}
	}
}

// TestServerComesLate: the first datagrams find nobody, the next one does.
func TestServerComesLate(t *testing.T) {
	s := newScene(t)
	_, port := s.publish("udp", "", 53)
	c, err := dialFrom(s.client.in, "udp", net.JoinHostPort(host4, port))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 3 {
		_, _ = c.Write([]byte("early"))
		time.Sleep(10 * time.Millisecond)
	}
	s.serveUDP("udp4", inside4+":53")
	eventually(t, "the server answers", func() bool {
		_, _ = c.Write([]byte("?"))
		_ = c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		buf := make([]byte, 100)
		n, _ := c.Read(buf)
		return string(buf[:n]) == c.LocalAddr().String()+" ?"
	})
}

// flowsNow is looked at by the door itself.
func (s *scene) flowsNow() (fresh, answered int) {
	s.door.do(func() { fresh, answered = s.door.flows.fresh.Len(), s.door.flows.answered.Len() })
	return fresh, answered
}

// TestFlood: invented clients push out each other, not one that talks.
func TestFlood(t *testing.T) {
	defer func(n int64) { maxSockets = n }(maxSockets)
	s := newScene(t)
	_, port := s.publish("udp", "", 53)
	_, deaf := s.publish("udp", "", 54)
	s.serveUDP("udp", ":53")
	var mute net.PacketConn
	s.container.in(func() { mute, _ = net.ListenPacket("udp", ":54") })
	defer mute.Close()
	good, err := dialFrom(s.client.in, "udp", net.JoinHostPort(host4, port))
	if err != nil {
		t.Fatal(err)
	}
	defer good.Close()
	talk := func() error {
		if _, err := good.Write([]byte("?")); err != nil {
			return err
		}
		_ = good.SetReadDeadline(time.Now().Add(2 * time.Second))
		_, err := good.Read(make([]byte, 100))
		return err
	}
	if err := talk(); err != nil {
		t.Fatal(err)
	}
	maxSockets = sockets.Load() + 50
	addr := net.JoinHostPort(host4, deaf)
	for range 300 {
		c, err := dialFrom(s.client.in, "udp", addr)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write([]byte("flood"))
		_ = c.Close()
	}
	eventually(t, "the flood is in", func() bool { fresh, _ := s.flowsNow(); return fresh >= 40 })
	fresh, answered := s.flowsNow()
	if fresh > 50 || answered != 1 {
		t.Errorf("%d fresh flows, %d answered", fresh, answered)
	}
	if err := talk(); err != nil {
		t.Errorf("who talked before is shut out: %v", err)
	}
	s.door.do(func() { s.door.flows.expire(time.Now().Add(freshFlow + time.Second)) })
	if fresh, answered := s.flowsNow(); fresh != 0 || answered != 1 {
		t.Errorf("after %v: %d fresh flows, %d answered", freshFlow, fresh, answered)
	}
	s.door.do(func() { s.door.flows.expire(time.Now().Add(flowLife + time.Second)) })
	if fresh, answered := s.flowsNow(); fresh+answered != 0 {
		t.Errorf("after %v: %d fresh flows, %d answered", flowLife, fresh, answered)
	}
}

// TestRest: a door without visitors has neither thread nor sockets inside.
func TestRest(t *testing.T) {
	s := newScene(t)
	s.serveTCP("tcp", ":80", accept.Caller)
	_, port := s.publish("tcp", "", 80)
	for range 2 { // it works again afterwards
		if _, _, err := ask(s.client.in, "tcp", net.JoinHostPort(host4, port), ""); err != nil {
			t.Fatal(err)
		}
		var up, down bool
		s.door.do(func() {
			up = s.door.annex != nil
			for range restAfter + 1 {
				s.door.tick()
			}
			down = s.door.annex == nil && !s.door.ticking
		})
		if !up || !down {
			t.Errorf("thread while clients come: %v; given back: %v", up, down)
		}
	}
}

// TestManyGates: each port can be had and given back, nothing stays open.
func TestManyGates(t *testing.T) {
	s := newScene(t)
	count := func() int {
		list, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	start := count()
	first, err := s.Listen(Port{Proto: "tcp", Inside: 1})
	if err != nil || s.Stop(first) != nil || count() != start+2 { // the door is opened with it, and stays
		t.Fatalf("%v; %d descriptors before the first port, %d after", err, start, count())
	}
	before := count()
	var gates []Port
	for i := range 200 {
		p := Port{Proto: []string{"tcp", "udp"}[i%2], Inside: uint16(i + 1)}
		if i%3 == 0 {
			p.Host = netip.MustParseAddrPort("127.0.0.1:0")
		}
		g, err := s.Listen(p)
		if err != nil || g.Host.Port() == 0 {
			t.Fatal(g, err)
		}
		if _, err := s.Listen(g); err == nil {
			t.Fatalf("%v twice", g)
		}
		gates = append(gates, g)
	}
	s.Serve(scenery)
	for _, g := range gates {
		if err := s.Stop(g); err != nil {
			t.Error(err)
		}
	}
	if after := count(); after != before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}
