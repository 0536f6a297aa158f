package keeper

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/slirp"
)

func needPasta(t *testing.T) netip.Addr {
	t.Helper()
	if err := slirp.CheckPasta(); err != nil {
		t.Skip(err)
	}
	own, err := slirp.HostAddress()
	if err != nil {
		t.Skip("pasta copies an address of the host: ", err)
	}
	return own
}

// pastas are the keeper's: the program executes a variant of itself for the processor.
func (h *host) pastas() []int {
	return slices.Concat(h.children("pasta"), h.children("passt"), h.children("passt.avx2"))
}

func TestPastaGivesTheHostsAddressAndGoesWithTheConnection(t *testing.T) {
	own := needPasta(t)
	h := newHost(t)
	s := h.sandbox()
	began := time.Now()
	c, got := s.mustAttach(slirp.Attach{Driver: slirp.Pasta})
	t.Logf("attached in %v: %+v", time.Since(began), got)
	if got.IP != own.String() || got.Prefix == 0 || got.Gateway == "" || got.MTU != slirp.MTU || len(got.DNS) != 1 {
		t.Errorf("attached: %+v", got)
	}
	if inside := s.must("interfaces", "", ""); !strings.Contains(inside, "eth0 65520 up") || !strings.Contains(inside, own.String()+"/") {
		t.Error(inside)
	}
	if n := h.pastas(); len(n) != 1 || len(h.children("slirp4netns")) != 0 {
		t.Errorf("pasta processes: %v", n)
	}
	c.Close()
	h.eventually("pasta is gone", func() bool { return len(h.pastas()) == 0 })
	h.eventually("the interface is gone", func() bool { return !strings.Contains(s.must("interfaces", "", ""), "eth0") })
	h.eventually("no folder is left", func() bool { return !leftFolders(t, h) })
}

func TestPastaPortsKeepTheClientsAddress(t *testing.T) {
	own := needPasta(t)
	h := newHost(t)
	s := h.sandbox()
	c, got := s.mustAttach(slirp.Attach{Driver: slirp.Pasta, Ports: parse(t, "18971:80", "18972:53/udp", "127.0.0.1:18973:80", "127.0.0.1::80")})
	s.must("serve", "tcp", ":80")
	s.must("serve", "udp4", ":53")
	for _, e := range []struct{ network, addr, client string }{
		{"tcp4", "127.0.0.1:18971", got.Gateway}, // loopback stays the host's
		{"tcp6", "[::1]:18971", ""},
		{"tcp4", "127.0.0.1:18973", got.Gateway},
		{"udp4", "127.0.0.1:18972", got.Gateway},
		{"tcp4", own.String() + ":18971", own.String()},
		{"udp4", own.String() + ":18972", own.String()},
	} {
		text, err := dial(e.network, e.addr)
		seen, perr := netip.ParseAddrPort(strings.TrimPrefix(text, "hello "))
		if err != nil || perr != nil || e.client != "" && seen.Addr().Unmap().String() != e.client {
			t.Errorf("%s %s: the container sees %q, %v", e.network, e.addr, text, err)
		}
	}
	if text, err := dial("tcp4", own.String()+":18973"); err == nil {
		t.Errorf("a port of the host's loopback answers outside: %q", text)
	}
	if got.Ports[3].HostPort == 0 || got.Ports[3].ContainerPort != 80 {
		t.Errorf("chosen: %+v", got.Ports)
	}
	c.Close()
	h.eventually("nobody listens any more", func() bool { _, err := net.Dial("tcp", "127.0.0.1:18971"); return err != nil })
}

func TestPastaShowsTheHostsLoopbackOnlyWhenAsked(t *testing.T) {
	needPasta(t)
	h := newHost(t)
	if err := serve("tcp4", "127.0.0.1:18974"); err != nil {
		t.Fatal(err)
	}
	s := h.sandbox()
	c, got := s.mustAttach(slirp.Attach{Driver: slirp.Pasta})
	for _, addr := range []string{got.Gateway, "127.0.0.1"} {
		if text, err := s.do("dial", "tcp", addr+":18974"); err == nil {
			t.Errorf("the host's loopback answered at %s: %s", addr, text)
		}
	}
	c.Close()
	for _, a := range []slirp.Attach{{HostLoopback: true}, {PastaOptions: []string{slirp.PastaMapGateway}}} {
		a.Driver = slirp.Pasta
		c, got := s.mustAttach(a) // the one before may be ending still
		if text := s.must("dial", "tcp", got.Gateway+":18974"); !strings.HasPrefix(text, "hello ") {
			t.Errorf("got %q", text)
		}
		c.Close()
	}
}

func TestPastaIsReplacedWhenItDies(t *testing.T) {
	needPasta(t)
	h := newHost(t)
	s := h.sandbox()
	s.mustAttach(slirp.Attach{Driver: slirp.Pasta, Ports: parse(t, "127.0.0.1:18975:80")})
	s.must("serve", "tcp", ":80")
	old := h.pastas()
	if len(old) != 1 {
		t.Fatalf("pasta: %v", old)
	}
	if err := unix.Kill(old[0], unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	h.eventually("there is a new pasta", func() bool { now := h.pastas(); return len(now) == 1 && now[0] != old[0] })
	h.eventually("the port answers", func() bool { text, err := dial("tcp", "127.0.0.1:18975"); return err == nil && text != "" })
}

func TestPastaFollowsItsKeeper(t *testing.T) {
	needPasta(t)
	h := newHost(t)
	s := h.sandbox()
	c, _ := s.mustAttach(slirp.Attach{Driver: slirp.Pasta})
	pastas, pid := h.pastas(), h.keeperPID()
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	c.Wait()
	for _, p := range pastas {
		h.eventually("pasta follows its keeper", func() bool { return !alive(p) })
	}
	h.eventually("the interface is gone", func() bool { return !strings.Contains(s.must("interfaces", "", ""), "eth0") })
}

// Threads that forked a pasta must not end while it lives (PDEATHSIG), and those that
// entered a namespace do end: they must not be the same.
func TestPastaOutlivesTheThreadsOfOthers(t *testing.T) {
	needPasta(t)
	h := newHost(t)
	first := h.sandbox()
	first.mustAttach(slirp.Attach{Driver: slirp.Pasta})
	old := h.pastas()
	for range 6 {
		s := h.sandbox()
		c, _ := s.mustAttach(slirp.Attach{Ports: parse(t, "127.0.0.1::80")})
		c.Close()
	}
	if now := h.pastas(); len(old) != 1 || len(now) != 1 || now[0] != old[0] {
		t.Errorf("pasta: %v, then %v", old, now)
	}
}

func TestPastaRefusals(t *testing.T) {
	needPasta(t)
	h := newHost(t)
	s := h.sandbox()
	l, err := net.Listen("tcp", ":18976")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for name, a := range map[string]slirp.Attach{
		"a taken port":              {Ports: parse(t, "18976:80")},
		"an address not ours":       {Ports: parse(t, "198.51.100.77:18977:80")},
		"an option of the keeper's": {PastaOptions: []string{"--pid", "/tmp/x"}},
		"a bad value":               {PastaOptions: []string{"-a", "999.1.1.1"}},
		"no such interface":         {PastaOptions: []string{"-i", "nosuch0"}},
	} {
		a.Driver = slirp.Pasta
		_, _, err := s.attach(a)
		var he *hint.Error
		if !errors.As(err, &he) || he.Fix == "" || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
			continue
		}
		t.Logf("%s: %v", name, err)
	}
	if n := h.pastas(); len(n) != 0 || leftFolders(t, h) {
		t.Errorf("left of a refused attach: %v", n)
	}
	s.mustAttach(slirp.Attach{Driver: slirp.Pasta, Ports: parse(t, "18977:80")})
}

func TestPastaWords(t *testing.T) {
	for _, c := range []struct {
		a            slirp.Attach
		has, without string
	}{
		{slirp.Attach{}, "--no-map-gw --ns-ifname eth0 --dns-forward 169.254.1.1 --tcp-ports none --udp-ports none --tcp-ns none --udp-ns none", ""},
		{slirp.Attach{HostLoopback: true}, "", "--no-map-gw"},
		{slirp.Attach{PastaOptions: []string{"--map-gw"}}, "", "map-gw"},
		{slirp.Attach{PastaOptions: []string{"-t", "auto", "--dns-forward=10.0.2.3", "-I", "x0"}}, "-t auto", "--tcp-ports"},
		{slirp.Attach{PastaOptions: []string{"-T", "5201"}}, "-T 5201", "--tcp-ns"},
		{slirp.Attach{PastaOptions: []string{"-6"}}, "--dns-forward " + slirp.PastaResolver6, slirp.PastaResolver + " "},
		{slirp.Attach{Ports: []slirp.Port{{HostPort: 5, ContainerPort: 6, Proto: "udp"}}}, "--udp-ports none", ""},
	} {
		words, _ := pastaWords(&c.a)
		line := strings.Join(words, " ")
		for _, w := range strings.Fields(c.has) {
			if !strings.Contains(line, w) {
				t.Errorf("%+v: %s lacks %s", c.a.PastaOptions, line, w)
			}
		}
		if c.without != "" && strings.Contains(line, c.without) {
			t.Errorf("%+v: %s has %s", c.a.PastaOptions, line, c.without)
		}
	}
}

func TestDefaultGateway(t *testing.T) {
	table, err := os.ReadFile("/proc/net/route")
	if err != nil {
		t.Skip(err)
	}
	if got := slirp.DefaultGateway(string(table)); got != "" {
		if _, err := netip.ParseAddr(got); err != nil {
			t.Error(err)
		}
	}
	const little = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n" +
		"eth0\t00000A0A\t00000000\t0001\t0\t0\t0\t00FFFFFF\neth0\t00000000\t0202000A\t0003\t0\t0\t0\t00000000\n"
	if got := slirp.DefaultGateway(little); got != "10.0.2.2" && got != "2.2.0.10" { // the second on s390x
		t.Error(got)
	}
	if got := slirp.DefaultGateway("nonsense\n\t\n"); got != "" {
		t.Error(got)
	}
}
