package bridge

import (
	"fmt"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/slirp"
)

// More networks than one answer of nf_tables has room for, and one container on as many
// as it may be: found again, apart, and gone.
func TestManyNetworks(t *testing.T) {
	w := open(t, nil, Options{Linger: 100 * time.Millisecond})
	n0 := hold(t, w)
	const count = 40
	a := newBox(t)
	var all []*box
	for i := range count {
		n := testNetwork(fmt.Sprint("net", i), fmt.Sprintf("10.89.%d.0/24", i), fmt.Sprintf("fd5c:%x::/64", i+1))
		if i < slirp.MaxEndpoints {
			if s := a.join(w, on(n)); s.Interface != fmt.Sprint("eth", i) {
				t.Errorf("%+v", s)
			}
		}
		b := newBox(t)
		b.join(w, on(n))
		b.serve(":80")
		all = append(all, b)
	}
	check := func() {
		t.Helper()
		for i := range slirp.MaxEndpoints {
			a.mustAsk("tcp", fmt.Sprintf("10.89.%d.3:80", i), fmt.Sprintf("10.89.%d.2:", i))
		}
		all[0].mustNotAsk("tcp", "10.89.39.2:80")
		all[39].mustNotAsk("udp", "10.89.0.3:80")
	}
	check()
	if err := w.Do(func() error {
		return w.filter.rebuild(w.networks, w.ports, Way{Device: "tap0", Prefix: netip.MustParsePrefix("10.211.2.0/24")})
	}); err != nil {
		t.Fatal(err)
	}
	check()
	w.Close()
	w = open(t, n0, Options{Linger: 100 * time.Millisecond})
	check()
	if got := len(w.Members()); got != count+slirp.MaxEndpoints {
		t.Errorf("%d members", got)
	}
	// They end without a word, since their sessions were with the keeper before.
	a.end()
	for _, b := range all {
		b.end()
	}
	eventually(t, "members without interfaces are forgotten", func() bool { return len(w.Members()) == 0 })
	eventually(t, "bridges of nobody are gone", func() bool { return len(linksOf(t, w, "rc-")) == 0 })
}

// Calls from everywhere at once: each is whole.
func TestAtOnce(t *testing.T) {
	w := open(t, nil, Options{})
	n := testNetwork("web", "10.89.0.0/24")
	var list []*box
	for range 24 {
		list = append(list, newBox(t))
	}
	var mu sync.Mutex
	seen := map[netip.Addr]bool{}
	var wg sync.WaitGroup
	for i, b := range list {
		wg.Go(func() {
			s, err := w.Connect(b.id, b.netns, on(n))
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			if seen[s.IP] {
				t.Errorf("%s twice", s.IP)
			}
			seen[s.IP] = true
			mu.Unlock()
			if i%3 == 0 {
				w.Gone(b.id)
			}
			w.Members()
		})
	}
	wg.Wait()
	if got := len(w.Members()); got != 16 {
		t.Errorf("%d members", got)
	}
}

// in runs f with a socket of rtnetlink inside b: what root in a container can do.
func (b *box) netlink(f func(r *rtnl) error) {
	b.t.Helper()
	err := b.do(func() error {
		r, err := dialRoute()
		if err != nil {
			return err
		}
		defer r.close()
		return f(r)
	})
	if err != nil {
		b.t.Fatal(err)
	}
}

// A container that fights for the names of interfaces, or removes ours, harms itself.
func TestHostileInside(t *testing.T) {
	w := open(t, nil, Options{})
	one, two := testNetwork("one", "10.89.1.0/24"), testNetwork("two", "10.89.2.0/24")
	a, b := newBox(t), newBox(t)
	b.join(w, on(one))
	b.join(w, on(two))
	b.serve(":80")
	a.netlink(func(r *rtnl) error {
		for i := range 3 {
			if err := r.run(newBridge(101+i, fmt.Sprint("eth", i), macOf(netip.MustParseAddr("10.0.0.1")))); err != nil {
				return err
			}
		}
		return nil
	})
	if s := a.join(w, on(one)); s.Interface != "eth3" {
		t.Errorf("%+v", s)
	}
	a.mustAsk("tcp", "10.89.1.2:80", "10.89.1.3:")
	a.netlink(func(r *rtnl) error { return r.run(deleteLink("eth3")) })
	if s := a.join(w, on(two)); s.IP.String() != "10.89.2.3" {
		t.Errorf("%+v", s)
	}
	if err := w.Disconnect(a.id, one.ID); err != nil {
		t.Errorf("it removed the interface itself: %v", err)
	}
	a.mustAsk("tcp", "10.89.2.2:80", "10.89.2.3:")
	// All names taken: a refusal, after some tries.
	c := newBox(t)
	c.netlink(func(r *rtnl) error {
		for i := range 20 {
			if err := r.run(newBridge(5000+i, fmt.Sprint("eth", i), macOf(netip.MustParseAddr("10.0.0.1")))); err != nil {
				return err
			}
		}
		return nil
	})
	if s, err := w.Connect(c.id, c.netns, on(one)); err == nil {
		t.Errorf("%+v", s)
	}
	w.Gone(c.id)
	if got := len(w.Members()); got != 3 {
		t.Error(w.Members())
	}
}

// Nothing of what a link says is believed that could not be ours.
func TestStrangeAliases(t *testing.T) {
	w := open(t, nil, Options{})
	n0 := hold(t, w)
	n := testNetwork("web", "10.89.0.0/24")
	a := newBox(t)
	s := a.join(w, on(n))
	var master int
	_ = w.Do(func() error { master = w.networks[short(n.ID)].index; return nil })
	id, mac, net := fmt.Sprintf("%064x", 999), "02:42:0a:59:00:09", short(n.ID)
	strange := []string{
		"", "hello", "rc1", "rc1 " + id,
		"rc2 " + id + " " + net + " 5 eth0 " + mac + " 10.89.0.9 -",
		"rc1 " + id + " 0123456789ab 5 eth0 " + mac + " 10.89.0.9 -",
		"rc1 " + id + " " + net + " x eth0 " + mac + " 10.89.0.9 -",
		"rc1 " + id + " " + net + " 5 eth0 nomac 10.89.0.9 -",
		"rc1 " + id + " " + net + " 5 eth0 " + mac + " - -",
		"rc1 " + id + " " + net + " 5 eth0 " + mac + " 10.89.0.1 -",
		"rc1 " + id + " " + net + " 5 eth0 " + mac + " 10.99.0.9 -",
		"rc1 " + id + " " + net + " 5 eth0 " + mac + " 10.89.0.9 fd5c::1",
		"rc1 " + id + " " + net + " 5 eth0 " + mac + " " + s.IP.String() + " -",
		"rc1 " + a.id + " " + net + " 5 eth0 " + mac + " 10.89.0.9 -",
	}
	boxes := newBox(t)
	for i, alias := range strange {
		err := w.Do(func() error {
			index := w.nextIndex()
			err := w.route.run(newPair(pair{index: index, name: fmt.Sprint("vx", i), master: master, mtu: 1500,
				inside: fmt.Sprint("x", i), mac: macOf(netip.AddrFrom4([4]byte{10, 1, 1, byte(i)})), netns: boxes.netns}))
			if err != nil || alias == "" {
				return err
			}
			return w.route.run(setAlias(index, alias, 0, false))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	w.Close()
	w = open(t, n0, Options{})
	if list := w.Members(); len(list) != 1 || list[0].ID != a.id || list[0].Status.IP != s.IP {
		t.Errorf("%+v", list)
	}
	eventually(t, "they are removed", func() bool { return len(linksOf(t, w, "vx")) == 0 })
}

// Open in something that is no network namespace is a refusal.
func TestOpenElsewhere(t *testing.T) {
	if os.Getenv(inside) == "" {
		t.Skip("no user namespaces on this host")
	}
	for _, path := range []string{os.DevNull, "/proc/self/ns/uts"} {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if w, err := Open(f, Options{}); err == nil {
			t.Errorf("%s: %v", path, w)
		}
		_ = f.Close()
	}
	// The host's own, which is not ours to enter.
	f, err := os.Open("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := Open(f, Options{}); err == nil {
		t.Error("the host's own network namespace was taken")
	} else if got := fmt.Sprint(err); got == unix.EPERM.Error() {
		t.Error("a bare errno: ", got)
	}
}
