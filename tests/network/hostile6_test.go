package network

import (
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// The same walls in IPv6: networks are apart, nobody plays the router, and nobody takes
// an address by saying that it is his.
func TestIPv6NetworksAreApart(t *testing.T) {
	require(t)
	if _, err := os.Stat("/proc/sys/net/ipv6"); err != nil {
		t.Skip("this kernel has no IPv6: ", err)
	}
	network(t, "six", "--ipv6")
	network(t, "seven", "--ipv6")
	peer(t, "thief6", append(mighty, "--network", "six")...)
	peer(t, "honest6", "--network", "six")
	peer(t, "friend6", "--network", "six")
	peer(t, "apart6", "--network", "seven")
	address := func(name, network string) string {
		e := inspect(t, name)[network]
		if e.GlobalIPv6Address == "" {
			t.Fatalf("%s has no IPv6 address on %s: %+v", name, network, e)
		}
		return e.GlobalIPv6Address
	}
	friend, apart := address("friend6", "six"), address("apart6", "seven")
	if out := mustAct(t, "honest6", "dial", "tcp6", net.JoinHostPort("friend6", "80")); !strings.Contains(out, address("honest6", "six")) {
		t.Errorf("within a network: %q", out)
	}
	if a := ask(t, "honest6", "friend6", "AAAA"); len(a.Data) != 1 || a.Data[0] != friend {
		t.Errorf("names: %+v", a)
	}
	for _, addr := range []string{net.JoinHostPort(apart, "80"), net.JoinHostPort(apart, "7")} {
		if out, err := act("thief6", "dial", "tcp6", addr); err == nil {
			t.Errorf("BREACH another network (%s): %q", addr, out)
		}
	}
	if a := ask(t, "thief6", "apart6", "AAAA"); len(a.Data) != 0 {
		t.Errorf("BREACH a name of another network: %+v", a)
	}
	routes := mustAct(t, "honest6", "cat", "/proc/net/ipv6_route")
	for _, kind := range []string{"router", "neighbour"} {
		out, err := act("thief6", "icmpv6", kind, friend, "50")
		t.Logf("the thief as %s: sent %q, %v", kind, out, err)
	}
	time.Sleep(200 * time.Millisecond)
	if now := mustAct(t, "honest6", "cat", "/proc/net/ipv6_route"); defaults6(now) != defaults6(routes) {
		t.Errorf("BREACH another router:\n%s", now)
	}
	// Where the friend is believed to be is who answers.
	if out, err := act("honest6", "dial", "tcp6", net.JoinHostPort(friend, "80")); err != nil || !strings.HasPrefix(out, "hello ") {
		t.Errorf("BREACH the friend is not reached any more: %q, %v", out, err)
	}
}

// defaults6 are the default routes of proc_pid_net(5), "ipv6_route", without counters.
func defaults6(table string) string {
	var out []string
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		if len(f) == 10 && f[1] == "00" && f[9] != "lo" {
			out = append(out, f[4]+" "+f[9])
		}
	}
	return strings.Join(out, "\n")
}
