package forward

import (
	"bytes"
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

	"github.com/rc-containers/rc/tests/accept"
)

const private = "RC_FORWARD_TEST_PRIVATE"

// TestMain runs everything once more in a user and a network namespace of its own: the
// latter plays the host's, as root of the former we are what the keeper is in U0.
func TestMain(m *testing.M) {
	if os.Getenv(private) != "" {
		os.Exit(m.Run())
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), private+"=yes")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}}
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		os.Exit(exit.ExitCode())
	case err != nil:
		os.Exit(m.Run()) // each test then skips with the reason
	}
}

// The main thread cannot end, so no namespace may be entered on it.
func init() { runtime.LockOSThread() }

// space is a network namespace and a thread in it.
type space struct {
	t     testing.TB
	calls chan func()
	netns *os.File
	tid   int
}

func newSpace(t testing.TB) *space {
	t.Helper()
	s := &space{t: t, calls: make(chan func())}
	up := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			s.netns, err = os.Open("/proc/thread-self/ns/net")
			s.tid = unix.Gettid()
		}
		up <- err
		if err != nil {
			return
		}
		for f := range s.calls {
			f()
		}
	}()
	if err := <-up; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { close(s.calls); _ = s.netns.Close() })
	return s
}

// in runs f in the namespace.
func (s *space) in(f func()) {
	done := make(chan struct{})
	s.calls <- func() { defer close(done); f() }
	<-done
}

func (s *space) ip(lines string) {
	s.t.Helper()
	s.in(func() { ipBatch(s.t, lines) })
}

// ipBatch carries out lines of ip(8) in the namespace of the calling thread.
func ipBatch(t testing.TB, lines string) {
	t.Helper()
	cmd := exec.Command("ip", "-batch", "-")
	cmd.Stdin = strings.NewReader(lines)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("ip: %v: %s", err, bytes.TrimSpace(out))
	}
}

// The addresses of the scene.
const (
	client4, client6   = "192.0.2.2", "2001:db8:1::2"
	host4, host6       = "192.0.2.1", "2001:db8:1::1"
	inside4, inside6   = "10.88.0.5", "fd00:88::5"
	gateway4, gateway6 = "10.88.0.1", "fd00:88::1"
)

var scenery = Inside{IP: netip.MustParseAddr(inside4), IP6: netip.MustParseAddr(inside6),
	Gateway: netip.MustParseAddr(gateway4), Gateway6: netip.MustParseAddr(gateway6)}

// scene is a client on a wire to the host, and a container.
type scene struct {
	*Forwarder
	t                 testing.TB
	client, container *space
}

func newScene(t testing.TB) *scene {
	t.Helper()
	if os.Getenv(private) == "" {
		t.Skip("no user namespaces on this host")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("no ip(8) to build the scene with: ", err)
	}
	s := &scene{t: t, client: newSpace(t), container: newSpace(t)}
	ipBatch(t, fmt.Sprintf(`link set lo up
link add c0 type veth peer name w0
link set w0 netns %d
link add n0 type veth peer name e0
link set e0 netns %d
address add %s/24 dev c0
address add %s/64 dev c0 nodad
address add %s/24 dev n0
address add %s/64 dev n0 nodad
link set c0 up
link set n0 up
`, s.client.tid, s.container.tid, host4, host6, gateway4, gateway6))
	t.Cleanup(func() { ipBatch(t, "link del c0\nlink del n0\n") })
	s.client.ip(fmt.Sprintf("link set lo up\nlink set w0 up\naddress add %s/24 dev w0\naddress add %s/64 dev w0 nodad\n", client4, client6))
	s.container.ip(fmt.Sprintf(`link set lo up
link set e0 up
address add %s/24 dev e0
address add %s/64 dev e0 nodad
route add default via %s
route add default via %s
`, inside4, inside6, gateway4, gateway6))
	// A new link comes up when the kernel finds the time; until then packets are lost.
	eventually(t, "the wire is up", func() (up bool) {
		s.client.in(func() {
			_, err := net.DialTimeout("tcp", host4+":1", 20*time.Millisecond)
			up = errors.Is(err, unix.ECONNREFUSED)
		})
		return up
	})
	f, err := New(s.container.netns)
	if err != nil {
		t.Fatal(err)
	}
	s.Forwarder = f
	t.Cleanup(func() { _ = f.Close() })
	return s
}

// publish listens on a port that the kernel chooses, and serves.
func (s *scene) publish(proto, host string, inside uint16) (gate Port, port string) {
	s.t.Helper()
	p := Port{Proto: proto, Inside: inside}
	if host != "" {
		p.Host = netip.AddrPortFrom(netip.MustParseAddr(host), 0)
	}
	gate, err := s.Listen(p)
	if err != nil {
		s.t.Fatal(err)
	}
	s.Serve(scenery)
	return gate, fmt.Sprint(gate.Host.Port())
}

// serveTCP runs f for each connection to addr inside.
func (s *scene) serveTCP(network, addr string, f func(net.Conn)) {
	s.t.Helper()
	var l net.Listener
	var err error
	s.container.in(func() { l, err = net.Listen(network, addr) })
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = l.Close() })
	accept.Each(l, f)
}

// serveUDP echoes the address that it sees, a space and the question.
func (s *scene) serveUDP(network, addr string) net.PacketConn {
	s.t.Helper()
	var c net.PacketConn
	var err error
	s.container.in(func() { c, err = net.ListenPacket(network, addr) })
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = c.Close() })
	go func() {
		buf := make([]byte, 1<<16)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = c.WriteTo(append([]byte(from.String()+" "), buf[:n]...), from)
		}
	}()
	return c
}

// dial connects from where in runs.
func dialFrom(in func(func()), network, addr string) (c net.Conn, err error) {
	in(func() { c, err = net.DialTimeout(network, addr, 5*time.Second) })
	if err == nil {
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	}
	return c, err
}

// here runs f on the host.
func here(f func()) { f() }

// ask returns what the server says, and the client's own address.
func ask(in func(func()), network, addr, question string) (answer, own string, err error) {
	c, err := dialFrom(in, network, addr)
	if err != nil {
		return "", "", err
	}
	defer c.Close()
	own = c.LocalAddr().String()
	if strings.HasPrefix(network, "tcp") {
		data, err := io.ReadAll(c)
		return string(data), own, err
	}
	buf := make([]byte, 1<<16)
	for range 3 { // a first datagram may be lost while the wire comes up
		_ = c.SetReadDeadline(time.Now().Add(2 * time.Second))
		if _, err = c.Write([]byte(question)); err != nil {
			continue
		}
		var n int
		if n, err = c.Read(buf); err == nil {
			return string(buf[:n]), own, nil
		}
	}
	return "", own, err
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}
