package slirp

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/stage"
)

func TestResolvConf(t *testing.T) {
	const host = "# by systemd-resolved\n; old\ndomain lost.example\nnameserver 127.0.0.53\nnameserver ::1\nsearch corp.example  lab.example\noptions edns0\noptions ndots:2\nnonsense\n"
	cases := []struct {
		name        string
		dns         DNS
		host        string
		nameservers []string
		want        string
	}{
		{"slirp", DNS{}, host, []string{Resolver}, "search corp.example lab.example\nnameserver 10.0.2.3\noptions edns0 ndots:2\n"},
		{"host network", DNS{}, host, nil, "search corp.example lab.example\nnameserver 127.0.0.53\nnameserver ::1\noptions edns0 ndots:2\n"},
		{"flags", DNS{Servers: []string{"9.9.9.9"}, Search: []string{"a.example"}, Options: []string{"rotate"}}, host, []string{Resolver}, "search a.example\nnameserver 9.9.9.9\noptions rotate\n"},
		{"no search", DNS{Search: []string{"."}}, host, []string{Resolver}, "nameserver 10.0.2.3\noptions edns0 ndots:2\n"},
		{"no file", DNS{}, "", []string{Resolver}, "nameserver 10.0.2.3\n"},
		{"only domain", DNS{}, "domain d.example", nil, "search d.example\n"},
	}
	for _, c := range cases {
		if got := ResolvConf(c.dns, c.host, c.nameservers...); got != c.want {
			t.Errorf("%s: got\n%swant\n%s", c.name, got, c.want)
		}
	}
}

func TestHosts(t *testing.T) {
	got, err := Hosts{Name: "web.lab", IP: Address, Gateway: "192.0.2.2"}.Text(DNS{AddHosts: []string{"db:10.1.2.3", "six=[2001:db8::1]", "me:host-gateway"}})
	want := localhost + "10.1.2.3\tdb\n2001:db8::1\tsix\n192.0.2.2\tme\n10.0.2.100\tweb.lab web\n"
	if err != nil || got != want {
		t.Errorf("%v, got\n%s", err, got)
	}
	if got, _ := (Hosts{Name: "alone"}).Text(DNS{}); !strings.HasSuffix(got, "127.0.1.1\talone\n") {
		t.Error(got)
	}
	if _, err := (Hosts{}).Text(DNS{AddHosts: []string{"me:host-gateway"}}); err == nil {
		t.Error("host-gateway without a gateway")
	}
}

func TestParseAddHost(t *testing.T) {
	for s, want := range map[string][2]string{
		"a:1.2.3.4": {"a", "1.2.3.4"}, "a=1.2.3.4": {"a", "1.2.3.4"}, "a:::1": {"a", "::1"}, "a:[::1]": {"a", "::1"},
		"a_b.c-d.:host-gateway": {"a_b.c-d.", HostGateway},
	} {
		name, ip, err := ParseAddHost(s)
		if err != nil || name != want[0] || ip != want[1] {
			t.Errorf("%s: %q %q %v", s, name, ip, err)
		}
	}
	for _, s := range []string{"", "a", "a:", ":1.2.3.4", "a:b", "a b:1.2.3.4", "a:1.2.3.4 x", "a\n:1.2.3.4", "a:fe80::1%eth0", "a:1.2.3", "-a:1.2.3.4", "a:1.2.3.4\n0.0.0.0 b"} {
		if name, ip, err := ParseAddHost(s); err == nil {
			t.Errorf("%q was taken as %q %q", s, name, ip)
		}
	}
}

func TestCheckName(t *testing.T) {
	long := strings.Repeat("a", 63)
	for _, s := range []string{"a", "A9", "a.b", "x_y", long + "." + long} {
		if err := CheckName(s); err != nil {
			t.Error(err)
		}
	}
	for _, s := range []string{"", ".", "a..b", "a-", "-a", "ä", "a/b", long + "a", strings.Repeat("a.", 127)} {
		if CheckName(s) == nil {
			t.Errorf("%q passed", s)
		}
	}
}

func TestCheckTun(t *testing.T) {
	dir := t.TempDir()
	missing, open, shut := filepath.Join(dir, "none"), filepath.Join(dir, "open"), filepath.Join(dir, "shut")
	for path, mode := range map[string]os.FileMode{open: 0o600, shut: 0} {
		if err := os.WriteFile(path, nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	for name, check := range map[string]func(string) error{"open": checkTun, "access": accessTun} {
		err := check(missing)
		var h *hint.Error
		if !errors.As(err, &h) || !errors.Is(err, unix.ENOENT) || !strings.Contains(h.Fix, "modprobe tun") || !strings.Contains(h.Fix, "--network=none") {
			t.Error(name, err)
		}
		if err := check(open); err != nil {
			t.Error(name, err)
		}
		if os.Getuid() == 0 { // root may open everything
			continue
		}
		if err := check(shut); !errors.Is(err, unix.EACCES) || !strings.Contains(err.Error(), "chmod 0666") {
			t.Error(name, err)
		}
	}
}

func TestLookPath(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "prog"), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "data"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if got, err := LookPath("prog", "/nowhere:"+dir); err != nil || got != filepath.Join(dir, "prog") {
		t.Error(got, err)
	}
	if _, err := LookPath("sh", ""); err != nil {
		t.Error("the system folders: ", err)
	}
	t.Chdir(dir)
	for _, name := range []string{"data", "prog", "prog-that-is-not-there"} {
		if got, err := LookPath(name, ".::"+dir+"/x"); !errors.Is(err, unix.ENOENT) {
			t.Error(got, err)
		}
	}
}

func TestFailureCrosses(t *testing.T) {
	for _, err := range []error{
		hint.New("publish port 80", unix.EACCES, "choose another").WithCode(126),
		&os.PathError{Op: "open", Path: "/dev/net/tun", Err: unix.EACCES},
	} {
		f := stage.Fail(err)
		data, e := json.Marshal(f)
		var got stage.Failure
		if e == nil {
			e = json.Unmarshal(data, &got)
		}
		if e != nil || !errors.Is(got.Error(), unix.EACCES) || hint.ExitCode(got.Error()) != hint.ExitCode(err) {
			t.Errorf("%v became %v", err, got.Error())
		}
	}
	if got := stage.Fail(hint.New("a", unix.EPERM, "b")).Error().Error(); got != "a: operation not permitted; b" {
		t.Error(got)
	}
}

// A full Attach must fit into one packet.
func TestLargestAttachFits(t *testing.T) {
	a := Attach{ID: strings.Repeat("f", 64)}
	for range MaxPorts {
		a.Ports = append(a.Ports, Port{HostIP: "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", HostPort: 65535, ContainerPort: 65535, Proto: "udp"})
	}
	data, err := json.Marshal(&Request{Attach: &a})
	if err != nil || len(data) > stage.MaxPacket {
		t.Errorf("%d bytes, %v", len(data), err)
	}
}

// TestNoGateway: who is on networks that do not answer (--disable-dns) asks the host's
// resolvers, those on its loopback left out; behind systemd's stub are others.
func TestNoGateway(t *testing.T) {
	defer func(old string) { resolvedConf = old }(resolvedConf)
	resolvedConf = filepath.Join(t.TempDir(), "resolv.conf")
	const stub = "nameserver 127.0.0.53\nsearch corp.example\n"
	for _, c := range []struct{ host, behind, want string }{
		{"nameserver 127.0.0.1\nnameserver 192.0.2.7\nnameserver fe80::1%eth0\n", "nameserver 192.0.2.8\n", "nameserver 192.0.2.7\n"},
		{stub, "nameserver 192.0.2.8\nnameserver ::1\n", "search corp.example\nnameserver 192.0.2.8\n"},
		{stub, "", "search corp.example\nnameserver 127.0.0.53\n"}, // nothing better is known
	} {
		if err := os.WriteFile(resolvedConf, []byte(c.behind), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := BridgeResolvConf(DNS{}, c.host); got != c.want {
			t.Errorf("%q behind %q:\n%swant\n%s", c.behind, c.host, got, c.want)
		}
	}
	if got := BridgeResolvConf(DNS{}, stub, "10.89.0.1"); got != "search "+Domain+" corp.example\nnameserver 10.89.0.1\n" {
		t.Error(got)
	}
}
