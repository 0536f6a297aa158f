package keeper

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/rc-containers/rc/slirp"
)

// ownHost marks the test program that runs in namespaces of its own: a "host"
// with an own resolv.conf, whose resolver listens on 127.0.0.53 as
// systemd-resolved's does.
const ownHost = "RC_NET_TEST_HOST"

// TestResolver: names resolve through 10.0.2.3 although the host's resolver is
// on the host's loopback, which is out of reach otherwise.
func TestResolver(t *testing.T) { onOwnHost(t, resolverInside) }

// TestIPv6: slirp4netns's router advertisement gives an address and a route.
func TestIPv6(t *testing.T) { onOwnHost(t, ipv6Inside) }

// onOwnHost runs inside in this same test of a copy of the program.
func onOwnHost(t *testing.T, inside func(*testing.T)) {
	if os.Getenv(ownHost) != "" {
		inside(t)
		return
	}
	if err := slirp.CheckHost(); err != nil {
		t.Skip(err)
	}
	conf := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(conf, []byte("nameserver 127.0.0.53\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	unshare, err := exec.LookPath("unshare")
	if err != nil {
		t.Skip(err)
	}
	script := `mount --bind "$1" /etc/resolv.conf && ip link set lo up && ip addr add 2001:db8::1/128 dev lo nodad && exec /proc/self/fd/3 -test.v -test.run "^$2\$"`
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	cmd := exec.Command(unshare, "-r", "-m", "-n", "sh", "-c", script, "sh", conf, t.Name())
	cmd.ExtraFiles = []*os.File{self}
	cmd.Env = append(os.Environ(), ownHost+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil && (strings.Contains(string(out), "unshare:") || strings.Contains(string(out), "mount:") || strings.Contains(string(out), "ip: not found")) {
		t.Skipf("no namespaces of its own here: %s", out)
	}
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("%v\n%s", err, out)
	}
}

func resolverInside(t *testing.T) {
	c, err := net.ListenPacket("udp", "127.0.0.53:53")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	go answerNames(c)
	h := newHost(t)
	s := h.sandbox()
	s.mustAttach(slirp.Attach{})
	if got := s.must("lookup", "", "registry.example.org"); got != "192.0.2.77" {
		t.Errorf("got %q", got)
	}
	if _, err := s.do("dial", "udp", slirp.Gateway+":53"); err == nil {
		t.Error("the host's loopback answers directly")
	}
}

func ipv6Inside(t *testing.T) {
	if err := serve("tcp6", "[2001:db8::1]:8080"); err != nil {
		t.Fatal(err)
	}
	h := newHost(t)
	s := h.sandbox()
	if _, got := s.mustAttach(slirp.Attach{IPv6: true}); !got.IPv6 {
		t.Errorf("%+v", got)
	}
	h.eventually("the advertised address is there", func() bool { return strings.Contains(s.must("interfaces", "", ""), " fd00::") })
	var err error
	h.eventually("IPv6 leads out", func() bool { _, err = s.do("dial", "tcp6", "[2001:db8::1]:8080"); return err == nil })
}

// answerNames says 192.0.2.77 to every question about an IPv4 address.
func answerNames(c net.PacketConn) {
	buf := make([]byte, 1500)
	for {
		n, from, err := c.ReadFrom(buf)
		if err != nil {
			return
		}
		var m dnsmessage.Message
		if m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 {
			continue
		}
		m.Header = dnsmessage.Header{ID: m.ID, Response: true, RecursionAvailable: true}
		m.Additionals = nil
		if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
			m.Answers = []dnsmessage.Resource{{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1},
				Body:   &dnsmessage.AResource{A: [4]byte{192, 0, 2, 77}},
			}}
		}
		if out, err := m.Pack(); err == nil {
			_, _ = c.WriteTo(out, from)
		}
	}
}
