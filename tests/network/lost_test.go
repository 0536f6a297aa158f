package network

import (
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A program of the host takes a port in the moment without a keeper: names, addresses
// and the other ports are back at once, the port is told as lost, and comes back when
// that program has ended.
func TestPortTakenBetweenTwoKeepers(t *testing.T) {
	require(t)
	network(t, "robbed")
	peer(t, "victim", "--network", "robbed", "-p", "127.0.0.1:18281:80", "-p", "127.0.0.1:18282:80")
	peer(t, "friend", "--network", "robbed")
	address := ip(t, "victim", "robbed")
	thief := rob(t, "127.0.0.1:18281")
	eventually(t, 5*time.Second, "the other port answers", func() bool { return answers("tcp", "127.0.0.1:18282") })
	eventually(t, time.Second, "its name is answered", func() bool {
		a := ask(t, "friend", "victim")
		return len(a.Data) == 1 && a.Data[0] == address
	})
	var view []struct {
		NetworkSettings struct {
			Ports     map[string][]map[string]string
			LostPorts []struct{ Why string }
		}
	}
	if err := json.Unmarshal([]byte(must(t, "inspect", "victim")), &view); err != nil {
		t.Fatal(err)
	}
	if s := view[0].NetworkSettings; len(s.Ports["80/tcp"]) != 1 || len(s.LostPorts) != 1 || !strings.Contains(s.LostPorts[0].Why, "sport = :18281") {
		t.Errorf("inspect: %+v", s)
	}
	if line := must(t, "ps", "--filter", "name=victim", "--format", "{{.Ports}}"); line != "127.0.0.1:18282->80/tcp, 127.0.0.1:18281->80/tcp (taken)" {
		t.Errorf("ps: %s", line)
	}
	if r := user.RC("port", "victim"); strings.Contains(r.Out, "18281") || !strings.Contains(r.Err, "publish port 127.0.0.1:18281:80/tcp") {
		t.Errorf("port: %q %q", r.Out, r.Err)
	}
	time.Sleep(4 * time.Second) // the shim has settled since
	_ = thief.Close()
	took := eventually(t, 10*time.Second, "the port is back", func() bool { return answers("tcp", "127.0.0.1:18281") })
	t.Logf("back %v after it was free", took)
	eventually(t, time.Second, "ps says so", func() bool {
		return must(t, "ps", "--filter", "name=victim", "--format", "{{.Ports}}") == "127.0.0.1:18281-18282->80/tcp" ||
			!strings.Contains(must(t, "ps", "--filter", "name=victim", "--format", "{{.Ports}}"), "taken")
	})
	events := must(t, "events", "--since", "1m", "--until", "0s", "--filter", "container=victim", "--format", "{{.Action}}")
	if first, second := strings.Index(events, "\nunpublish: 127.0.0.1:18281:80/tcp"), strings.Index(events, "\npublish: 127.0.0.1:18281:80/tcp"); first < 0 || second < first {
		t.Errorf("events: %s", events)
	}
	// One that is not wanted any more is not waited for.
	thief = rob(t, "127.0.0.1:18282")
	eventually(t, 5*time.Second, "the first port answers", func() bool { return answers("tcp", "127.0.0.1:18281") })
	must(t, "update", "--publish-rm", "18282:80", "victim")
	_ = thief.Close()
	time.Sleep(300 * time.Millisecond)
	if out := must(t, "port", "victim"); strings.Contains(out, "18282") || !strings.Contains(out, "18281") {
		t.Errorf("port: %s", out)
	}
}

// rob kills the keeper and has one of its ports before the next keeper.
func rob(t *testing.T, addr string) net.Listener {
	t.Helper()
	time.Sleep(1200 * time.Millisecond) // a keeper that lives shorter is taken for broken (slirp, revive.go)
	got := make(chan net.Listener, 1)
	go func() {
		for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
			if l, err := net.Listen("tcp", addr); err == nil {
				got <- l
				return
			}
		}
		close(got)
	}()
	_ = unix.Kill(keeper(t), unix.SIGKILL)
	l := <-got
	if l == nil {
		t.Fatalf("no chance to take %s", addr)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// A port of the host goes from one service to another in one command, and is never free
// in between; where something of it is refused, everything is as before.
func TestPortIsHandedOver(t *testing.T) {
	require(t)
	peer(t, "two-services", "-p", "127.0.0.1:18291:80")
	peer(t, "neighbour", "-p", "127.0.0.1:18292:80")
	must(t, "update", "--publish-rm", "18291:80", "--publish-add", "127.0.0.1:18291:7", "two-services")
	c, err := net.Dial("tcp", "127.0.0.1:18291")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(3 * time.Second))
	_, _ = fmt.Fprint(c, "word")
	word := make([]byte, 4)
	if n, err := c.Read(word); string(word[:n]) != "word" {
		t.Errorf("the new service says %q, %v", word[:n], err)
	}
	r := user.RC("update", "--publish-rm", "18291:7", "--publish-add", "127.0.0.1:18291:80", "--publish-add", "127.0.0.1:18292:80", "two-services")
	if r.Code != 1 || !strings.Contains(r.Err, "container neighbour publishes it") {
		t.Errorf("%+v", r)
	}
	if out := must(t, "port", "two-services"); out != "7/tcp -> 127.0.0.1:18291" {
		t.Errorf("after a refusal: %s", out)
	}
	must(t, "rename", "neighbour", "townsman")
	t.Cleanup(func() { remove(t, "townsman") })
	if r := user.RC("update", "--publish-add", "127.0.0.1:18292:80", "two-services"); !strings.Contains(r.Err, "container townsman publishes it") {
		t.Errorf("after a rename: %s", r.Err)
	}
	must(t, "restart", "-t", "0", "two-services")
	if out := must(t, "port", "two-services"); out != "7/tcp -> 127.0.0.1:18291" {
		t.Errorf("after a restart: %s", out)
	}
}
