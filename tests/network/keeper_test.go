package network

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// flowed is peer's Flow.
type flowed struct {
	Rounds, Lost int
	Longest      time.Duration
	Err          string
}

// flowing starts a conversation from one container to another and returns when it goes.
func flowing(t *testing.T, from, network, addr string) (end func() flowed) {
	t.Helper()
	b := begin("exec", from, "/peer", "flow", network, addr, "900")
	eventually(t, 10*time.Second, "the flow begins", func() bool { return strings.Contains(b.out.String(), "begun") })
	return func() flowed {
		t.Helper()
		_ = b.cmd.Process.Signal(unix.SIGTERM) // rc exec passes it on
		if err := b.wait(); err != nil {
			t.Errorf("flow %s %s: %v", network, addr, err)
		}
		var f flowed
		lines := strings.Split(strings.TrimSpace(b.out.String()), "\n")
		if err := json.Unmarshal([]byte(lines[len(lines)-1]), &f); err != nil {
			t.Errorf("flow %s %s: %q", network, addr, b.out.String())
		}
		return f
	}
}

// hello asks a published port; "" when nobody answers.
func hello(network, addr string) string {
	c, err := net.DialTimeout(network, addr, 500*time.Millisecond)
	if err != nil {
		return ""
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(500 * time.Millisecond))
	if network == "udp" {
		_, _ = io.WriteString(c, "?")
		buf := make([]byte, 200)
		n, _ := c.Read(buf)
		return string(buf[:n])
	}
	text, _ := io.ReadAll(c)
	return string(text)
}

func answers(network, addr string) bool { return strings.HasPrefix(hello(network, addr), "hello ") }

// The keeper is killed again and again while containers talk: every flow between them
// goes on, and names, ports and the way out are back within a second of the next
// command, or by themselves.
func TestKeeperKilledUnderLoad(t *testing.T) {
	require(t, "ip")
	network(t, "load")
	network(t, "other")
	peer(t, "one", "--network", "load", "-p", "127.0.0.1::80", "-p", "127.0.0.1::80/udp")
	peer(t, "two", "--network", "load", "--network", "other", "-p", "127.0.0.1::80")
	peer(t, "three", "--network", "other")
	one, two := ip(t, "one", "load"), ip(t, "two", "load")
	port, udp, second := published(t, "one", "80/tcp"), published(t, "one", "80/udp"), published(t, "two", "80/tcp")
	flows := map[string]func() flowed{
		"tcp one-two": flowing(t, "one", "tcp", two+":7"), "udp one-two": flowing(t, "one", "udp", two+":7"),
		"tcp two-one": flowing(t, "two", "tcp", one+":7"), "tcp three-two": flowing(t, "three", "tcp", ip(t, "two", "other")+":7"),
	}
	before := links(t, keeper(t))
	t.Logf("N0 before: %v", before)
	// What does not work is in the log, so that a late return shows who was late.
	late := map[string]time.Duration{}
	var killed time.Time
	check := func(what string, ok bool) bool {
		if !ok && !killed.IsZero() {
			late[what] = max(late[what], time.Since(killed))
		}
		return ok
	}
	ports := func() bool {
		a, b, c := check("tcp one", answers("tcp", port)), check("udp one", answers("udp", udp)), check("tcp two", answers("tcp", second))
		return a && b && c
	}
	working := func() bool {
		a, err := act("one", "ask", "two")
		names := check(fmt.Sprintf("names (%v)", err), err == nil && strings.Contains(a, two))
		return ports() && names
	}
	if !working() {
		t.Fatal("names or ports do not work before anybody is killed")
	}
	commands := [][]string{{"ps", "-a"}, {"network", "ls"}, {"run", "--rm", "--network", "load", image, "true"}}
	var slowest, alone time.Duration
	for n := range choose(10, 50) {
		time.Sleep(1200 * time.Millisecond) // one that lives shorter is taken for broken (slirp, revive.go)
		killKeeper(t)
		killed = time.Now()
		if n%2 == 1 { // nobody types anything; what asks for names comes afterwards
			alone = max(alone, eventually(t, 20*time.Second, fmt.Sprintf("ports after kill %d, by themselves", n), ports))
			eventually(t, time.Second, fmt.Sprintf("names after kill %d", n), working)
			continue
		}
		must(t, commands[n/2%len(commands)]...)
		slowest = max(slowest, eventually(t, 10*time.Second, fmt.Sprintf("names and ports after kill %d and a command", n), working))
	}
	t.Logf("back after the next command: %v at most; by themselves: %v at most", slowest, alone)
	t.Logf("what was still away, how long after a kill: %v", late)
	if limit := time.Second; slowest > limit {
		t.Errorf("names and ports were back %v after the next command, not within %v", slowest, limit)
	}
	for name, end := range flows {
		f := end()
		t.Logf("%s: %+v", name, f)
		if f.Err != "" || f.Rounds == 0 || f.Lost > 0 || f.Longest > time.Second {
			t.Errorf("%s did not go on: %+v", name, f)
		}
	}
	after := links(t, keeper(t))
	for _, kind := range []string{"bridge", "veth", "tun"} {
		if len(before[kind]) != len(after[kind]) {
			t.Errorf("%s in N0: %v before, %v after", kind, before[kind], after[kind])
		}
	}
	if n := of("slirp4netns"); len(n) != 1 {
		t.Errorf("slirp4netns processes: %v", n)
	}
	if now := ip(t, "one", "load"); now != one {
		t.Errorf("the address was %s and is %s", one, now)
	}
}
