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
func TestResolver(t *testing.T) {
	if os.Getenv(ownHost) != "" {
		resolverInside(t)
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
	script := `mount --bind "$1" /etc/resolv.conf && exec /proc/self/fd/3 -test.run '^TestResolver$' -test.v`
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	cmd := exec.Command(unshare, "-r", "-m", "-n", "sh", "-c", script, "sh", conf)
	cmd.ExtraFiles = []*os.File{self}
	cmd.Env = append(os.Environ(), ownHost+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil && (strings.Contains(string(out), "unshare:") || strings.Contains(string(out), "mount:")) {
		t.Skipf("no namespaces of its own here: %s", out)
	}
	if err != nil || !strings.Contains(string(out), "--- PASS: TestResolver") {
		t.Errorf("%v\n%s", err, out)
	}
}

func resolverInside(t *testing.T) {
	if err := slirp.LoopbackUp(); err != nil {
		t.Fatal(err)
	}
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
