package bridge

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rc-containers/rc/slirp"
)

// few makes bridges of two containers, for a test that has not hundreds.
func few(t *testing.T) {
	t.Helper()
	was := branchPorts
	branchPorts = 2
	t.Cleanup(func() { branchPorts = was })
}

// crowd joins boxes to a network, each with a server.
func crowd(t *testing.T, w *World, n slirp.Network, count int) (list []*box, at []slirp.EndpointStatus) {
	t.Helper()
	for range count {
		b := newBox(t)
		at = append(at, b.join(w, on(n)))
		b.serve(":80")
		list = append(list, b)
	}
	return list, at
}

// mesh is that each reaches each, from its own address.
func mesh(list []*box, at []slirp.EndpointStatus) {
	for i, a := range list {
		for j := range list {
			if i != j {
				a.mustAsk("tcp", at[j].IP.String()+":80", at[i].IP.String()+":")
				a.mustAsk("tcp6", "["+at[j].IP6.String()+"]:80", "["+at[i].IP6.String()+"]:")
			}
		}
	}
}

func TestBranchesAreOneNetwork(t *testing.T) {
	few(t)
	w := open(t, nil, Options{Linger: 100 * time.Millisecond})
	n0 := hold(t, w)
	n := testNetwork("crowd", "10.89.0.0/24", "fd5c:7::/64")
	other := testNetwork("other", "10.89.1.0/24")
	list, at := crowd(t, w, n, 5)
	if got := linksOf(t, w, branchPrefix); len(got) != 2 {
		t.Fatalf("%q of 5 containers, two a bridge", got)
	}
	if got := linksOf(t, w, trunkPrefix); len(got) != 4 {
		t.Errorf("trunks %q", got)
	}
	mesh(list, at)
	stranger := newBox(t)
	stranger.join(w, on(other))
	stranger.mustNotAsk("tcp", at[4].IP.String()+":80")
	list[4].mustNotAsk("tcp", "10.89.1.2:80")

	// The resolver hears those on branches, by the address that they have.
	udp, tcp, err := w.ListenDNS(n.ID)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range udp {
		go answer(c)
	}
	for _, l := range tcp {
		t.Cleanup(func() { _ = l.Close() })
	}
	list[4].mustAsk("udp", "10.89.0.1:53", at[4].IP.String()+":")

	// The next keeper finds all of it.
	w.Close()
	w = open(t, n0, Options{Linger: 100 * time.Millisecond})
	mesh(list, at)
	b := newBox(t)
	list, at = append(list, b), append(at, b.join(w, on(n)))
	b.serve(":80")
	if got := linksOf(t, w, branchPrefix); len(got) != 2 {
		t.Errorf("%q, and there was room on the last", got)
	}
	mesh(list[4:], at[4:])

	for _, b := range append(list, stranger) {
		w.Gone(b.id)
		b.end()
	}
	for _, prefix := range []string{branchPrefix, trunkPrefix, "rc-", "v"} {
		eventually(t, prefix+" is gone", func() bool { return len(linksOf(t, w, prefix)) == 0 })
	}
}

// Who comes with the address of one who has left is found at once, though on another
// bridge: his neighbours have not asked anew.
func TestAddressMovesBetweenBranches(t *testing.T) {
	few(t)
	w := open(t, nil, Options{})
	n := testNetwork("moves", "10.89.0.0/24", "fd5c:7::/64")
	list, at := crowd(t, w, n, 4)
	mesh(list, at)
	w.Gone(list[3].id)
	w.Gone(list[0].id)
	list[3].end()
	list[0].end()
	eventually(t, "their interfaces are gone", func() bool { return len(linksOf(t, w, "v")) == 2 })
	again := newBox(t)
	e := on(n)
	e.IP, e.IP6 = at[3].IP, at[3].IP6
	if got := again.join(w, e); got.MAC != at[3].MAC {
		t.Fatalf("%+v, before %+v", got, at[3])
	}
	if p := w.ports[again.id][0]; p.on != nil {
		t.Errorf("it is on %s, and the first bridge had room", p.on.name())
	}
	again.serve(":80")
	for i, b := range []*box{list[1], list[2]} {
		begin := time.Now()
		b.mustAsk("tcp", at[3].IP.String()+":80", at[i+1].IP.String()+":")
		if took := time.Since(begin); took > 500*time.Millisecond {
			t.Errorf("after %v", took)
		}
	}
}

// A container on a branch cannot be another, nor speak to N0 by the branch's own bridge.
func TestBranchesAreFiltered(t *testing.T) {
	few(t)
	w := open(t, nil, Options{})
	if w.PortFilter() != nil {
		t.Skip("this kernel's nf_tables knows no bridges: ", w.PortFilter())
	}
	n := testNetwork("honest", "10.89.0.0/24", "fd5c:7::/64")
	list, at := crowd(t, w, n, 5)
	liar := list[4]
	mac, victim := w.ports[liar.id][0].mac, w.ports[list[0].id][0]
	for what, f := range map[string][]byte{
		"ARP for another's address":   arp(mac, mac, at[0].IP),
		"ARP with another's MAC":      arp(victim.mac, victim.mac, at[0].IP),
		"IPv4 from another's address": ipv4(mac, list[2].macOf(w), at[0].IP, at[2].IP),
	} {
		count := list[2].listen(uint16(f[12])<<8|uint16(f[13]), f)
		liar.raw(f)
		if got := count(); got != 0 {
			t.Errorf("%s went through", what)
		}
	}
	// An honest frame arrives: the trunk carries it.
	honest := arp(mac, mac, at[4].IP)
	count := list[0].listen(0x0806, honest)
	liar.raw(honest)
	if count() != 1 {
		t.Error("an honest ARP did not pass the trunk")
	}
}

func (b *box) macOf(w *World) []byte { return w.ports[b.id][0].mac }

// What a killed keeper has left half made is removed by the next one.
func TestTornBranch(t *testing.T) {
	few(t)
	w := open(t, nil, Options{})
	n0 := hold(t, w)
	n := testNetwork("torn", "10.89.0.0/24")
	list, at := crowd(t, w, n, 3)
	has := w.networks[short(n.ID)]
	err := w.Do(func() error {
		lone := &branch{index: w.nextIndex(), trunk: [2]int{w.nextIndex(), w.nextIndex()}}
		half := &branch{index: w.nextIndex(), trunk: [2]int{w.nextIndex(), w.nextIndex()}}
		return w.route.run(newBridge(lone.index, lone.name(), lone.mac()), setAlias(lone.index, lone.alias(has), has.MTU, true),
			newBridge(half.index, half.name(), half.mac()), newTrunk(half, has))
	})
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	w = open(t, n0, Options{})
	if got := linksOf(t, w, branchPrefix); len(got) != 1 {
		t.Errorf("%q", got)
	}
	if got := linksOf(t, w, trunkPrefix); len(got) != 2 {
		t.Errorf("%q", got)
	}
	list[0].mustAsk("tcp", at[2].IP.String()+":80", at[0].IP.String()+":")
}

func TestNamesOfBranches(t *testing.T) {
	b := &branch{index: 1<<31 - 1, trunk: [2]int{1<<31 - 2, 1<<31 - 1}}
	for _, name := range []string{b.name(), b.trunkName(0), b.trunkName(1)} {
		if len(name) > 15 || strings.HasPrefix(name, "rc-") || strings.HasPrefix(name, "v") {
			t.Errorf("%q", name)
		}
	}
	if got := fmt.Sprint(b.mac()); got != "02:44:7f:ff:ff:ff" {
		t.Error(got)
	}
}
