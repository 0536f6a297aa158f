package forward

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/slirp"
	"github.com/rc-containers/rc/slirp/bridge"
	"github.com/rc-containers/rc/tests/accept"
)

// outScene is an N0 with its relay, on a host of two addresses, and containers on its
// networks. The tap of slirp4netns is a descriptor that shows what would go there.
type outScene struct {
	*Outbound
	t     testing.TB
	world *bridge.World
	fds   *bridge.Out
	tap   int
}

var madeNetworks int

func newOutScene(t testing.TB) *outScene {
	t.Helper()
	if os.Getenv(private) == "" {
		t.Skip("no user namespaces on this host")
	}
	ipBatch(t, fmt.Sprintf("link set lo up\naddress replace %s/32 dev lo\naddress replace %s/128 dev lo nodad\n", host4, host6))
	w, err := bridge.Open(nil, bridge.Options{})
	if errors.Is(err, bridge.ErrNoFilter) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	s := &outScene{t: t, world: w, tap: -1}
	mustIn(t, w, func() (err error) { s.tap, err = openTap(); return err })
	t.Cleanup(func() { _ = unix.Close(s.tap) })
	way := bridge.DefaultWay
	way.IPv6 = true
	if err := w.Uplink(way); err != nil {
		t.Fatal(err)
	}
	mustIn(t, w, func() error {
		ipBatch(t, "neighbour replace 10.0.2.2 lladdr 52:55:0a:00:02:02 dev tap0\n")
		return nil
	})
	if s.fds, err = w.OpenOut(true); err != nil {
		t.Skip("the kernel cannot: ", err)
	}
	if s.Outbound, err = NewOutbound(Exit(*s.fds)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	if err := w.Lead(s.fds); err != nil {
		t.Fatal(err)
	}
	return s
}

func mustIn(t testing.TB, w *bridge.World, f func() error) {
	t.Helper()
	if err := w.Do(f); err != nil {
		t.Fatal(err)
	}
}

// openTap makes tap0 as slirp4netns does.
func openTap() (int, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return -1, err
	}
	r, err := unix.NewIfreq("tap0")
	if err == nil {
		r.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, r)
	}
	return fd, err
}

// network is number n, of both families.
func outNetwork(internal bool) slirp.Network {
	madeNetworks++
	n := slirp.Network{Name: fmt.Sprint("net", madeNetworks), ID: fmt.Sprintf("%012x%052x", madeNetworks, 1), Internal: internal}
	for _, text := range []string{fmt.Sprintf("10.88.%d.0/24", madeNetworks), fmt.Sprintf("fd00:88:%x::/64", madeNetworks)} {
		p := netip.MustParsePrefix(text)
		n.Subnets = append(n.Subnets, slirp.Subnet{Prefix: p, Gateway: p.Addr().Next()})
	}
	return n
}

// join makes a container on a network.
func (s *outScene) join(n slirp.Network) (*space, slirp.EndpointStatus) {
	s.t.Helper()
	c := newSpace(s.t)
	c.ip("link set lo up\n")
	madeNetworks++
	got, err := s.world.Connect(fmt.Sprintf("%064x", madeNetworks), c.netns, slirp.Endpoint{Network: n})
	if err != nil {
		s.t.Fatal(err)
	}
	return c, got
}

// atHost serves on the host; addr is ADDRESS:PORT.
func atHost(t testing.TB, ip string, f func(*net.TCPConn)) (addr string) {
	t.Helper()
	return accept.At(t, net.JoinHostPort(ip, "0"), func(c net.Conn) { f(c.(*net.TCPConn)) })
}

func echoTCP(c *net.TCPConn) { _, _ = io.Copy(c, c) }

// seen reads what went to the tap until it has a packet that ok accepts.
func (s *outScene) seen(within time.Duration, ok func(ip []byte) bool) bool {
	s.t.Helper()
	frame := make([]byte, 1<<16)
	for end := time.Now().Add(within); ; {
		n, err := unix.Read(s.tap, frame)
		if err != nil {
			if time.Now().After(end) {
				return false
			}
			time.Sleep(5 * time.Millisecond)
			continue
		}
		if n > 14 && ok(frame[14:n]) {
			return true
		}
	}
}

// rawSYN sends SYNs from the container's address, of which its own TCP knows nothing.
func rawSYN(t testing.TB, in *space, routes ...route) {
	t.Helper()
	var err error
	in.in(func() {
		var fd int
		if fd, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW); err != nil {
			return
		}
		defer unix.Close(fd)
		for _, r := range routes {
			if e := unix.Sendto(fd, makeSYN(r, 1), 0, sockaddr(netip.AddrPortFrom(r.to.Addr(), 0), false, 0)); e != nil && e != unix.ENOBUFS {
				err = e
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (s *outScene) idle() {
	s.t.Helper()
	eventually(s.t, "no connection is left", func() bool { open, pending := s.Open(); return open+pending == 0 })
}

func fdsOpen(t testing.TB) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

func isSYN(ip []byte, from string) bool {
	r, _, ok := parseSYN(ip)
	return ok && strings.HasPrefix(r.from.String(), from)
}
