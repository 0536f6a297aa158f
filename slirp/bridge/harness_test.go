package bridge

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/slirp"
	"github.com/rc-containers/rc/tests/accept"
)

const inside = "RC_BRIDGE_TEST_INSIDE"

// The main thread keeps the main goroutine: a box on it would be what /proc/self shows.
func init() { runtime.LockOSThread() }

// TestMain runs everything once more in a user namespace, as its root: what the keeper
// is in U0, with the host's network namespace around it.
func TestMain(m *testing.M) {
	switch os.Getenv(inside) {
	case "":
		os.Exit(outside(m))
	case "payload":
		_, _ = os.Stdin.Read(make([]byte, 1))
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func outside(m *testing.M) int {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), inside+"=yes")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}}
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return exit.ExitCode()
	case err != nil:
		fmt.Println("no user namespaces here, everything that needs one is skipped:", err)
		return m.Run() // each test then skips with the reason
	}
	return 0
}

// open makes a World; n0 nil: with a new N0.
func open(t testing.TB, n0 *os.File, o Options) *World {
	t.Helper()
	if os.Getenv(inside) == "" {
		t.Skip("no user namespaces on this host")
	}
	w, err := Open(n0, o)
	if errors.Is(err, ErrNoFilter) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	if w.filter.noPorts != nil {
		t.Log("no filter of ports: ", w.filter.noPorts)
	}
	return w
}

// box is a container's network namespace, with a thread in it.
type box struct {
	*thread
	t     testing.TB
	netns *os.File
	id    string
	open  []io.Closer // sockets: they keep the namespace
}

var boxes int

func newBox(t testing.TB) *box {
	t.Helper()
	th, file, err := startThread(nil)
	if err != nil {
		t.Fatal(err)
	}
	boxes++
	b := &box{thread: th, t: t, netns: file, id: fmt.Sprintf("%012x%052x", boxes, boxes)}
	t.Cleanup(b.end)
	if err := b.do(func() error { return upLo() }); err != nil {
		t.Fatal(err)
	}
	return b
}

func upLo() error {
	r, err := dialRoute()
	if err != nil {
		return err
	}
	defer r.close()
	return r.run(setUp(1))
}

func (b *box) end() {
	b.stop()
	for _, c := range b.open {
		_ = c.Close()
	}
	_ = b.netns.Close()
}

// join connects b, or fails the test.
func (b *box) join(w *World, e slirp.Endpoint) slirp.EndpointStatus {
	b.t.Helper()
	s, err := w.Connect(b.id, b.netns, e)
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

// serve answers TCP connections and datagrams with the address that it sees.
func (b *box) serve(at string) {
	b.t.Helper()
	err := b.do(func() error {
		l, err := net.Listen("tcp", at)
		if err != nil {
			return err
		}
		p, err := net.ListenPacket("udp", at)
		if err != nil {
			return err
		}
		b.open = append(b.open, l, p)
		accept.Each(l, accept.Caller)
		go answer(p)
		return nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
}

func answer(p net.PacketConn) {
	buf := make([]byte, 1500)
	for {
		_, from, err := p.ReadFrom(buf)
		if err != nil {
			return
		}
		_, _ = p.WriteTo([]byte(from.String()), from)
	}
}

// ask dials and returns what the other side said.
func (b *box) ask(network, at string) (text string, err error) {
	err = b.do(func() error {
		c, err := (&net.Dialer{Timeout: time.Second}).Dial(network, at)
		if err != nil {
			return err
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(time.Second))
		if network[:3] == "udp" {
			_, _ = c.Write([]byte("?"))
		}
		buf := make([]byte, 100)
		n, err := c.Read(buf)
		text = string(buf[:n])
		return err
	})
	return text, err
}

func (b *box) mustAsk(network, at, want string) {
	b.t.Helper()
	got, err := b.ask(network, at)
	if err != nil || !strings.HasPrefix(got, want) {
		b.t.Errorf("%s %s from %s: %q, %v; want %s", network, at, short(b.id), got, err, want)
	}
}

func (b *box) mustNotAsk(network, at string) {
	b.t.Helper()
	if got, err := b.ask(network, at); err == nil {
		b.t.Errorf("%s %s: reached: %q", network, at, got)
	}
}

var made int

// testNetwork makes a network of subnets, with the first address as gateway.
func testNetwork(name string, prefixes ...string) slirp.Network {
	made++
	n := slirp.Network{Name: name, ID: fmt.Sprintf("%012x%052x", made, made)}
	for _, text := range prefixes {
		p := netip.MustParsePrefix(text)
		n.Subnets = append(n.Subnets, slirp.Subnet{Prefix: p, Gateway: p.Addr().Next()})
	}
	return n
}

func on(n slirp.Network) slirp.Endpoint { return slirp.Endpoint{Network: n} }

// linksOf lists the links of N0 whose names begin so.
func linksOf(t testing.TB, w *World, prefix string) (names []string) {
	t.Helper()
	err := w.Do(func() error {
		list, err := w.links()
		for _, l := range list {
			if strings.HasPrefix(l.name, prefix) {
				names = append(names, l.name)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}
