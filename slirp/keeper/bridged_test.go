package keeper

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/slirp"
	"github.com/rc-containers/rc/slirp/bridge"
)

// withoutFilter makes the keeper of a runtime folder with a file "nofilter" one on a
// host without nf_tables, and "readonly" one inside a container. Its PATH is all that it
// knows of the folder before it starts.
func withoutFilter(n0 *os.File, o bridge.Options) (*bridge.World, error) {
	for name, lack := range map[string]error{"nofilter": bridge.ErrNoFilter, "readonly": bridge.ErrReadOnly} {
		if _, err := os.Lstat(filepath.Join(filepath.Dir(os.Getenv("PATH")), name)); err == nil {
			return nil, hint.New("make the network namespace", lack, "")
		}
	}
	return bridge.Open(n0, o)
}

// testNetwork is number n of the test's networks.
func testNetwork(n int) slirp.Network {
	addr := netip.AddrFrom4([4]byte{10, 91, byte(n), 0})
	return slirp.Network{
		Name: fmt.Sprintf("net%d", n), ID: fmt.Sprintf("%012x%052d", n+1, 0),
		Subnets: []slirp.Subnet{{Prefix: netip.PrefixFrom(addr, 24), Gateway: addr.Next()}},
	}
}

func on(name string, networks ...int) slirp.Attach {
	a := slirp.Attach{Name: name, Driver: slirp.DriverBridge}
	for _, n := range networks {
		a.Endpoints = append(a.Endpoints, slirp.Endpoint{Network: testNetwork(n)})
	}
	return a
}

const gateway0 = "10.91.0.1"

func TestContainersOnABridgeFindEachOther(t *testing.T) {
	h := newHost(t)
	web, asker := h.sandbox(), h.sandbox()
	began := time.Now()
	_, got := web.mustAttach(on("web", 0))
	t.Log("first attach", time.Since(began))
	if got.IP != "10.91.0.2" || got.Prefix != 24 || got.Gateway != gateway0 || len(got.DNS) != 1 || got.DNS[0] != gateway0 || got.MTU != slirp.MTU || len(got.Endpoints) != 1 {
		t.Errorf("attached: %+v", got)
	}
	began = time.Now()
	asker.mustAttach(on("asker", 0))
	t.Log("second attach", time.Since(began))
	web.must("serve", "tcp", ":80")
	if text := asker.must("dial", "tcp", got.IP+":80"); !strings.HasPrefix(text, "hello 10.91.0.3:") {
		t.Errorf("got %q", text)
	}
	if text := asker.must("lookup", gateway0, "web"); text != got.IP {
		t.Errorf("web is %q", text)
	}
	if n := h.children("slirp4netns"); len(n) != 1 {
		t.Errorf("slirp4netns processes: %v", n)
	}
	if addr, err := slirp.HostAddress(); err == nil {
		must(t, serve("tcp4", addr.String()+":19431"))
		if text := asker.must("dial", "tcp", addr.String()+":19431"); !strings.HasPrefix(text, "hello ") {
			t.Errorf("out: %q", text)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// killed kills the keeper and waits until it is gone; the next one gets what a shim
// would lend.
func (h *host) killed(s *sandbox) *slirp.Birth {
	h.t.Helper()
	pid := h.keeperPID()
	mustDo(h.t, unix.Kill(pid, unix.SIGKILL))
	h.eventually("the keeper is gone", func() bool { return !alive(pid) })
	u0, err := parentOf(s.userns)
	mustDo(h.t, err)
	h.t.Cleanup(func() { _ = u0.Close() })
	return h.birth(u0, s.n0)
}

func mustDo(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A connection between containers lives through the keeper's death; their shims attach
// them again, and names, ports and the way out are back.
func TestKeeperKilledUnderBridges(t *testing.T) {
	h := newHost(t)
	web, asker := h.sandbox(), h.sandbox()
	a := on("web", 0)
	a.Ports = []slirp.Port{{HostIP: "127.0.0.1", HostPort: 19432, ContainerPort: 80, Proto: "tcp"}}
	first, before := web.mustAttach(a)
	second, _ := asker.mustAttach(on("asker", 0))
	web.must("serve", "tcp", ":80")
	web.must("echo", "", ":7")
	asker.must("call", "tcp", before.IP+":7")
	for round := range 3 {
		birth := h.killed(web)
		first.Wait()
		second.Wait()
		if text := asker.must("talk", "", "without a keeper"); text != "without a keeper" {
			t.Errorf("round %d: %q", round, text)
		}
		began := time.Now()
		n, err := slirp.StartKeeper(h.runtime, birth)
		must(t, err)
		defer n.Close()
		// A container in the making comes first: it must not get web's address.
		late := h.sandbox()
		c, got := late.mustAttach(on("late", 0))
		if got.IP == before.IP {
			t.Errorf("round %d: web's address is given away", round)
		}
		var after *slirp.Attached
		first, after = web.mustAttach(a)
		second, _ = asker.mustAttach(on("asker", 0))
		t.Log("back after", time.Since(began))
		if after.IP != before.IP || after.Endpoints[0].MAC != before.Endpoints[0].MAC {
			t.Errorf("round %d: %+v, was %+v", round, after, before)
		}
		if text := asker.must("talk", "", "still here"); text != "still here" {
			t.Errorf("round %d: %q", round, text)
		}
		if text := asker.must("lookup", gateway0, "web"); text != before.IP {
			t.Errorf("round %d: web is %q", round, text)
		}
		if text, err := dial("tcp", "127.0.0.1:19432"); err != nil {
			t.Errorf("round %d: port: %q, %v", round, text, err)
		}
		h.eventually("there is one slirp4netns", func() bool { return len(h.children("slirp4netns")) == 1 })
		c.Close()
	}
}

// N0 comes back with a shim, too, where the starter had none to give.
func TestN0ComesWithAnAttach(t *testing.T) {
	h := newHost(t)
	web, asker := h.sandbox(), h.sandbox()
	c, before := web.mustAttach(on("web", 0))
	asker.mustAttach(on("asker", 0))
	web.must("echo", "", ":7")
	asker.must("call", "tcp", before.IP+":7")
	birth := h.killed(web)
	birth.N0 = nil
	c.Wait()
	n, err := slirp.StartKeeper(h.runtime, birth)
	must(t, err)
	defer n.Close()
	if _, after := web.mustAttach(on("web", 0)); after.IP != before.IP {
		t.Errorf("%+v", after)
	}
	if text := asker.must("talk", "", "the same wire"); text != "the same wire" {
		t.Error(text)
	}
}

func TestChangeNetworksOfARunningContainer(t *testing.T) {
	h := newHost(t)
	web, asker := h.sandbox(), h.sandbox()
	c, got := web.mustAttach(on("web", 0))
	asker.mustAttach(on("asker", 1))
	web.must("serve", "tcp", ":80")
	if text, err := asker.do("dial", "tcp", got.IP+":80"); err == nil {
		t.Errorf("two networks are one: %q", text)
	}
	if text, err := asker.do("lookup", "10.91.1.1", "web"); err == nil {
		t.Errorf("a name of another network: %q", text)
	}
	done := make(chan struct{})
	go func() { c.Wait(); close(done) }()
	second := slirp.Endpoint{Network: testNetwork(1), Aliases: []string{"www"}}
	got, err := c.Change(slirp.Change{Connect: &second})
	must(t, err)
	if len(got.Endpoints) != 2 || len(got.DNS) != 2 || got.Endpoints[1].IP.String() != "10.91.1.3" {
		t.Fatalf("%+v", got)
	}
	if text := asker.must("lookup", "10.91.1.1", "www"); text != "10.91.1.3" {
		t.Errorf("www is %q", text)
	}
	asker.must("dial", "tcp", "10.91.1.3:80")
	if _, err := c.Change(slirp.Change{Connect: &second}); !errors.Is(err, unix.EEXIST) {
		t.Errorf("twice: %v", err)
	}
	got, err = c.Change(slirp.Change{Disconnect: "net0"})
	must(t, err)
	if len(got.Endpoints) != 1 || got.IP != "10.91.1.3" {
		t.Errorf("%+v", got)
	}
	if _, err := c.Change(slirp.Change{Disconnect: "net0"}); !errors.Is(err, unix.ENOENT) {
		t.Errorf("once more: %v", err)
	}
	for _, bad := range []slirp.Change{{}, {Disconnect: "net1", Connect: &second}, {Publish: []slirp.Port{{Proto: "tcp"}}}} {
		if _, err := c.Change(bad); err == nil {
			t.Errorf("accepted: %+v", bad)
		}
	}
	got, err = c.Change(slirp.Change{Disconnect: "net1"})
	must(t, err)
	if len(got.Endpoints) != 0 || got.IP != "" {
		t.Errorf("%+v", got)
	}
	if inside := web.must("interfaces", "", ""); strings.Contains(inside, "eth") {
		t.Error(inside)
	}
	select {
	case <-done:
		t.Error("an answer ended Wait")
	default:
	}
}

func TestChangePorts(t *testing.T) {
	h := newHost(t)
	for name, a := range map[string]slirp.Attach{"bridge": on("web", 0), "slirp4netns": {}} {
		t.Run(name, func(t *testing.T) {
			s := h.sandbox()
			c, _ := s.mustAttach(a)
			s.must("serve", "tcp", ":80")
			port := slirp.Port{HostIP: "127.0.0.1", HostPort: 19433, ContainerPort: 80, Proto: "tcp"}
			got, err := c.Change(slirp.Change{Publish: []slirp.Port{port}})
			must(t, err)
			if len(got.Ports) != 1 || got.Ports[0].HostPort != 19433 {
				t.Errorf("%+v", got.Ports)
			}
			if _, err := dial("tcp", "127.0.0.1:19433"); err != nil {
				t.Error(err)
			}
			if got, err = c.Change(slirp.Change{Unpublish: []slirp.Port{port}}); err != nil || len(got.Ports) != 0 {
				t.Errorf("%+v, %v", got, err)
			}
			if text, err := dial("tcp", "127.0.0.1:19433"); err == nil {
				t.Errorf("it answers still: %q", text)
			}
			if name == "slirp4netns" {
				e := slirp.Endpoint{Network: testNetwork(0)}
				if _, err := c.Change(slirp.Change{Connect: &e}); err == nil {
					t.Error("a slirp4netns container is on a bridge")
				}
			}
			c.Close()
		})
	}
}

// Only who asked for it reaches the host's loopback, beside its bridge.
func TestHostLoopbackBesideABridge(t *testing.T) {
	h := newHost(t)
	must(t, serve("tcp4", "127.0.0.1:19434"))
	with, without := h.sandbox(), h.sandbox()
	a := on("with", 0)
	a.HostLoopback = true
	_, got := with.mustAttach(a)
	without.mustAttach(on("without", 0))
	with.must("dial", "tcp", slirp.Gateway+":19434")
	if text, err := without.do("dial", "tcp", slirp.Gateway+":19434"); err == nil {
		t.Errorf("the host's loopback answered: %q", text)
	}
	with.must("serve", "tcp", ":80")
	without.must("dial", "tcp", got.IP+":80")
	if text := with.must("lookup", gateway0, "host.containers.internal"); text != slirp.Gateway {
		t.Errorf("the host is %q", text)
	}
}

// The way out dies and comes back; containers go on.
func TestUplinkIsReplaced(t *testing.T) {
	h := newHost(t)
	addr, err := slirp.HostAddress()
	if err != nil {
		t.Skip(err)
	}
	target := addr.String() + ":19435"
	must(t, serve("tcp4", target))
	s := h.sandbox()
	c, _ := s.mustAttach(on("web", 0))
	lost := make(chan struct{})
	go func() { c.Wait(); close(lost) }()
	for range 3 {
		old := h.children("slirp4netns")
		if len(old) != 1 {
			t.Fatalf("slirp4netns: %v", old)
		}
		must(t, unix.Kill(old[0], unix.SIGKILL))
		// TCP may go by the relay, which does not need it.
		h.eventually("there is another", func() bool { now := h.children("slirp4netns"); return len(now) == 1 && now[0] != old[0] })
		h.eventually("the way out is back", func() bool { _, err := s.do("dial", "tcp", target); return err == nil })
	}
	select {
	case <-lost:
		t.Error("the container lost its network")
	default:
	}
}

// A host without nf_tables has no bridges, nor has one whose /proc/sys is read-only; it
// says so once.
func TestFallback(t *testing.T) {
	for _, lack := range []string{"nofilter", "readonly"} {
		t.Run(lack, func(t *testing.T) { testFallback(t, lack) })
	}
}

func testFallback(t *testing.T, lack string) {
	h := newHost(t)
	must(t, os.WriteFile(filepath.Join(h.runtime, lack), nil, 0o600))
	a := on("web", 0)
	if _, _, err := h.sandbox().attach(a); err == nil {
		t.Error("a network that was named is not there, and nobody says so")
	}
	a.Fallback = true
	_, got := h.sandbox().mustAttach(a)
	if got.IP != slirp.Address || strings.Contains(got.Note, "UDP") != (lack == "nofilter") || len(got.Endpoints) != 0 || got.DNS[0] != slirp.Resolver {
		t.Errorf("%+v", got)
	}
	if _, again := h.sandbox().mustAttach(a); again.Note != "" {
		t.Errorf("said twice: %q", again.Note)
	}
}

// A shim that is killed leaves its container on the wire: the address is taken until
// the last process has ended.
func TestAddressesLiveAsLongAsTheContainer(t *testing.T) {
	h := newHost(t)
	orphan, next := h.sandbox(), h.sandbox()
	fixed := on("next", 0)
	fixed.Endpoints[0].IP = netip.MustParseAddr("10.91.0.7")
	c, _ := orphan.mustAttach(fixed)
	keep, _ := h.sandbox().mustAttach(on("other", 0))
	defer keep.Close()
	c.Close()
	time.Sleep(50 * time.Millisecond)
	if _, _, err := next.attach(fixed); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("the address of a container that runs: %v", err)
	}
	_ = orphan.conn.Close() // ends the payload
	h.eventually("the address is free", func() bool { _, _, err := next.attach(fixed); return err == nil })
}

// A container that attaches again while its old connection is not over yet keeps all.
func TestAttachedTwice(t *testing.T) {
	h := newHost(t)
	web, asker := h.sandbox(), h.sandbox()
	a := on("web", 0)
	a.Ports = []slirp.Port{{HostIP: "127.0.0.1", HostPort: 19436, ContainerPort: 80, Proto: "tcp"}}
	old, before := web.mustAttach(a)
	asker.mustAttach(on("asker", 0))
	_, after := web.mustAttach(a)
	if before.IP != after.IP {
		t.Errorf("%+v, was %+v", after, before)
	}
	old.Close()
	time.Sleep(50 * time.Millisecond)
	if text := asker.must("lookup", gateway0, "web"); text != before.IP {
		t.Errorf("web is %q", text)
	}
	web.must("serve", "tcp", ":80")
	if _, err := dial("tcp", "127.0.0.1:19436"); err != nil {
		t.Error(err)
	}
}

func TestHostileBridgeMessages(t *testing.T) {
	h := newHost(t)
	s := h.sandbox()
	many := on("x")
	for n := range slirp.MaxEndpoints + 1 {
		many.Endpoints = append(many.Endpoints, slirp.Endpoint{Network: testNetwork(n)})
	}
	noSubnet, badID := on("x", 0), on("x", 0)
	noSubnet.Endpoints[0].Network.Subnets = nil
	badID.Endpoints[0].Network.ID = "../../etc"
	for name, a := range map[string]slirp.Attach{"many": many, "no subnet": noSubnet, "a path": badID, "a driver": {Driver: "macvlan"}} {
		if _, got, err := s.attach(a); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
	null, err := os.Open(os.DevNull)
	must(t, err)
	defer null.Close()
	c := h.raw()
	must(t, c.Send(&slirp.Request{Attach: &slirp.Attach{ID: "x", PID: s.pid, Driver: slirp.DriverBridge}}, s.netns, s.userns, null))
	var r slirp.Reply
	if _, err := c.Recv(&r); err != nil || r.Failed == nil {
		t.Errorf("a file for N0: %+v, %v", r, err)
	}
	c = h.raw()
	must(t, c.Send(&slirp.Request{Change: &slirp.Change{Disconnect: "net0"}}))
	r = slirp.Reply{}
	if _, err := c.Recv(&r); err != nil || r.Failed == nil {
		t.Errorf("a change of nothing: %+v, %v", r, err)
	}
	s.mustAttach(on("web", 0)) // it all left nothing
}

func TestParseRoutes(t *testing.T) {
	const table = `Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
eth0	00000000	010200C0	0003	0	0	0	00000000	0	0	0
eth0	000200C0	00000000	0001	0	0	0	00FFFFFF	0	0	0
tun0	0000000A	00000000	0001	0	0	0	000000FF	0	0	0
odd	xyz	0	0	0	0	0	00
`
	got := fmt.Sprint(slirp.Routes4(table))
	if got != "[192.0.2.0/24 10.0.0.0/8]" {
		t.Error(got)
	}
}
