package shim

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/stage/start"
	"github.com/rc-containers/rc/slirp"
)

// fakeKeeper answers as a keeper does, in a process that the shim is in, too.
type fakeKeeper struct {
	t        *testing.T
	dir      string
	listener *stage.Listener
	n0       *os.File
	asked    chan slirp.Request
	files    chan int // that came with an Attach
	conns    chan *stage.Conn
}

func newFakeKeeper(t *testing.T) *fakeKeeper {
	t.Helper()
	n0, err := os.Open(os.DevNull)
	must(t, err)
	k := &fakeKeeper{t: t, dir: t.TempDir(), n0: n0, asked: make(chan slirp.Request, 10), files: make(chan int, 10), conns: make(chan *stage.Conn, 10)}
	t.Cleanup(func() { _ = n0.Close() })
	k.listen()
	return k
}

func (k *fakeKeeper) listen() {
	k.t.Helper()
	var err error
	k.listener, err = stage.Listen(filepath.Join(k.dir, slirp.SocketName))
	must(k.t, err)
	k.t.Cleanup(func() { _ = k.listener.Close() })
	go func(l *stage.Listener) {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			k.conns <- c
			go k.serve(c)
		}
	}(k.listener)
}

func (k *fakeKeeper) serve(c *stage.Conn) {
	for {
		var r slirp.Request
		files, err := c.Recv(&r)
		if err != nil {
			return
		}
		stage.CloseFiles(files)
		k.asked <- r
		switch {
		case r.Attach != nil:
			k.files <- len(files)
			_ = c.Send(&slirp.Reply{Attached: attached("10.91.0.2")}, k.n0)
		case r.Change != nil && r.Change.Disconnect == "gone":
			_ = c.Send(&slirp.Reply{Failed: stage.Fail(hint.New("leave", unix.ENOENT, ""))})
		case r.Change != nil:
			_ = c.Send(&slirp.Reply{Attached: attached("10.91.0.2", "10.92.0.2")})
		}
	}
}

// attached is the first address on network "one", the second on "two".
func attached(ips ...string) *slirp.Attached {
	a := &slirp.Attached{IP: ips[0], Ports: []slirp.Port{{HostPort: 18080, ContainerPort: 80, Proto: "tcp"}}}
	for i, ip := range ips {
		name := []string{"one", "two"}[i]
		addr := netip.MustParseAddr(ip)
		a.Endpoints = append(a.Endpoints, slirp.EndpointStatus{Network: name, NetworkID: name, Interface: "eth" + string(rune('0'+i)), IP: addr})
		a.DNS = append(a.DNS, netip.PrefixFrom(addr, 24).Masked().Addr().Next().String())
	}
	return a
}

func bridged(names ...string) slirp.Attach {
	a := slirp.Attach{ID: "x", PID: os.Getpid(), Driver: slirp.DriverBridge}
	for _, name := range names {
		a.Endpoints = append(a.Endpoints, slirp.Endpoint{Network: slirp.Network{Name: name, ID: name}})
	}
	return a
}

func TestNetworkIsAttachedAgain(t *testing.T) {
	k := newFakeKeeper(t)
	changed := make(chan *slirp.Attached, 10)
	n := &network{runtime: k.dir, attach: bridged("one"), changed: func(a *slirp.Attached) { changed <- a }}
	got, err := n.up()
	must(t, err)
	defer n.down()
	if files := <-k.files; got.IP != "10.91.0.2" || files != 2 {
		t.Errorf("%+v, %d files", got, files)
	}
	<-k.asked
	if n0 := n.lendN0(); n0 == nil {
		t.Error("N0 is not kept")
	} else {
		_ = n0.Close()
	}
	// The keeper dies; another one comes.
	_ = k.listener.Close()
	_ = (<-k.conns).Close()
	time.Sleep(50 * time.Millisecond)
	k.listen()
	r := <-k.asked
	want := []netip.Addr{netip.MustParseAddr("10.91.0.2")}
	if files := <-k.files; files != 3 || !slices.Equal(r.Attach.Endpoints[0].Last, want) || r.Attach.Endpoints[0].Interface != "eth0" || len(r.Attach.Ports) != 1 {
		t.Errorf("%+v, %d files", r.Attach, files)
	}
	<-changed
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		client, release := n.calm()
		release()
		if client != nil {
			return
		}
		if time.Now().After(end) {
			t.Fatal("the new connection does not count")
		}
	}
}

func TestNetworkChange(t *testing.T) {
	k := newFakeKeeper(t)
	n := &network{runtime: k.dir, attach: bridged("one")}
	_, err := n.up()
	must(t, err)
	defer n.down()
	two := slirp.Endpoint{Network: slirp.Network{Name: "two", ID: "two"}}
	if _, err := n.change(&slirp.Change{Connect: &two}); err != nil {
		t.Fatal(err)
	}
	if e := n.attach.Endpoints; len(e) != 2 || e[1].Last[0].String() != "10.92.0.2" {
		t.Errorf("%+v", e)
	}
	if _, err := n.change(&slirp.Change{Disconnect: "gone"}); !errors.Is(err, unix.ENOENT) {
		t.Errorf("got %v", err)
	}
	for _, name := range []string{"one", "two"} {
		_, err := n.change(&slirp.Change{Disconnect: name})
		must(t, err)
	}
	if len(n.attach.Endpoints) != 0 || !n.attach.Bridged() {
		t.Errorf("%+v", n.attach)
	}
}

// A shim without the program, as an older rc started it, waits for another rc.
func TestReviveWithoutAProgram(t *testing.T) {
	n := &network{runtime: t.TempDir()}
	if err := n.revive(); !errors.Is(err, slirp.ErrNotYet) {
		t.Errorf("got %v", err)
	}
	n.keeper = start.Keeper{Program: "/bin/false"}
	if err := n.revive(); err == nil || errors.Is(err, slirp.ErrNotYet) {
		t.Errorf("got %v", err)
	}
}

// The files that a container has mounted follow its addresses, and keep what is not
// rc's.
func TestAddressesInFiles(t *testing.T) {
	dir := t.TempDir()
	hosts, resolv := filepath.Join(dir, "hosts"), filepath.Join(dir, "resolv.conf")
	must(t, os.WriteFile(hosts, []byte("127.0.0.1\tlocalhost\n10.9.9.9\tmine"), 0o644))
	must(t, os.WriteFile(resolv, []byte("nameserver 10.91.0.1\n"), 0o644))
	before := inode(t, hosts)
	s := &shim{cfg: &start.Config{Dir: dir, Spec: &specs.Spec{Hostname: "web.example.org"}}, net: &network{attach: bridged("one")}}
	s.networkIs(attached("10.91.0.2"))
	wantFile(t, hosts, "127.0.0.1\tlocalhost\n10.9.9.9\tmine\n10.91.0.2\tweb.example.org web\n")
	s.networkIs(attached("10.91.0.2", "10.92.0.2"))
	wantFile(t, hosts, "127.0.0.1\tlocalhost\n10.9.9.9\tmine\n10.91.0.2\tweb.example.org web\n10.92.0.2\tweb.example.org web\n")
	if text, err := os.ReadFile(resolv); err != nil || !strings.Contains(string(text), "nameserver 10.91.0.1\nnameserver 10.92.0.1\n") {
		t.Errorf("%q %v", text, err)
	}
	s.networkIs(attached("10.91.0.7"))
	wantFile(t, hosts, "127.0.0.1\tlocalhost\n10.9.9.9\tmine\n10.91.0.7\tweb.example.org web\n")
	if inode(t, hosts) != before {
		t.Error("it is another file: the container would not see it")
	}
	// No nf_tables here: a slirp4netns of its own.
	s.networkIs(&slirp.Attached{IP: slirp.Address, DNS: []string{slirp.Resolver}})
	wantFile(t, hosts, "127.0.0.1\tlocalhost\n10.9.9.9\tmine\n10.0.2.100\tweb.example.org web\n")
	if text, err := os.ReadFile(resolv); err != nil || !strings.Contains(string(text), "nameserver 10.0.2.3\n") {
		t.Errorf("%q %v", text, err)
	}
	if s.snapshot().Net.IP != slirp.Address {
		t.Error("the state is another")
	}
}

// What a container makes of its own files leads nowhere else.
func TestRewriteRefusesWhatIsNoFile(t *testing.T) {
	dir := t.TempDir()
	target := filepath.Join(dir, "target")
	must(t, os.WriteFile(target, []byte("x"), 0o600))
	must(t, os.Symlink(target, filepath.Join(dir, "link")))
	must(t, unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600))
	for _, name := range []string{"link", "fifo", "nothing"} {
		if err := rewrite(filepath.Join(dir, name), func(string) string { return "changed" }); err == nil {
			t.Errorf("%s was written to", name)
		}
	}
	wantFile(t, target, "x")
}

func TestWithLast(t *testing.T) {
	list := bridged("one", "three").Endpoints
	got := withLast(list, attached("10.91.0.2", "10.92.0.2"))
	if len(got[0].Last) != 1 || len(got[1].Last) != 0 || len(list[0].Last) != 0 {
		t.Errorf("%+v, was %+v", got, list)
	}
}

func inode(t *testing.T, path string) uint64 {
	t.Helper()
	var st unix.Stat_t
	must(t, unix.Stat(path, &st))
	return st.Ino
}

func wantFile(t *testing.T, path, want string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil || string(text) != want {
		t.Errorf("%s: %q, want %q (%v)", filepath.Base(path), text, want, err)
	}
}
