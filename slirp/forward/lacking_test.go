package forward

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/tests/accept"
)

// Hosts that lack something: what is lost is told in docs/networks.md, and a client is
// served all the same.

// readOnly is a /proc/sys that nobody may write to, as container engines make it.
func readOnly(t *testing.T) {
	procSys = "/nonexistent"
	t.Cleanup(func() { procSys = "/proc/sys" })
}

// noTables is a kernel without nf_tables.
func noTables(t *testing.T) {
	before := dialNftables
	dialNftables = func() (*nftables.Conn, error) { return nil, unix.EPROTONOSUPPORT }
	t.Cleanup(func() { dialNftables = before })
}

// seen is who the server takes the client for.
func (s *scene) seen(t *testing.T, network, host, port string) (seen, own string) {
	t.Helper()
	got, own, err := ask(s.client.in, network, net.JoinHostPort(host, port), "?")
	if err != nil {
		t.Errorf("%s %s: %v", network, host, err)
	}
	seen, _, _ = strings.Cut(got, " ")
	return seen, own
}

// TestReadOnlySettings: nf_tables does what the sysctls would, with a way out and without.
func TestReadOnlySettings(t *testing.T) {
	readOnly(t)
	for _, way := range []string{"with a way out", "without"} {
		t.Run(way, func(t *testing.T) {
			s := newScene(t)
			if way == "without" {
				s.container.ip("route del default via " + gateway4 + "\nroute del default via " + gateway6 + "\n")
			}
			s.serveTCP("tcp", ":80", accept.Caller)
			s.serveUDP("udp", ":53")
			_, tcp := s.publish("tcp", "", 80)
			_, udp := s.publish("udp", "", 53)
			_, none := s.publish("tcp", "", 81)
			for _, host := range []string{host4, host6} {
				for network, port := range map[string]string{"tcp": tcp, "udp": udp} {
					if seen, own := s.seen(t, network, host, port); seen != own {
						t.Errorf("%s %s: %s is seen as %q", network, host, own, seen)
					}
				}
				begin := time.Now()
				if got, _, err := ask(s.client.in, "tcp", net.JoinHostPort(host, none), ""); !errors.Is(err, unix.ECONNRESET) || time.Since(begin) > time.Second {
					t.Errorf("a port without a server: %q, %v after %v", got, err, time.Since(begin))
				}
			}
		})
	}
}

// TestReadOnlyBulk: whole segments take the same way back.
func TestReadOnlyBulk(t *testing.T) {
	readOnly(t)
	s := newScene(t)
	s.serveTCP("tcp", ":80", func(c net.Conn) { _, _ = c.Write(make([]byte, 8<<20)) })
	_, port := s.publish("tcp", "", 80)
	if got, _, err := ask(s.client.in, "tcp", net.JoinHostPort(host4, port), ""); err != nil || len(got) != 8<<20 {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// TestWithoutTables: TCP keeps its client by sysctl; UDP, and TCP where those cannot be
// written either, is shown as the container itself.
func TestWithoutTables(t *testing.T) {
	noTables(t)
	for _, settings := range []string{"that can be written", "that cannot"} {
		t.Run(settings, func(t *testing.T) {
			if settings == "that cannot" {
				readOnly(t)
			}
			s := newScene(t)
			s.serveTCP("tcp", ":80", accept.Caller)
			s.serveUDP("udp", ":53")
			_, tcp := s.publish("tcp", "", 80)
			_, udp := s.publish("udp", "", 53)
			for host, inside := range map[string]string{host4: inside4, host6: inside6} {
				if seen, own := s.seen(t, "tcp", host, tcp); (seen == own) != (settings == "that can be written") {
					t.Errorf("tcp: %s is seen as %s", own, seen)
				}
				seen, own := s.seen(t, "udp", host, udp)
				if addr, _, _ := net.SplitHostPort(seen); addr != inside {
					t.Errorf("udp: %s is seen as %s", own, seen)
				}
			}
		})
	}
}

// TestNamespaceCannotBeEntered: clients are refused at once, nothing is kept, and the
// door works on.
func TestNamespaceCannotBeEntered(t *testing.T) {
	s := newScene(t)
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	f, err := New(null)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	before := sockets.Load()
	broken := &scene{Forwarder: f, t: t, client: s.client, container: s.container}
	_, tcp := broken.publish("tcp", "", 80)
	_, udp := broken.publish("udp", "", 53)
	for range 20 {
		if got, _, err := ask(s.client.in, "tcp", net.JoinHostPort(host4, tcp), ""); !errors.Is(err, unix.ECONNRESET) {
			t.Errorf("%q, %v", got, err)
		}
	}
	c, err := dialFrom(s.client.in, "udp", net.JoinHostPort(host4, udp))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 20 {
		_, _ = c.Write([]byte("?"))
	}
	fresh, answered := broken.flowsNow()
	if now := sockets.Load(); fresh+answered != 0 || f.Open() != 0 || now != before {
		t.Errorf("%d flows, %d connections, %d sockets more", fresh+answered, f.Open(), now-before)
	}
}

// needFlows skips where not all flows that there may be have a descriptor.
func needFlows(t *testing.T) {
	t.Helper()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || limit.Max < maxFlows+1000 {
		t.Skipf("needs %d descriptors: the hard limit is %d", maxFlows+1000, limit.Max)
	}
}

// asks is nil when a question is answered in time.
func asks(c net.Conn, patience time.Duration) error {
	_ = c.SetDeadline(time.Now().Add(patience))
	_, _ = c.Write([]byte("?"))
	_, err := c.Read(make([]byte, 100))
	return err
}

// stranger is a client with the nth of many ports, for as long as use takes.
func (s *scene) stranger(n int, use func(c *net.UDPConn) error) {
	s.t.Helper()
	var err error
	s.client.in(func() {
		var c *net.UDPConn
		if c, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(client4), Port: 20000 + n}); err == nil {
			err = use(c)
			_ = c.Close()
		}
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// TestAllFlows: a container has 4,096 clients of UDP and no more; who talks stays.
func TestAllFlows(t *testing.T) {
	needFlows(t)
	s := newScene(t)
	s.serveUDP("udp", ":53")
	_, port := s.publish("udp", "", 53)
	good, err := dialFrom(s.client.in, "udp", net.JoinHostPort(host4, port))
	if err != nil {
		t.Fatal(err)
	}
	defer good.Close()
	talk := func() {
		t.Helper()
		if err := asks(good, 5*time.Second); err != nil {
			t.Errorf("who talks is shut out: %v", err)
		}
	}
	talk()
	// Nobody is at that port of the container's who would answer.
	mute := s.mute(":54")
	defer mute.Close()
	_, deaf := s.publish("udp", "", 54)
	to, err := net.ResolveUDPAddr("udp", net.JoinHostPort(host4, deaf))
	if err != nil {
		t.Fatal(err)
	}
	const flood = maxFlows + 300
	for n := range flood {
		s.stranger(n, func(c *net.UDPConn) error { _, err := c.WriteTo([]byte("flood"), to); return err })
		if n%500 == 0 {
			time.Sleep(20 * time.Millisecond) // what finds no room in the gate is lost
		}
	}
	eventually(t, "the flood is in", func() bool { fresh, _ := s.flowsNow(); return fresh >= maxFlows-1 })
	fresh, answered := s.flowsNow()
	t.Logf("%d clients: %d flows without answer, %d with", flood+1, fresh, answered)
	if fresh+answered > maxFlows || answered != 1 {
		t.Errorf("%d flows, %d of them answered; %d at most", fresh+answered, answered, maxFlows)
	}
	talk()
}

// TestManyStrangers: the kernel has room for more clients than ever were in its set.
func TestManyStrangers(t *testing.T) {
	needFlows(t)
	s := newScene(t)
	s.serveUDP("udp", ":53")
	_, port := s.publish("udp", "", 53)
	patient, err := dialFrom(s.client.in, "udp", net.JoinHostPort(host6, port))
	if err != nil {
		t.Fatal(err)
	}
	defer patient.Close()
	talk := func(c net.Conn) bool { return asks(c, 2*time.Second) == nil }
	if !talk(patient) {
		t.Fatal("no answer at first")
	}
	to, err := net.ResolveUDPAddr("udp", net.JoinHostPort(host4, port))
	if err != nil {
		t.Fatal(err)
	}
	const many = 3*maxFlows + 100
	lost, row := 0, 0 // in a row: what finds no room in a busy socket is no fault
	for n := range many {
		s.client.in(func() {
			var c *net.UDPConn
			if c, err = net.DialUDP("udp4", &net.UDPAddr{IP: net.ParseIP(client4), Port: 20000 + n}, to); err != nil {
				return
			}
			defer c.Close()
			if row++; talk(c) {
				row = 0
			} else {
				lost++
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		if row > 3 {
			t.Fatalf("nobody is answered any more after %d clients", n-3)
		}
		if n%1000 == 0 && !talk(patient) && !talk(patient) {
			t.Errorf("who came first is shut out after %d more", n+1)
		}
	}
	t.Logf("%d clients, %d not answered", many, lost)
}

// TestStrangersBeforeTheServer: those who were refused leave the kernel room for others.
func TestStrangersBeforeTheServer(t *testing.T) {
	s := newScene(t)
	_, port := s.publish("udp", "", 53)
	to, err := net.ResolveUDPAddr("udp", net.JoinHostPort(host4, port))
	if err != nil {
		t.Fatal(err)
	}
	const flood = 2*maxFlows + 800 // of which a busy machine may lose some
	for n := range flood {
		s.stranger(n, func(c *net.UDPConn) error { _, err := c.WriteTo([]byte("?"), to); return err })
		if n%200 == 0 {
			time.Sleep(20 * time.Millisecond) // what finds no room in the gate is lost
		}
	}
	s.serveUDP("udp", ":53")
	answered := false
	for n := range 5 {
		s.stranger(flood+n, func(c *net.UDPConn) error {
			_ = c.SetDeadline(time.Now().Add(2 * time.Second))
			_, _ = c.WriteTo([]byte("?"), to)
			_, _, rerr := c.ReadFrom(make([]byte, 100))
			answered = answered || rerr == nil
			return nil
		})
	}
	if !answered {
		t.Error("nobody is answered by a server that came late")
	}
}

// mute is somebody inside who takes datagrams and says nothing.
func (s *scene) mute(at string) (c net.PacketConn) {
	s.t.Helper()
	var err error
	s.container.in(func() { c, err = net.ListenPacket("udp", at) })
	if err != nil {
		s.t.Fatal(fmt.Errorf("%s inside: %w", at, err))
	}
	return c
}

// TestPortMoves: a port leads to another service, its connections to the first are cut.
func TestPortMoves(t *testing.T) {
	s := newScene(t)
	for port, word := range map[string]string{":80": "first", ":81": "second"} {
		s.serveTCP("tcp", port, func(c net.Conn) {
			_, _ = c.Write([]byte(word))
			_, _ = c.Read(make([]byte, 1)) // until it is cut
		})
	}
	s.serveUDP("udp", ":54")
	gate, port := s.publish("tcp", "", 80)
	udp, udpPort := s.publish("udp", "", 53)
	held, err := dialFrom(s.client.in, "tcp", net.JoinHostPort(host4, port))
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	word := make([]byte, 10)
	if n, err := held.Read(word); string(word[:n]) != "first" {
		t.Fatalf("%q %v", word[:n], err)
	}
	moved, err := s.Move(gate, 81)
	if err != nil || moved.Inside != 81 || moved.Host != gate.Host {
		t.Fatalf("%+v %v", moved, err)
	}
	if n, err := held.Read(word); err == nil {
		t.Errorf("the old connection goes on: %q", word[:n])
	}
	again, err := dialFrom(s.client.in, "tcp", net.JoinHostPort(host4, port))
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if n, err := again.Read(word); string(word[:n]) != "second" {
		t.Errorf("%q %v", word[:n], err)
	}
	if _, err := s.Move(udp, 54); err != nil {
		t.Error(err)
	}
	if seen, own := s.seen(t, "udp", host4, udpPort); seen != own {
		t.Errorf("udp: %s is seen as %q", own, seen)
	}
	if _, err := s.Move(gate, 82); !errors.Is(err, unix.ENOENT) {
		t.Errorf("under its old name: %v", err)
	}
}
