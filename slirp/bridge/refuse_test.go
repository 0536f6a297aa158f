package bridge

import (
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/slirp"
)

// A kernel without nf_tables: a typed refusal with a way out, and nothing left behind.
func TestNoFilter(t *testing.T) {
	if os.Getenv(inside) == "" {
		t.Skip("no user namespaces on this host")
	}
	defer func(was func(...nftables.ConnOption) (*nftables.Conn, error)) { dialFilter = was }(dialFilter)
	dialFilter = func(...nftables.ConnOption) (*nftables.Conn, error) { return nil, unix.EPROTONOSUPPORT }
	fds, threads := count(t, "/proc/self/fd"), count(t, "/proc/self/task")
	for range 20 {
		w, err := Open(nil, Options{})
		var h *hint.Error
		if w != nil || !errors.Is(err, ErrNoFilter) || !errors.Is(err, unix.EPROTONOSUPPORT) || !errors.As(err, &h) || !strings.Contains(h.Fix, "--network=slirp4netns") {
			t.Fatal(w, err)
		}
	}
	if got := count(t, "/proc/self/fd"); got > fds+2 {
		t.Errorf("%d descriptors, were %d", got, fds)
	}
	if got := count(t, "/proc/self/task"); got > threads+5 {
		t.Errorf("%d threads, were %d", got, threads)
	}
}

// A kernel whose nf_tables knows no bridges: networks are apart all the same.
func TestNoPortFilter(t *testing.T) {
	defer func(was nftables.TableFamily) { familyOfPorts = was }(familyOfPorts)
	familyOfPorts = 99
	w := open(t, nil, Options{})
	if w.PortFilter() == nil {
		t.Fatal("family 99 is there")
	}
	n, other := testNetwork("web", "10.89.0.0/24"), testNetwork("other", "10.89.1.0/24")
	a, b, c := newBox(t), newBox(t), newBox(t)
	a.join(w, on(n))
	b.join(w, on(n))
	c.join(w, on(other))
	b.serve(":80")
	c.serve(":80")
	a.mustAsk("tcp", "10.89.0.3:80", "10.89.0.2:")
	a.mustNotAsk("tcp", "10.89.1.2:80")
	w.Gone(a.id)
}

func TestRefusedNetworks(t *testing.T) {
	w := open(t, nil, Options{})
	a := newBox(t)
	a.join(w, on(testNetwork("first", "10.89.0.0/24")))
	subnet := func(prefix, gateway string) slirp.Subnet {
		return slirp.Subnet{Prefix: netip.MustParsePrefix(prefix), Gateway: netip.MustParseAddr(gateway)}
	}
	for name, c := range map[string]struct {
		change func(*slirp.Network)
		want   error
	}{
		"a short ID":        {func(n *slirp.Network) { n.ID = "abc" }, unix.EINVAL},
		"a name of two":     {func(n *slirp.Network) { n.Name = "a b" }, unix.EINVAL},
		"no subnet":         {func(n *slirp.Network) { n.Subnets = nil }, unix.EINVAL},
		"two of a family":   {func(n *slirp.Network) { n.Subnets = append(n.Subnets, subnet("10.91.0.0/24", "10.91.0.1")) }, unix.EINVAL},
		"bits of a host":    {func(n *slirp.Network) { n.Subnets[0] = subnet("10.90.0.7/24", "10.90.0.1") }, unix.EINVAL},
		"gateway elsewhere": {func(n *slirp.Network) { n.Subnets[0] = subnet("10.90.0.0/24", "10.91.0.1") }, unix.ERANGE},
		"gateway for all":   {func(n *slirp.Network) { n.Subnets[0] = subnet("10.90.0.0/24", "10.90.0.255") }, unix.ERANGE},
		"loopback":          {func(n *slirp.Network) { n.Subnets[0] = subnet("127.0.5.0/24", "127.0.5.1") }, unix.EADDRNOTAVAIL},
		"too small":         {func(n *slirp.Network) { n.Subnets[0] = subnet("10.90.0.0/31", "10.90.0.1") }, unix.ENOSPC},
		"another's":         {func(n *slirp.Network) { n.Subnets[0] = subnet("10.89.0.0/16", "10.89.0.1") }, unix.EADDRINUSE},
		"slirp4netns's":     {func(n *slirp.Network) { n.Subnets[0] = subnet("10.0.0.0/8", "10.89.0.1") }, unix.EADDRINUSE},
		"slirp4netns's own": {func(n *slirp.Network) { n.Subnets[0] = subnet("10.0.2.0/24", "10.0.2.1") }, unix.EADDRINUSE},
		"a huge MTU":        {func(n *slirp.Network) { n.MTU = 70000 }, unix.ERANGE},
		"range elsewhere":   {func(n *slirp.Network) { n.Subnets[0].Range = netip.MustParsePrefix("10.91.0.0/28") }, unix.ERANGE},
	} {
		n := testNetwork("bad", "10.90.0.0/24")
		c.change(&n)
		if _, err := w.Connect(a.id, a.netns, on(n)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := linksOf(t, w, ""); len(got) != 3 {
		t.Error(got)
	}
}

func TestRefusedEndpoints(t *testing.T) {
	w := open(t, nil, Options{})
	a, b := newBox(t), newBox(t)
	n := testNetwork("web", "10.89.0.0/24")
	sa := a.join(w, on(n))
	for name, c := range map[string]struct {
		e    slirp.Endpoint
		want error
	}{
		"IPv6 where there is none": {slirp.Endpoint{IP6: netip.MustParseAddr("fd5c::5")}, unix.EAFNOSUPPORT},
		"no MAC":                   {slirp.Endpoint{MAC: "hello"}, unix.EINVAL},
		"a MAC for many":           {slirp.Endpoint{MAC: "01:00:5e:00:00:01"}, unix.EADDRNOTAVAIL},
		"the gateway's MAC":        {slirp.Endpoint{MAC: "02:42:0a:59:00:01"}, unix.EADDRINUSE},
		"another's MAC":            {slirp.Endpoint{MAC: sa.MAC}, unix.EADDRINUSE},
		"a taken interface":        {slirp.Endpoint{Interface: "lo"}, unix.EEXIST},
		"a long interface":         {slirp.Endpoint{Interface: "abcdefghijklmnop"}, unix.ERANGE},
	} {
		c.e.Network = n
		if _, err := w.Connect(b.id, b.netns, c.e); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := w.Connect("a b", b.netns, on(n)); !errors.Is(err, unix.EINVAL) {
		t.Errorf("%v", err)
	}
	if _, err := w.Connect(b.id, w.File(), on(n)); !errors.Is(err, unix.EINVAL) {
		t.Errorf("%v", err)
	}
	// All or nothing: no interface, no lease.
	if got := linksOf(t, w, "v"); len(got) != 1 {
		t.Error(got)
	}
	if got := len(w.networks[short(n.ID)].v4.taken); got != 1 {
		t.Errorf("%d leases", got)
	}
	if s := b.join(w, on(n)); s.Interface != "eth0" {
		t.Errorf("%+v", s)
	}
}

func TestClosed(t *testing.T) {
	w := open(t, nil, Options{})
	a := newBox(t)
	a.join(w, on(testNetwork("web", "10.89.0.0/24")))
	w.Close()
	w.Close()
	w.Gone(a.id)
	if _, err := w.Connect(a.id, a.netns, on(testNetwork("web", "10.89.0.0/24"))); !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
	if w.Members() != nil {
		t.Error("members")
	}
}
