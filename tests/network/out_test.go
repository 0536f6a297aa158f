package network

import (
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rc-containers/rc/tests/accept"
)

// relayed skips where the kernel has no relay: there the others' tests hold.
func relayed(t *testing.T, name string) {
	t.Helper()
	if way := must(t, "inspect", "-f", "{{.NetworkSettings.Outgoing}}", name); way != "relay" {
		t.Skip("what goes out goes by ", way)
	}
}

// What a container opens to the world is answered as on the host: quickly, by whoever
// is there, and never by who is not the world.
func TestOutgoing(t *testing.T) {
	require(t)
	network(t, "outing")
	network(t, "elsewhere")
	network(t, "shut", "--internal")
	peer(t, "goer", "--network", "outing")
	peer(t, "both", "--network", "shut", "--network", "outing")
	peer(t, "stays", "--network", "shut")
	peer(t, "beyond", "--network", "elsewhere")
	relayed(t, "goer")
	addr := accept.AtHost(t, func(c net.Conn) { _, _ = io.WriteString(c, "hello "+c.RemoteAddr().String()) })
	host, _, _ := net.SplitHostPort(addr)
	for _, name := range []string{"goer", "both"} {
		if out := mustAct(t, name, "dial", "tcp", addr); !strings.HasPrefix(out, "hello "+host+":") {
			t.Errorf("%s: %q", name, out)
		}
	}
	if out, err := act("stays", "dial", "tcp", addr); err == nil || !strings.Contains(err.Error(), "unreachable") {
		t.Errorf("BREACH from an internal network: %q, %v", out, err)
	}
	loopback, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer loopback.Close()
	_, port, _ := net.SplitHostPort(loopback.Addr().String())
	for to, want := range map[string]string{
		net.JoinHostPort(host, port):                      "refused", // bound to loopback only
		"10.0.2.2:" + port:                                "no route",
		ip(t, "beyond", "elsewhere") + ":80":              "no route",
		inspect(t, "goer")["outing"].Gateway + ":" + port: "refused",
	} {
		began := time.Now()
		out, err := act("goer", "dial", "tcp", to)
		if err == nil || !strings.Contains(err.Error(), want) || time.Since(began) > time.Second {
			t.Errorf("%s: %q, %v after %v; want %s", to, out, err, time.Since(began), want)
		}
	}
}

// A thousand connections out: all work, their keeper holds two descriptors for each, and
// has them back; slirp4netns has no part in it.
func TestManyConnectionsOut(t *testing.T) {
	require(t)
	peer(t, "busy")
	relayed(t, "busy")
	addr := accept.AtHost(t, accept.Echo)
	pid := keeper(t)
	eventually(t, 5*time.Second, "there is a slirp4netns", func() bool { return len(of("slirp4netns")) == 1 }) // not between two lives
	before, slirp := look(t, pid), look(t, of("slirp4netns")[0])
	n := choose(1000, 8000)
	done := begin("exec", "busy", "/peer", "hold", addr, strconv.Itoa(n), "2")
	most := usage{}
	for end := time.Now().Add(30 * time.Second); most.FDs < before.FDs+2*n && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if now := look(t, pid); now.FDs > most.FDs {
			most = now
		}
	}
	during := look(t, of("slirp4netns")[0])
	if err := done.wait(); err != nil {
		t.Fatal(err)
	}
	t.Logf("the keeper before: %v; during: %v", before, most)
	if got := strings.TrimSpace(done.out.String()); got != strconv.Itoa(n) || most.FDs < before.FDs+2*n {
		t.Errorf("%s of %d connections, %d descriptors", got, n, most.FDs-before.FDs)
	}
	if during.FDs > slirp.FDs+20 {
		t.Errorf("slirp4netns had %d descriptors and has %d", slirp.FDs, during.FDs)
	}
	eventually(t, 20*time.Second, "they are free again", func() bool { return look(t, pid).FDs <= before.FDs+16 })
}
