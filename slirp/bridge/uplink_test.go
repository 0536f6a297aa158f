package bridge

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/slirp"
	"github.com/rc-containers/rc/tests/accept"
)

// startSlirp starts a slirp4netns for N0 as the keeper does, from within U0. What it
// returns kills it.
func startSlirp(t *testing.T, w *World, way Way) (stop func()) {
	t.Helper()
	if err := slirp.CheckHost(); err != nil {
		t.Skip(err)
	}
	program, err := slirp.LookPath(slirp.Program, "")
	if err != nil {
		t.Skip(err)
	}
	ready, tell, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer ready.Close()
	var said bytes.Buffer
	cmd := exec.Command(program, Slirp4netns(3, 4, way)...)
	cmd.Stderr, cmd.Stdout = &said, &said
	cmd.ExtraFiles = []*os.File{w.File(), tell}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = tell.Close()
	stop = func() { _, _ = cmd.Process.Kill(), cmd.Wait() }
	t.Cleanup(stop)
	if text, _ := io.ReadAll(io.LimitReader(ready, 1)); string(text) != "1" {
		stop()
		t.Fatal("slirp4netns is not ready: ", said.String())
	}
	return stop
}

// A slirp4netns dies, another comes: what a container asked for meanwhile is not
// refused but comes about, and containers kept talking to each other.
func TestAnotherSlirp(t *testing.T) {
	at := accept.AtHost(t, accept.Saying("from the host"))
	w := open(t, nil, Options{})
	n := testNetwork("web", "10.89.0.0/24", "fd5c:1::/64")
	a, b := newBox(t), newBox(t)
	a.join(w, on(n))
	b.join(w, on(n))
	b.serve(":80")
	for range 3 {
		stop := startSlirp(t, w, DefaultWay)
		if err := w.Uplink(DefaultWay); err != nil {
			t.Fatal(err)
		}
		a.mustAsk("tcp", at, "from the host")
		stop()
		eventually(t, "the tap is gone", func() bool { return len(linksOf(t, w, "tap")) == 0 })
		a.mustAsk("tcp", "10.89.0.3:80", "10.89.0.2:")
		answer := make(chan error, 1)
		go func() {
			answer <- b.do(func() error {
				c, err := net.DialTimeout("tcp", at, 5*time.Second)
				if err == nil {
					_ = c.Close()
				}
				return err
			})
		}()
		time.Sleep(20 * time.Millisecond)
		again := startSlirp(t, w, DefaultWay)
		if err := w.Uplink(DefaultWay); err != nil {
			t.Fatal(err)
		}
		if err := <-answer; err != nil {
			t.Error("asked while there was no way out: ", err)
		}
		again()
		eventually(t, "the tap is gone", func() bool { return len(linksOf(t, w, "tap")) == 0 })
	}
}

func TestWayOut(t *testing.T) {
	at := accept.AtHost(t, accept.Saying("from the host"))
	w := open(t, nil, Options{})
	way := w.WayOut([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/16"), netip.MustParsePrefix("0.0.0.0/0")}, true)
	if way.Prefix.String() != "10.211.2.0/24" {
		t.Errorf("%+v", way)
	}
	if err := w.Uplink(way); !errors.Is(err, unix.ENODEV) {
		t.Errorf("no tap yet: %v", err)
	}
	startSlirp(t, w, way)
	for range 2 { // again, as after a restart
		if err := w.Uplink(way); err != nil {
			t.Fatal(err)
		}
	}
	n, internal := testNetwork("web", "10.89.0.0/24", "fd5c:1::/64"), testNetwork("closed", "10.89.1.0/24")
	internal.Internal = true
	a, b := newBox(t), newBox(t)
	a.join(w, on(n))
	b.join(w, on(internal))
	a.mustAsk("tcp", at, "from the host")
	b.mustNotAsk("tcp", at)
	// slirp4netns itself, and by it the host's loopback.
	port := netip.MustParseAddrPort(at).Port()
	for _, ip := range []string{"10.211.2.2", "10.211.2.3", "10.211.2.100", "fd00::2", "fd00::3"} {
		a.mustNotAsk("tcp", netip.AddrPortFrom(netip.MustParseAddr(ip), port).String())
	}
	// A network without a way out gets none by a route of its own.
	err := b.do(func() error {
		r, err := dialRoute()
		if err != nil {
			return err
		}
		defer r.close()
		list, err := r.get(request{what: "list links", kind: unix.RTM_GETLINK, flag: 0x300, body: ifinfomsg(0, false)})
		if err != nil {
			return err
		}
		for _, m := range list {
			if l, ok := parseLink(m); ok && l.name == "eth0" {
				return r.run(newDefault(l.index, netip.MustParseAddr("10.89.1.1"), 5))
			}
		}
		return unix.ENODEV
	})
	if err != nil {
		t.Fatal(err)
	}
	b.mustNotAsk("tcp", at)
}

// A refusal is said, so that nobody waits for a time-out.
func TestRefusalsAreQuick(t *testing.T) {
	w := open(t, nil, Options{})
	n, other := testNetwork("web", "10.89.0.0/24", "fd5c:1::/64"), testNetwork("other", "10.89.1.0/24", "fd5c:2::/64")
	a, b := newBox(t), newBox(t)
	a.join(w, on(n))
	b.join(w, on(other))
	for at, want := range map[string]error{"10.89.0.1:22": unix.ECONNREFUSED, "10.89.1.2:80": unix.EHOSTUNREACH, "10.89.1.1:53": nil,
		"[fd5c:1::1]:22": unix.ECONNREFUSED, "[fd5c:2::2]:80": unix.ECONNREFUSED, "[fd5c:2::1]:53": unix.ECONNREFUSED} {
		for range 20 { // and is not rationed
			begin := time.Now()
			if _, err := a.ask("tcp", at); err == nil || want != nil && !errors.Is(err, want) || time.Since(begin) > 500*time.Millisecond {
				t.Fatalf("%s: %v after %v", at, err, time.Since(begin))
			}
		}
	}
}

func TestSlirpArguments(t *testing.T) {
	got := strings.Join(Slirp4netns(3, 4, DefaultWay), " ")
	want := "-c -r 4 --mtu 65520 --cidr 10.0.2.0/24 --disable-host-loopback --enable-sandbox --enable-seccomp --netns-type=path /proc/self/fd/3 tap0"
	if got != want {
		t.Errorf("%q", got)
	}
}

func TestListenDNS(t *testing.T) {
	dropped := make(chan string, 1)
	w := open(t, nil, Options{Dropped: func(id string) { dropped <- id }, Linger: 50 * time.Millisecond})
	n, other := testNetwork("web", "10.89.0.0/24", "fd5c:1::/64"), testNetwork("other", "10.89.1.0/24")
	if _, _, err := w.ListenDNS(n.ID); !errors.Is(err, unix.ENOENT) {
		t.Errorf("%v", err)
	}
	a, b := newBox(t), newBox(t)
	a.join(w, on(n))
	other.NoDNS = true
	if s := b.join(w, on(other)); len(s.DNS) != 0 {
		t.Errorf("%+v", s)
	}
	if udp, tcp, err := w.ListenDNS(other.ID); len(udp)+len(tcp) != 0 || err != nil {
		t.Errorf("%v %v %v", udp, tcp, err)
	}
	udp, tcp, err := w.ListenDNS(n.ID)
	if err != nil || len(udp) != 2*lanes || len(tcp) != 2 {
		t.Fatal(udp, tcp, err)
	}
	for _, p := range udp {
		go answer(p)
	}
	for _, l := range tcp {
		accept.Each(l, accept.Caller)
	}
	for _, network := range []string{"udp", "tcp"} {
		a.mustAsk(network, "10.89.0.1:53", "10.89.0.2:")
		a.mustAsk(network, "[fd5c:1::1]:53", "[fd5c:1::2]:")
		b.mustNotAsk(network, "10.89.0.1:53")
	}
	w.Gone(a.id)
	a.end()
	select {
	case id := <-dropped:
		if id != n.ID {
			t.Error(id)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("the bridge of nobody stays")
	}
	for _, u := range udp {
		_ = u.Close()
	}
	for _, l := range tcp {
		_ = l.Close()
	}
	eventually(t, "its link is gone", func() bool { return len(linksOf(t, w, "rc-")) == 1 })
	c := newBox(t) // and it comes again
	c.join(w, on(n))
}
