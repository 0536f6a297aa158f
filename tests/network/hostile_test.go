package network

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/tests/accept"
)

// mighty is what helps an attacker on the wire.
var mighty = []string{"--cap-add", "NET_ADMIN", "--cap-add", "NET_RAW"}

// Networks do not see each other, nor what stands between them and the world.
func TestNetworksAreApart(t *testing.T) {
	require(t)
	network(t, "red")
	network(t, "blue")
	network(t, "closed", "--internal")
	peer(t, "inred", append(mighty, "--network", "red")...)
	peer(t, "inblue", "--network", "blue", "-p", "127.0.0.1::80")
	peer(t, "inclosed", "--network", "closed")
	peer(t, "alsored", "--network", "red")
	blue := ip(t, "inblue", "blue")
	if out := mustAct(t, "inred", "dial", "tcp", ip(t, "alsored", "red")+":80"); !strings.HasPrefix(out, "hello "+ip(t, "inred", "red")) {
		t.Fatalf("within a network: %q", out)
	}
	loopback, err := net.Listen("tcp4", "127.0.0.1:18282")
	if err != nil {
		t.Fatal(err)
	}
	defer loopback.Close()
	accept.Each(loopback, accept.Saying("hello from the host's loopback"))
	_, port, _ := net.SplitHostPort(published(t, "inblue", "80/tcp"))
	red, blueGate := inspect(t, "inred")["red"].Gateway, inspect(t, "inblue")["blue"].Gateway
	for what, addr := range map[string]string{
		"another network":                blue + ":80",
		"another network's echo":         blue + ":7",
		"another network's resolver":     blueGate + ":53",
		"an internal network":            ip(t, "inclosed", "closed") + ":80",
		"the host's loopback, by slirp":  "10.0.2.2:18282",
		"the host's loopback, by bridge": red + ":18282",
		"slirp's resolver":               "10.0.2.3:53",
		"the bridge's other ports":       red + ":22",
		"a port of the host's loopback":  red + ":" + port,
		"the uplink's own address":       "10.0.2.100:53",
		"another network's bridge":       blueGate + ":" + port,
	} {
		if out, err := act("inred", "dial", "tcp", addr); err == nil {
			t.Errorf("BREACH %s (%s): %q", what, addr, out)
		}
	}
	// The same with routes of one's own making is what NET_ADMIN is for; the wire's other
	// end decides. From inside: nothing goes out.
	for what, addr := range map[string]string{"the world": "192.0.2.1:80", "red": ip(t, "inred", "red") + ":80", "the loopback": "10.0.2.2:18282"} {
		if out, err := act("inclosed", "dial", "tcp", addr); err == nil {
			t.Errorf("BREACH an internal network reaches %s: %q", what, out)
		}
	}
	if a := ask(t, "inclosed", "example.com"); a.Code == "Success" && len(a.Data) > 0 {
		t.Errorf("BREACH an internal network's question was forwarded: %+v", a)
	}
}

// counted is how many datagrams came to a container's sink, as it says itself.
func counted(t *testing.T, name string) int {
	t.Helper()
	n, err := strconv.Atoi(mustAct(t, name, "count", "127.0.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A source address that is another's does not arrive: not within a network, not in
// another, and no answer of the resolver's goes to whom it names.
func TestSourceAddressesAreOnesOwn(t *testing.T) {
	require(t)
	network(t, "spoofed")
	network(t, "beyond")
	peer(t, "liar", append(mighty, "--network", "spoofed")...)
	peer(t, "victim", "--network", "spoofed")
	peer(t, "third", "--network", "spoofed")
	peer(t, "over", "--network", "beyond")
	peer(t, "both", "--network", "spoofed", "--network", "beyond")
	victim, third, over := ip(t, "victim", "spoofed"), ip(t, "third", "spoofed"), ip(t, "over", "beyond")
	gate := inspect(t, "liar")["spoofed"].Gateway

	before := counted(t, "victim")
	mustAct(t, "liar", "spoof", ip(t, "liar", "spoofed"), victim, "20")
	eventually(t, 3*time.Second, "honest datagrams arrive", func() bool { return counted(t, "victim") >= before+20 })
	before = counted(t, "victim")
	for _, from := range []string{third, gate, over, "203.0.113.9", "127.0.0.1", "10.0.2.2"} {
		out, err := act("liar", "spoof", from, victim, "20")
		time.Sleep(50 * time.Millisecond)
		now := counted(t, "victim")
		t.Logf("as %s: sent %q, %v; arrived: %d", from, out, err, now-before)
		if now > before {
			t.Errorf("BREACH %d datagrams that say they are from %s arrived", now-before, from)
		}
		before = now
	}
	for _, from := range []string{over, ip(t, "liar", "spoofed"), ip(t, "both", "beyond")} {
		n := counted(t, "over")
		_, _ = act("liar", "spoof", from, over, "20")
		time.Sleep(50 * time.Millisecond)
		if now := counted(t, "over"); now > n {
			t.Errorf("BREACH another network got %d datagrams, as if from %s", now-n, from)
		}
	}
}

// Nobody becomes the gateway, or a neighbour, by saying so.
func TestAddressesCannotBeTakenByARP(t *testing.T) {
	require(t)
	network(t, "wire")
	peer(t, "thief", append(mighty, "--network", "wire")...)
	peer(t, "honest", "--network", "wire")
	peer(t, "friend", "--network", "wire")
	honest, friend := ip(t, "honest", "wire"), ip(t, "friend", "wire")
	gate := inspect(t, "honest")["wire"].Gateway
	ask(t, "honest", "friend")
	eventually(t, 5*time.Second, "the friend listens", func() bool { _, err := act("honest", "dial", "tcp", friend+":80"); return err == nil })
	mac := inspect(t, "thief")["wire"].MacAddress
	for _, claimed := range []string{gate, friend} {
		before := mustAct(t, "honest", "neighbour", claimed)
		out, err := act("thief", "arp", claimed, honest, "50")
		t.Logf("the thief says it is %s: sent %q, %v", claimed, out, err)
		time.Sleep(100 * time.Millisecond)
		if now := mustAct(t, "honest", "neighbour", claimed); now != before || mac != "" && strings.EqualFold(now, mac) {
			t.Errorf("BREACH %s was at %s and is at %s, the thief's is %s", claimed, before, now, mac)
		}
	}
	if a := ask(t, "honest", "friend"); len(a.Data) != 1 || a.Data[0] != friend {
		t.Errorf("names afterwards: %+v", a)
	}
}

// With --host-loopback, and only then, the host's loopback is there; others on the
// same network still have none.
func TestHostLoopbackIsForWhoAsked(t *testing.T) {
	require(t)
	l, err := net.Listen("tcp4", "127.0.0.1:18283")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accept.Each(l, accept.Saying("hello from the host's loopback"))
	network(t, "mixed")
	peer(t, "trusted", "--network", "mixed", "--host-loopback", "--cap-add", "NET_ADMIN")
	peer(t, "plain", append(mighty, "--network", "mixed")...)
	if out := mustAct(t, "trusted", "dial", "tcp", "10.0.2.2:18283"); !strings.Contains(out, "host's loopback") {
		t.Errorf("trusted: %q", out)
	}
	for _, addr := range []string{"10.0.2.2", ip(t, "trusted", "mixed")} {
		if out, err := act("plain", "dial", "tcp", addr+":18283"); err == nil {
			t.Errorf("BREACH plain by %s: %q", addr, out)
		}
	}
	if a := ask(t, "trusted", "host.containers.internal"); len(a.Data) != 1 || a.Data[0] != "10.0.2.2" {
		t.Errorf("host.containers.internal: %+v", a)
	}
}

// Ten thousand connections through one port, or as many as the limit of descriptors
// lets the keeper have: no crash, no leak, and a refusal where it ends.
func TestManyConnectionsThroughAPort(t *testing.T) {
	require(t)
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	// Two descriptors of the keeper for each connection, and a part that no single
	// container gets.
	want := min(10000, (int(min(limit.Max, 1<<20))-2000)*7/16)
	if want < 500 {
		t.Skipf("needs a hard limit of open files above %d", limit.Max)
	}
	peer(t, "crowded", "-p", "127.0.0.1::7")
	peer(t, "beside", "-p", "127.0.0.1::80")
	addr, quiet := published(t, "crowded", "7/tcp"), published(t, "beside", "80/tcp")
	pid := keeper(t)
	before := look(t, pid)
	began := time.Now()
	var open []net.Conn
	defer func() {
		for _, c := range open {
			_ = c.Close()
		}
	}()
	for range want {
		c, err := net.DialTimeout("tcp", addr, 5*time.Second)
		if err != nil {
			t.Errorf("connection %d: %v", len(open), err)
			break
		}
		open = append(open, c)
	}
	took := time.Since(began)
	working := 0
	word := []byte("word")
	for i, c := range open {
		_ = c.SetDeadline(time.Now().Add(30 * time.Second))
		_, err := c.Write(word)
		if err == nil {
			_, err = io.ReadFull(c, make([]byte, len(word)))
		}
		if err != nil {
			t.Logf("connection %d (%s): %v", i, c.LocalAddr(), err)
			continue
		}
		working++
	}
	during := look(t, pid)
	t.Logf("%d connections in %v, %d carry words; the keeper before: %v; during: %v (%d bytes each)", len(open), took, working,
		before, during, (during.RSS-before.RSS)<<10/max(1, len(open)))
	if working < want {
		t.Errorf("of %d connections %d carry words", want, working)
	}
	if during.RSS > before.RSS+200<<10 {
		t.Errorf("the keeper needs %d MiB for them", (during.RSS-before.RSS)>>10)
	}
	eventually(t, 5*time.Second, "another container's port answers", func() bool { return answers("tcp", quiet) })
	for _, c := range open {
		_ = c.Close()
	}
	open = nil
	eventually(t, 3*time.Minute, "they are free again", func() bool { return look(t, pid).FDs <= before.FDs+8 }) // in the guest, too
	eventually(t, 5*time.Second, "the port answers", func() bool { return answers("tcp", quiet) })
	t.Logf("the keeper afterwards: %v", look(t, pid))
	if now := keeper(t); now != pid {
		t.Errorf("the keeper was %d and is %d", pid, now)
	}
}

// A container has no way to the keeper's socket, whatever is mounted into it.
func TestKeepersSocketIsOutOfReach(t *testing.T) {
	require(t)
	peer(t, "nosy", append(mighty, "-v", user.Run+":/run/host", "-v", "/tmp:/tmp")...)
	sockets, err := filepath.Glob(filepath.Join(user.Run, "rc-*", "keeper.sock"))
	if err != nil || len(sockets) != 1 {
		t.Fatalf("the keeper's sockets: %v, %v", sockets, err)
	}
	rel, err := filepath.Rel(user.Run, sockets[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/run/host/" + rel, sockets[0]} {
		if out, err := act("nosy", "dial", "unixpacket", path); err == nil {
			t.Errorf("BREACH %s: %q", path, out)
		} else if _, err := os.Lstat(sockets[0]); err != nil {
			t.Error(err)
		}
	}
}

// What the keeper is asked by containers in a hurry is bounded for each.
func TestOneContainersConnectionsAreBounded(t *testing.T) {
	require(t)
	network(t, "rush")
	for i := range 3 {
		peer(t, fmt.Sprintf("rush%d", i), "--network", "rush")
	}
	pid := keeper(t)
	before := look(t, pid)
	// Two hundred questions at once of what the host's resolvers do not know.
	for i := range 3 {
		go func() { _, _ = act(fmt.Sprintf("rush%d", i), "questions", "nobody.invalid", "500", "3") }()
	}
	time.Sleep(2 * time.Second)
	during := look(t, pid)
	t.Logf("the keeper before: %v; during: %v", before, during)
	if a := ask(t, "rush0", "rush1"); len(a.Data) != 1 {
		t.Errorf("meanwhile: %+v", a)
	}
	eventually(t, 20*time.Second, "they are free again", func() bool { return look(t, pid).FDs <= before.FDs+4 })
}
