package keeper

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/slirp"
)

func parse(t *testing.T, values ...string) []slirp.Port {
	t.Helper()
	var ports []slirp.Port
	for _, v := range values {
		p, err := slirp.ParsePort(v)
		if err != nil {
			t.Fatal(err)
		}
		ports = append(ports, p...)
	}
	return ports
}

func TestPublishedPorts(t *testing.T) {
	h := newHost(t)
	s := h.sandbox()
	c, _ := s.mustAttach(slirp.Attach{Ports: parse(t, "18941:80", "127.0.0.1:18942:53/udp", "[::1]:18943:80", "0.0.0.0:18944:80", "18945:81")})
	s.must("serve", "tcp", ":80")
	s.must("serve", "udp", ":53")
	s.must("serve", "tcp", "127.0.0.1:81")
	for network, addr := range map[string]string{
		"tcp4": "127.0.0.1:18941", "tcp6": "[::1]:18941", "udp": "127.0.0.1:18942", "tcp": "[::1]:18943", "tcp4 ": "127.0.0.1:18944",
	} {
		if text, err := dial(strings.TrimSpace(network), addr); err != nil || !strings.HasPrefix(text, "hello ") {
			t.Errorf("%s %s: %q, %v", network, addr, text, err)
		}
	}
	if text, err := dial("tcp6", "[::1]:18944"); err == nil {
		t.Errorf("a port of 0.0.0.0 answers on IPv6: %q", text)
	}
	if text, err := dial("tcp", "127.0.0.1:18945"); err == nil {
		t.Errorf("a service on the container's loopback was published: %q", text)
	}
	c.Close()
	h.eventually("nobody listens any more", func() bool { _, err := net.Dial("tcp", "127.0.0.1:18941"); return err != nil })
}

func TestClientAddressIsKept(t *testing.T) {
	own, err := slirp.HostAddress()
	if err != nil {
		t.Skip(err)
	}
	h := newHost(t)
	s := h.sandbox()
	s.mustAttach(slirp.Attach{Ports: parse(t, "18946:80")})
	s.must("serve", "tcp", ":80")
	text, err := dial("tcp", own.String()+":18946")
	if err != nil {
		t.Fatal(err)
	}
	seen, err := netip.ParseAddrPort(strings.TrimPrefix(text, "hello "))
	if err != nil || seen.Addr().Unmap() != own {
		t.Errorf("the container sees %s as %q", own, text)
	}
}

func TestChosenPorts(t *testing.T) {
	h := newHost(t)
	s := h.sandbox()
	l, err := net.Listen("tcp4", "127.0.0.1:18950")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, got := s.mustAttach(slirp.Attach{Ports: parse(t, "80", "127.0.0.1::80/udp", "127.0.0.1:18950-18952:80", "18960-18961:90-91")})
	if len(got.Ports) != 5 || got.Ports[0].HostPort == 0 || got.Ports[1].HostPort == 0 {
		t.Fatalf("%+v", got.Ports)
	}
	if p := got.Ports[2]; p.HostPort != 18951 || p.HostPortEnd != 0 {
		t.Errorf("first free port of a range: %+v", p)
	}
	if p := got.Ports[4]; p.HostPort != 18961 || p.ContainerPort != 91 {
		t.Errorf("last of a range: %+v", p)
	}
}

func TestPortRefusals(t *testing.T) {
	h := newHost(t)
	s := h.sandbox()
	l, err := net.Listen("tcp", ":18955")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cases := map[string]struct {
		errno error
		fix   string
	}{
		"18955:80":                  {unix.EADDRINUSE, "ss -lntp 'sport = :18955'"},
		"127.0.0.1:18955-18955:80":  {unix.EADDRINUSE, "another host port"},
		"198.51.100.77:18956:80":    {unix.EADDRNOTAVAIL, "ip -brief address"},
		"18957:80 18957:81":         {unix.EADDRINUSE, "another host port"},
		"198.51.100.77::80/udp":     {unix.EADDRNOTAVAIL, ""},
		"18958:80 [2001:db8::1]::1": {unix.EADDRNOTAVAIL, ""},
		"[fe80::1]:18958:80":        {unix.EINVAL, "link-local"},
	}
	if start, ok := unprivilegedStart(); ok && start > 80 {
		cases["80:80"] = struct {
			errno error
			fix   string
		}{unix.EACCES, "net.ipv4.ip_unprivileged_port_start=80"}
	}
	for value, want := range cases {
		_, _, err := s.attach(slirp.Attach{Ports: parse(t, strings.Fields(value)...)})
		var h *hint.Error
		if !errors.As(err, &h) || !errors.Is(err, want.errno) || !strings.Contains(h.Fix, want.fix) || !strings.HasPrefix(h.Op, "publish port ") {
			t.Errorf("%s: %v", value, err)
			continue
		}
		t.Log(err)
	}
	// One that is asked for its version, when a keeper begins, is gone soon.
	h.eventually("there is no slirp4netns of a refused attach", func() bool { return len(h.children("slirp4netns")) == 0 })
	// What was listening before the refusal came does not stay.
	s.mustAttach(slirp.Attach{Ports: parse(t, "18957:80", "18958:80")})
}

// TestPortsOfARunningContainer are added and taken away, all or nothing.
func TestPortsOfARunningContainer(t *testing.T) {
	h := newHost(t)
	s := h.sandbox()
	c, got := s.mustAttach(slirp.Attach{Ports: parse(t, "127.0.0.1:18971:80", "127.0.0.1:18972:53/udp")})
	s.must("serve", "tcp", ":80")
	s.must("serve", "udp", ":53")
	change := func(add, remove string) error {
		t.Helper()
		now, err := c.Change(slirp.Change{Publish: parse(t, strings.Fields(add)...), Unpublish: parse(t, strings.Fields(remove)...)})
		if err == nil {
			got = now
		}
		return err
	}
	answers := func(network, addr string) bool {
		text, err := dial(network, addr)
		return err == nil && strings.HasPrefix(text, "hello ")
	}
	if err := change("127.0.0.1:18973:80 127.0.0.1:18974:53/udp", ""); err != nil || len(got.Ports) != 4 {
		t.Fatal(got.Ports, err)
	}
	for addr, network := range map[string]string{"127.0.0.1:18971": "tcp", "127.0.0.1:18972": "udp", "127.0.0.1:18973": "tcp", "127.0.0.1:18974": "udp"} {
		if !answers(network, addr) {
			t.Errorf("%s %s does not answer", network, addr)
		}
	}
	if err := change("127.0.0.1:18975:80 127.0.0.1:18971:81", ""); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("a port twice: %v", err)
	}
	if answers("tcp", "127.0.0.1:18975") {
		t.Error("half of a refused change was made")
	}
	if err := change("", "18973:80"); err != nil || len(got.Ports) != 3 || answers("tcp", "127.0.0.1:18973") || !answers("tcp", "127.0.0.1:18971") {
		t.Error(got.Ports, err)
	}
	if err := change("", "53/udp"); err != nil || len(got.Ports) != 1 || answers("udp", "127.0.0.1:18972") {
		t.Error(got.Ports, err)
	}
	var h2 *hint.Error
	if err := change("", "53/udp"); !errors.Is(err, unix.ENOENT) || !errors.As(err, &h2) || !strings.Contains(h2.Fix, "rc port ") {
		t.Errorf("taken away twice: %v", err)
	}
}

// TestTakenPortNamesItsContainer: also where only the addresses overlap.
func TestTakenPortNamesItsContainer(t *testing.T) {
	h := newHost(t)
	web, other := h.sandbox(), h.sandbox()
	web.mustAttach(slirp.Attach{Name: "web", Ports: parse(t, "18981:80", "127.0.0.1:18982:80")})
	for value, want := range map[string]string{
		"18981:80": "container web publishes it", "127.0.0.1:18981:80": "container web publishes it", "18982:80": "container web publishes it",
		"127.0.0.1:18981-18982:80": "container web publishes it",
	} {
		var e *hint.Error
		if _, _, err := other.attach(slirp.Attach{Ports: parse(t, value)}); !errors.As(err, &e) || !strings.Contains(e.Fix, want) {
			t.Errorf("%s: %v", value, err)
		}
	}
	other.mustAttach(slirp.Attach{Ports: parse(t, "18981:80/udp")})
}

// TestPortsComeBack: a new keeper is asked for the same ports, and has them at once.
func TestPortsComeBack(t *testing.T) {
	h := newHost(t)
	s := h.sandbox()
	_, before := s.mustAttach(slirp.Attach{Ports: parse(t, "80", "53/udp")})
	s.must("serve", "tcp", ":80")
	addr := fmt.Sprintf("127.0.0.1:%d", before.Ports[0].HostPort)
	if text, err := dial("tcp", addr); err != nil {
		t.Fatal(text, err)
	}
	_ = unix.Kill(h.keeperPID(), unix.SIGKILL)
	h.eventually("the keeper is gone", func() bool { return h.keeperPID() == 0 })
	u0, err := parentOf(s.userns)
	if err != nil {
		t.Fatal(err)
	}
	defer u0.Close()
	next, err := slirp.StartKeeper(h.runtime, h.birth(u0, nil))
	if err != nil {
		t.Fatal(err)
	}
	next.Close()
	_, after := s.mustAttach(slirp.Attach{Ports: before.Ports})
	if !slices.Equal(before.Ports, after.Ports) {
		t.Errorf("%v, then %v", before.Ports, after.Ports)
	}
	if text, err := dial("tcp", addr); err != nil {
		t.Error(text, err)
	}
}
