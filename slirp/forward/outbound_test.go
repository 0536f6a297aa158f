package forward

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/tests/accept"
)

// Both ways, both families; each side may end its own; the server sees the host.
func TestOutboundCarries(t *testing.T) {
	s := newOutScene(t)
	in, _ := s.join(outNetwork(false))
	text := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // 1 MiB
	for _, ip := range []string{host4, host6} {
		addr := atHost(t, ip, func(c *net.TCPConn) {
			got, _ := io.ReadAll(c) // to the end of the client's half
			_, _ = io.WriteString(c, c.RemoteAddr().String()+" ")
			_, _ = c.Write(got)
		})
		c, err := dialFrom(in.in, "tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write(text)
		_ = c.(*net.TCPConn).CloseWrite()
		got, err := io.ReadAll(c)
		_ = c.Close()
		own, rest, _ := bytes.Cut(got, []byte(" "))
		if err != nil || !bytes.Equal(rest, text) {
			t.Errorf("%s: %d bytes came back, %v", addr, len(rest), err)
		}
		if h, _, _ := net.SplitHostPort(string(own)); h != ip {
			t.Errorf("the server sees %s", own)
		}
		if s.seen(0, func(ip []byte) bool { _, _, ok := parseSYN(ip); return ok }) {
			t.Error("it went to slirp4netns")
		}
	}
	s.idle()
}

// What connect(2) says on the host it says inside, at once.
func TestOutboundRefusals(t *testing.T) {
	s := newOutScene(t)
	n := outNetwork(false)
	in, _ := s.join(n)
	_, other := s.join(outNetwork(false))
	for addr, want := range map[string]error{
		net.JoinHostPort(host4, "9"): unix.ECONNREFUSED, net.JoinHostPort(host6, "9"): unix.ECONNREFUSED,
		"203.0.113.9:80": unix.ENETUNREACH, "[2001:db8:9::9]:80": unix.ENETUNREACH, // this host has no default route
		// Not the relay's: it would look for them on the host, where there is no route.
		netip.AddrPortFrom(other.IP, 80).String(): unix.EHOSTUNREACH, netip.AddrPortFrom(other.IP6, 80).String(): unix.ECONNREFUSED,
		netip.AddrPortFrom(n.Subnets[0].Gateway, 22).String(): unix.ECONNREFUSED,
		"10.0.2.2:80": unix.EHOSTUNREACH, "10.0.2.3:53": unix.EHOSTUNREACH, "[fd00::2]:80": unix.ECONNREFUSED,
	} {
		for range 5 {
			began := time.Now()
			c, err := dialFrom(in.in, "tcp", addr)
			if took := time.Since(began); !errors.Is(err, want) || took > 500*time.Millisecond {
				t.Errorf("%s: %v after %v, want %v", addr, err, took, want)
			}
			if err == nil {
				_ = c.Close()
			}
		}
	}
	s.idle()
}

// The host's loopback is nobody's, whatever a container writes into its packets.
func TestOutboundNoLoopback(t *testing.T) {
	s := newOutScene(t)
	in, at := s.join(outNetwork(false))
	came := make(chan string, 10)
	l, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accept.Each(l, func(c net.Conn) { came <- c.LocalAddr().String() })
	port := uint16(l.Addr().(*net.TCPAddr).Port)
	for _, to := range []string{"127.0.0.1", "127.1.2.3", "0.0.0.0"} {
		r := route{netip.AddrPortFrom(at.IP, 4000), netip.AddrPortFrom(netip.MustParseAddr(to), port)}
		frameTo(t, in, makeSYN(r, 1))
	}
	select {
	case at := <-came:
		t.Errorf("BREACH: %s was reached", at)
	case <-time.After(300 * time.Millisecond):
	}
}

// frameTo sends a packet by the container's wire, whatever its routes are.
func frameTo(t *testing.T, in *space, packet []byte) {
	t.Helper()
	in.in(func() {
		device, err := net.InterfaceByName("eth0")
		if err != nil {
			t.Error(err)
			return
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Error(err)
			return
		}
		defer unix.Close(fd)
		to := &unix.SockaddrLinklayer{Protocol: hostOrder(unix.ETH_P_IP), Ifindex: device.Index, Halen: 6, Addr: [8]byte{255, 255, 255, 255, 255, 255}}
		_ = unix.Sendto(fd, packet, 0, to)
	})
}

// A container's port is used again while N0 has its last connection in TIME_WAIT, since
// the server was the first to end it.
func TestOutboundSamePortAgain(t *testing.T) {
	s := newOutScene(t)
	in, at := s.join(outNetwork(false))
	for _, ip := range []string{host4, host6} {
		addr := atHost(t, ip, func(c *net.TCPConn) { _, _ = io.WriteString(c, "hello") })
		own := net.TCPAddr{IP: at.IP.AsSlice(), Port: 45678}
		if strings.Contains(ip, ":") {
			own.IP = at.IP6.AsSlice()
		}
		for i := range 5 {
			var c net.Conn
			var err error
			in.in(func() { c, err = (&net.Dialer{LocalAddr: &own, Timeout: 900 * time.Millisecond}).Dial("tcp", addr) })
			if err != nil {
				t.Fatalf("connection %d: %v", i, err)
			}
			if text, err := io.ReadAll(c); string(text) != "hello" {
				t.Errorf("connection %d: %q, %v", i, text, err)
			}
			_ = c.Close()
		}
	}
}

// A reset on one side is one on the other.
func TestOutboundReset(t *testing.T) {
	s := newOutScene(t)
	in, _ := s.join(outNetwork(false))
	addr := atHost(t, host4, func(c *net.TCPConn) {
		_, _ = io.ReadFull(c, make([]byte, 4))
		_ = c.SetLinger(0)
	})
	c, err := dialFrom(in.in, "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(c, "end!")
	if _, err := io.ReadAll(c); !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("the client: %v", err)
	}
	_ = c.Close()
	ended := make(chan error, 1)
	addr = atHost(t, host4, func(c *net.TCPConn) {
		_, err := io.ReadAll(c)
		ended <- err
	})
	if c, err = dialFrom(in.in, "tcp", addr); err != nil {
		t.Fatal(err)
	}
	_ = c.(*net.TCPConn).SetLinger(0)
	_ = c.Close()
	if err := <-ended; !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("the server: %v", err)
	}
	s.idle()
}

// A thousand at once, all alive, and nothing is left of them.
func TestOutboundThousand(t *testing.T) {
	s := newOutScene(t)
	in, at := s.join(outNetwork(false))
	addr := atHost(t, host4, echoTCP)
	before := fdsOpen(t)
	var open []net.Conn
	for range 1000 {
		c, err := dialFrom(in.in, "tcp", addr)
		if err != nil {
			t.Fatal(len(open), err)
		}
		open = append(open, c)
	}
	for i, c := range open {
		_, _ = c.Write([]byte{byte(i)})
	}
	for i, c := range open {
		got := []byte{0}
		if _, err := io.ReadFull(c, got); err != nil || got[0] != byte(i) {
			t.Fatal(i, got, err)
		}
	}
	if open, _ := s.Open(); open != 1000 {
		t.Errorf("%d are open", open)
	}
	for _, c := range open[:500] {
		_ = c.Close()
	}
	// The rest ends as the connections of a container that is gone.
	eventually(t, "half of them are", func() bool { open, _ := s.Open(); return open == 500 })
	s.Cut(netip.MustParseAddr("10.88.0.99"))
	s.Cut(at.IP)
	if _, err := open[999].Read(make([]byte, 1)); err == nil {
		t.Error("it lives after the cut")
	}
	for _, c := range open[500:] {
		_ = c.Close()
	}
	s.idle()
	eventually(t, "the descriptors are closed", func() bool { return fdsOpen(t) <= before+8 })
}

// Connections that are asked for and not made are bounded for each container, those
// beyond go to slirp4netns, and others do not notice.
func TestOutboundFlood(t *testing.T) {
	s := newOutScene(t)
	n := outNetwork(false)
	hostile, at := s.join(n)
	honest, _ := s.join(n)
	addr := netip.MustParseAddrPort(atHost(t, host4, echoTCP))
	var flood []route
	for port := range 3000 {
		flood = append(flood, route{netip.AddrPortFrom(at.IP, uint16(10000+port)), addr})
	}
	for _, part := range [][]route{flood[:1000], flood[1000:2000], flood[2000:]} {
		rawSYN(t, hostile, part...)
		c, err := dialFrom(honest.in, "tcp", addr.String())
		if err != nil {
			t.Fatal("an honest one meanwhile: ", err)
		}
		_ = c.Close()
		if _, pending := s.Open(); pending > 2*maxCalls {
			t.Errorf("%d are under way", pending)
		}
	}
	_, pending := s.Open()
	t.Log(pending, "are under way")
	if pending > maxCalls+1 || pending < 100 { // one may be the honest one's
		t.Errorf("%d calls are under way, of %d", pending, maxCalls)
	}
	if pending >= maxCalls && !s.seen(2*time.Second, func(ip []byte) bool { return isSYN(ip, "10.0.2.100:") }) {
		t.Error("none went on to slirp4netns")
	}
}

// Without a descriptor for it a connection goes to slirp4netns, and so does each later
// SYN of it, as all of UDP does.
func TestOutboundPasses(t *testing.T) {
	s := newOutScene(t)
	in, at := s.join(outNetwork(false))
	taken := maxSockets
	sockets.Add(taken) // by others
	defer func() { sockets.Add(-taken) }()
	r := route{netip.AddrPortFrom(at.IP, 4001), netip.MustParseAddrPort(host4 + ":80")}
	for range 2 {
		rawSYN(t, in, r)
		if !s.seen(2*time.Second, func(ip []byte) bool { return isSYN(ip, "10.0.2.100:") }) {
			t.Error("it does not arrive at the tap")
		}
		sockets.Add(-taken) // now there would be room
		taken = 0
	}
	in.in(func() {
		c, err := net.Dial("udp", host4+":53")
		if err == nil {
			_, _ = c.Write([]byte("?"))
			_ = c.Close()
		}
	})
	if !s.seen(2*time.Second, func(ip []byte) bool { return len(ip) > 20 && ip[9] == unix.IPPROTO_UDP }) {
		t.Error("UDP does not")
	}
}

// An internal network has no relay either; without one all goes by the tap, until there
// is one again.
func TestOutboundOnlyWhereItLeads(t *testing.T) {
	s := newOutScene(t)
	addr := atHost(t, host4, echoTCP)
	closed, at := s.join(outNetwork(true))
	frameTo(t, closed, makeSYN(route{netip.AddrPortFrom(at.IP, 4002), netip.MustParseAddrPort(addr)}, 1))
	if _, err := dialFrom(closed.in, "tcp", addr); !errors.Is(err, unix.ENETUNREACH) {
		t.Errorf("from an internal network: %v", err)
	}
	if open, pending := s.Open(); open+pending > 0 {
		t.Error("BREACH: it reached the relay")
	}
	in, at := s.join(outNetwork(false))
	if err := s.world.Lead(nil); err != nil {
		t.Fatal(err)
	}
	rawSYN(t, in, route{netip.AddrPortFrom(at.IP, 4003), netip.MustParseAddrPort(addr)})
	if !s.seen(2*time.Second, func(ip []byte) bool { return isSYN(ip, "10.0.2.100:") }) {
		t.Error("without a relay it does not arrive at the tap")
	}
	if err := s.world.Lead(s.fds); err != nil {
		t.Fatal(err)
	}
	c, err := dialFrom(in.in, "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	// The rules are made anew when slirp4netns comes back with another network.
	way := s.world.WayOut([]netip.Prefix{netip.MustParsePrefix("10.0.2.0/24")}, true)
	if err := s.world.Uplink(way); err != nil {
		t.Fatal(err)
	}
	if c, err = dialFrom(in.in, "tcp", addr); err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
}

// Nobody's call is waited for longer than its caller does.
func TestCallsEnd(t *testing.T) {
	now := time.Now()
	at := func(s float64) time.Time { return now.Add(time.Duration(s * float64(time.Second))) }
	for _, k := range []struct {
		first, last, now float64
		answered, over   bool
	}{
		{0, 0, 1.1, false, false}, {0, 0, 4.5, false, true},
		{0, 15, 31.5, false, false}, {0, 15, 63, false, true}, {0, 63, 127, false, false}, {0, 63, 250, false, true},
		{0, 0, 8, true, false}, {0, 63, 74, true, true},
	} {
		c := &call{first: at(k.first), last: at(k.last), answered: k.answered}
		if c.over(at(k.now)) != k.over {
			t.Errorf("%+v", k)
		}
	}
}

// Of a flood of SYNs without end no more come to the relay than it can answer.
func TestOutboundFloodWithoutEnd(t *testing.T) {
	s := newOutScene(t)
	n := outNetwork(false)
	hostile, at := s.join(n)
	honest, _ := s.join(n)
	addr := atHost(t, host4, echoTCP)
	var over atomic.Bool
	sent := make(chan int)
	go hostile.in(func() {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
		if err != nil {
			t.Error(err)
		}
		refused := netip.MustParseAddrPort(host4 + ":9")
		count := 0
		for ; !over.Load(); count++ {
			r := route{netip.AddrPortFrom(at.IP, uint16(1000+count%60000)), refused}
			_ = unix.Sendto(fd, makeSYN(r, 1), 0, sockaddr(refused, false, 0))
		}
		_ = unix.Close(fd)
		go func() { sent <- count }()
	})
	began, made := time.Now(), 0
	for ; time.Since(began) < time.Second; made++ {
		c, err := dialFrom(honest.in, "tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
	}
	over.Store(true)
	came, took := s.came(), time.Since(began)
	t.Logf("%d connections, beside %d SYNs, of which %d came in %v", made, <-sent, came, took)
	if limit := 6000 + 11000*took.Seconds() + float64(made); float64(came) > limit {
		t.Errorf("%d SYNs came to the relay, at most %.0f should", came, limit)
	}
}

// came is how many packets were for the relay, those that were lost included.
func (s *outScene) came() (n int) {
	s.t.Helper()
	mustIn(s.t, s.world, func() error {
		table, err := os.ReadFile("/proc/thread-self/net/dev")
		for line := range strings.Lines(string(table)) {
			if f := strings.Fields(line); f[0] == "tcp-out:" { // proc_pid_net(5): the ninth after it is what was sent
				sent, _ := strconv.Atoi(f[10])
				lost, _ := strconv.Atoi(f[12])
				n = sent + lost
			}
		}
		return err
	})
	return n
}
