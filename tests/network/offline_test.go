package network

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/tests/hostile/caller"
)

// aloof runs a script where the host has no network but loopback, nor subordinate
// ids, and a resolv.conf that the script may change: namespaces of the test's own.
func aloof(t *testing.T, script string) string {
	t.Helper()
	require(t, "unshare", "ip", "bash")
	c := caller.For(t)
	if err := load(c); err != nil {
		t.Fatal(err)
	}
	// The keeper of the load is in the host's namespaces, and could not be ours in there.
	eventually(t, 20*time.Second, "the keeper of the load leaves", func() bool {
		for _, p := range c.Ours() {
			if p.Name == "rc-net" {
				_ = unix.Kill(p.PID, unix.SIGTERM)
				return false
			}
		}
		return true
	})
	// Its keeper is none of the script's: the user namespaces are not one below another.
	eventually(t, 30*time.Second, "the keeper that loaded the image has left", func() bool {
		return !slices.ContainsFunc(c.Ours(), func(p caller.Process) bool { return p.Name == "rc-net" })
	})
	path := filepath.Join(c.Dir, "script")
	const head = "set -e\nmount --bind $D/resolv.conf /etc/resolv.conf\n" +
		"peer() { rc run -d --name \"$@\" " + image + " >/dev/null; }\nend() { rc rm -f $(rc ps -aq) >/dev/null || :; kill $(jobs -p) || :; }\ntrap end EXIT\n" +
		"online() { ip link add $1 type veth peer ${1}far; ip addr add $2/24 dev $1; ip link set ${1}far up; ip link set $1 up; ip route add default via $3; }\n"
	for name, text := range map[string]string{path: head + script, filepath.Join(c.Dir, "resolv.conf"): "nameserver 127.0.0.1\n"} {
		if err := os.WriteFile(name, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := c.Command(ctx, "true")
	var err error
	if cmd.Path, err = exec.LookPath("unshare"); err != nil {
		t.Fatal(err)
	}
	cmd.Args = []string{"unshare", "--user", "--map-root-user", "--net", "--mount", "bash", path}
	cmd.Env = append(cmd.Env, "D="+c.Dir)
	r := caller.Finish(ctx, cmd)
	t.Logf("exit code %d\n%s%s", r.Code, r.Out, r.Err)
	if r.Code != 0 {
		t.Errorf("the script ended with %d", r.Code)
	}
	return r.Out
}

// A host that starts offline: containers find each other, questions about the world
// end quickly, published ports answer, and when a way out appears it is used.
func TestHostThatStartsOffline(t *testing.T) {
	out := aloof(t, `
		ip link set lo up
		rc network create nn >/dev/null
		peer aa --network nn -p 127.0.0.1:18384:80; peer bb --network nn
		echo ADDRESS $(rc exec aa /peer ask bb)
		date +%s%N; rc exec aa /peer ask example.com || echo NOANSWER; date +%s%N
		echo DIAL $(rc exec aa /peer dial tcp bb:80)
		exec 3<>/dev/tcp/127.0.0.1/18384; echo PORT $(cat <&3)
		# online: the interface, and then its resolver
		online up0 198.51.100.2 198.51.100.1
		echo HOST $(rc exec aa /peer ask host.containers.internal)
		# a second address of the host's is what the first answer gave
		rc run --rm --network nn `+image+` dial tcp bb:80 >/dev/null; echo AGAIN
	`)
	for _, want := range []string{"ADDRESS {\"Code\":\"Success\",\"Data\":[\"", "DIAL hello ", "PORT hello ", "198.51.100.2", "AGAIN"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q", want)
		}
	}
	var first, second int64
	var lines []int64
	for line := range strings.Lines(out) {
		var n int64
		if _, err := fmt.Sscan(line, &n); err == nil && n > 1e18 {
			lines = append(lines, n)
		}
	}
	if len(lines) == 2 {
		first, second = lines[0], lines[1]
	}
	if took := time.Duration(second - first); took <= 0 || took > 3*time.Second {
		t.Errorf("a question about the world took %v offline", took)
	}
}

// The resolvers are those of now: a resolv.conf that changes is followed.
func TestResolversAreFollowed(t *testing.T) {
	out := aloof(t, `
		ip link set lo up
		for i in 1 2; do ip addr add 127.9.9.$i/8 dev lo; done
		"$D/peer" resolve 127.9.9.1:53 192.0.2.71 & "$D/peer" resolve 127.9.9.2:53 192.0.2.72 & 
		echo nameserver 127.9.9.1 >$D/resolv.conf
		rc network create nn >/dev/null
		peer aa --network nn
		echo FIRST $(rc exec aa /peer ask some.example)
		echo nameserver 127.9.9.2 >$D/resolv.conf
		sleep 1.2
		echo SECOND $(rc exec aa /peer ask some.example)
	`)
	for _, want := range []string{`FIRST {"Code":"Success","Data":["192.0.2.71"]}`, `SECOND {"Code":"Success","Data":["192.0.2.72"]}`} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q", want)
		}
	}
}

// A host that loses its way out and gets it back: the flow between containers notices
// nothing, nobody ends, and the keeper is the same.
func TestHostThatGoesOffline(t *testing.T) {
	out := aloof(t, `
		ip link set lo up
		online up0 198.51.100.2 198.51.100.1
		rc network create nn >/dev/null
		peer aa --network nn; peer bb --network nn
		rc exec aa /peer flow tcp bb:7 6 >$D/flow & 
		sleep 1; ip route del default; ip link del up0
		sleep 1; echo RUN $(rc run --rm --network nn `+image+` dial tcp bb:80)
		online up1 203.0.113.2 203.0.113.1
		echo HOST $(rc exec aa /peer ask host.containers.internal)
		wait %1; cat $D/flow
		rc ps --format '{{.Names}} {{.Status}}'
	`)
	for _, want := range []string{"RUN hello ", "203.0.113.2", `"Err":""`, "aa Up", "bb Up"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q", want)
		}
	}
}
