package bridge

import (
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/slirp"
)

// hold keeps N0 as a shim does.
func hold(t *testing.T, w *World) *os.File {
	t.Helper()
	fd, err := unix.FcntlInt(w.File().Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "N0")
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func TestAnotherKeeper(t *testing.T) {
	w := open(t, nil, Options{})
	n0 := hold(t, w)
	n, closed := testNetwork("web", "10.89.0.0/24", "fd5c:1::/64"), testNetwork("closed", "10.89.1.0/24")
	closed.Internal, closed.NoDNS, closed.MTU = true, true, 1400
	a, b := newBox(t), newBox(t)
	sa, sb := a.join(w, on(n)), b.join(w, on(n))
	e := on(closed)
	e.MAC, e.Interface = "02:00:00:00:00:07", "inner"
	sc := b.join(w, e)
	if sc.Interface != "inner" || sc.MAC != e.MAC {
		t.Errorf("%+v", sc)
	}
	b.serve(":80")
	w.Close()
	a.mustAsk("tcp", "10.89.0.3:80", "10.89.0.2:") // nobody keeps them, and they talk

	w = open(t, n0, Options{})
	a.mustAsk("tcp", "10.89.0.3:80", "10.89.0.2:")
	list := w.Members()
	if len(list) != 3 || !list[0].Found || !same(list[0].Status, sa) || !same(list[1].Status, sb) && !same(list[2].Status, sb) {
		t.Errorf("%+v", list)
	}
	// Leases are there: nobody gets what is taken, and those who have it keep it.
	c := newBox(t)
	if s := c.join(w, on(n)); s.IP.String() != "10.89.0.4" || s.IP6.String() != "fd5c:1::4" {
		t.Errorf("%+v", s)
	}
	c.mustAsk("udp", "[fd5c:1::3]:80", "[fd5c:1::4]:")
	again := b.join(w, e)
	if !same(again, sc) || len(again.DNS) != 0 {
		t.Errorf("%+v, was %+v", again, sc)
	}
	e.IP = sa.IP
	if _, err := w.Connect(c.id, c.netns, slirp.Endpoint{Network: closed, IP: sc.IP}); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("%v", err)
	}
	if got := w.networks[short(closed.ID)]; !got.Internal || !got.NoDNS || got.MTU != 1400 {
		t.Errorf("%+v", got)
	}
}

func same(a, b slirp.EndpointStatus) bool {
	return a.IP == b.IP && a.IP6 == b.IP6 && a.MAC == b.MAC && a.Interface == b.Interface && a.Network == b.Network && a.Gateway == b.Gateway
}

// A keeper that is killed while it makes something leaves nothing that stays.
func TestHalfMadeGoes(t *testing.T) {
	w := open(t, nil, Options{})
	n0 := hold(t, w)
	n := testNetwork("web", "10.89.0.0/24")
	a, b := newBox(t), newBox(t)
	a.join(w, on(n))
	err := w.Do(func() error {
		if err := w.route.run(newBridge(w.nextIndex(), "rc-000000000bad", macOf(netip.MustParseAddr("10.1.1.1")))); err != nil {
			return err
		}
		return w.route.run(newPair(pair{index: w.nextIndex(), name: "vbad", master: w.networks[short(n.ID)].index, mtu: 1500,
			inside: "eth0", mac: macOf(netip.MustParseAddr("10.89.0.9")), netns: b.netns}))
	})
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	w = open(t, n0, Options{})
	eventually(t, "it is gone", func() bool { return !slices.Contains(linksOf(t, w, "v"), "vbad") })
	if got := linksOf(t, w, "rc-"); len(got) != 1 {
		t.Error(got)
	}
	b.join(w, on(n))
	b.serve(":80")
	a.mustAsk("udp", "10.89.0.3:80", "10.89.0.2:")
}

// A namespace that somebody else holds must not keep the address of a container that
// has ended.
func TestHeldNamespace(t *testing.T) {
	w := open(t, nil, Options{})
	n := testNetwork("web", "10.89.0.0/24")
	a := newBox(t)
	a.join(w, on(n))
	w.Gone(a.id)
	w.Gone(a.id) // and nobody is hurt by a second word
	if len(w.Members()) != 0 {
		t.Error(w.Members())
	}
	eventually(t, "its interface is removed", func() bool { return len(linksOf(t, w, "v")) == 0 })
}

func TestDisconnect(t *testing.T) {
	w := open(t, nil, Options{})
	n1, n2 := testNetwork("one", "10.89.1.0/24"), testNetwork("two", "10.89.2.0/24")
	a, b := newBox(t), newBox(t)
	a.join(w, on(n1))
	a.join(w, on(n2))
	b.join(w, on(n2))
	b.serve(":80")
	if err := w.Disconnect(a.id, n1.ID); err != nil {
		t.Fatal(err)
	}
	if err := w.Disconnect(a.id, n1.ID); !errors.Is(err, unix.ENOENT) {
		t.Errorf("%v", err)
	}
	a.mustAsk("udp", "10.89.2.3:80", "10.89.2.2:")
	routes := ""
	_ = a.do(func() error {
		data, err := os.ReadFile("/proc/thread-self/net/route")
		routes = string(data)
		return err
	})
	if !strings.Contains(routes, "eth1\t00000000\t0102590A") || strings.Contains(routes, "eth0") {
		t.Errorf("the default route of the other network is not there:\n%s", routes)
	}
	if s := a.join(w, on(n1)); s.Interface != "eth1" && s.Interface != "eth0" && s.Interface != "eth2" {
		t.Errorf("%+v", s)
	}
}

// A container in a user namespace below ours, as all are.
func TestNestedNamespace(t *testing.T) {
	w := open(t, nil, Options{})
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{inside + "=payload"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{Size: 1}}, GidMappings: []syscall.SysProcIDMap{{Size: 1}}}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = in.Close(), cmd.Wait() }()
	netns, err := os.Open("/proc/" + strconv.Itoa(cmd.Process.Pid) + "/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	defer netns.Close()
	if _, err := w.Connect("nested", netns, on(testNetwork("web", "10.89.0.0/24", "fd5c:1::/64"))); err != nil {
		t.Error(err)
	}
	// No namespace at all: a refusal, and N0 is as it was.
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if _, err := w.Connect("null", null, on(testNetwork("other", "10.89.1.0/24"))); err == nil {
		t.Error("/dev/null was connected")
	}
	if len(linksOf(t, w, "v")) != 1 || len(w.Members()) != 1 {
		t.Error(linksOf(t, w, "v"), w.Members())
	}
}

func TestHundredEndpoints(t *testing.T) {
	w := open(t, nil, Options{})
	n := testNetwork("web", "10.89.0.0/24")
	var all []*box
	for range 100 {
		b := newBox(t)
		b.join(w, on(n))
		all = append(all, b)
	}
	all[99].serve(":80")
	for _, b := range all[:99] {
		b.mustAsk("udp", "10.89.0.101:80", "10.89.0.")
	}
}

// A thousand containers come and go, and nothing of them stays.
func TestNothingLeaks(t *testing.T) {
	rounds := 1000
	if testing.Short() {
		rounds = 100
	}
	w := open(t, nil, Options{})
	n := testNetwork("web", "10.89.0.0/24", "fd5c:1::/64")
	one := func() {
		b := newBox(t)
		b.join(w, on(n))
		w.Gone(b.id)
		b.end()
	}
	for range 20 {
		one()
	}
	fds, threads := count(t, "/proc/self/fd"), count(t, "/proc/self/task")
	for range rounds {
		one()
	}
	runtime.GC()
	if got := count(t, "/proc/self/fd"); got > fds+3 {
		t.Errorf("%d descriptors, were %d", got, fds)
	}
	if got := count(t, "/proc/self/task"); got > threads+5 {
		t.Errorf("%d threads, were %d", got, threads)
	}
	eventually(t, "all interfaces are gone", func() bool { return len(linksOf(t, w, "v")) == 0 })
	eventually(t, "nothing is waited for", func() (done bool) {
		_ = w.Do(func() error {
			done = len(w.leaving)+len(w.expelled)+len(w.ports) == 0 && len(w.networks[short(n.ID)].v4.taken) == 0
			return nil
		})
		return done
	})
	err := w.Do(func() error {
		for _, s := range []string{"sender4", "sender6"} {
			set, err := w.filter.conn.GetSetByName(w.filter.ports, s)
			if err != nil {
				return err
			}
			left, err := w.filter.conn.GetSetElements(set)
			if err != nil || len(left) != 0 {
				t.Errorf("%s: %d elements, %v", s, len(left), err)
			}
		}
		return nil
	})
	if err != nil && w.filter.ports != nil {
		t.Error(err)
	}
	time.Sleep(10 * time.Millisecond)
}

func count(t *testing.T, dir string) int {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}
