package network

import (
	"fmt"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/tests/hostile/caller"
)

// The keeper is killed at a random moment of a start: the container runs with its
// network all the same, and nothing is left.
func TestKeeperKilledDuringAStart(t *testing.T) {
	require(t)
	network(t, "starts")
	peer(t, "stays", "--network", "starts")
	stays := ip(t, "stays", "starts")
	for n := range choose(12, 60) {
		name := fmt.Sprintf("s%d", n)
		time.Sleep(1200 * time.Millisecond) // one that lives shorter is taken for broken (slirp, revive.go)
		pid := keeper(t)
		b := begin("run", "--name", name, "--network", "starts", "-p", "127.0.0.1::80", image, "ask", "stays")
		time.Sleep(time.Duration(rand.IntN(40)) * time.Millisecond)
		_ = unix.Kill(pid, unix.SIGKILL)
		if err := b.wait(); err != nil {
			t.Errorf("start %d: %v", n, err)
		} else if !strings.Contains(b.out.String(), stays) {
			t.Errorf("start %d asked for a name and got %q", n, b.out.String())
		}
		remove(t, name)
		if lies := user.Lies(); len(lies) > 0 {
			t.Errorf("start %d: %v", n, lies)
		}
		must(t, "run", "--rm", "--network", "starts", image, "dial", "tcp", stays+":80")
	}
	eventually(t, 5*time.Second, "one container is on the bridge", func() bool { return len(links(t, keeper(t))["veth"]) == 1 })
}

// The same where no other container is there, whose shim would start the next keeper.
func TestKeeperKilledDuringALoneStart(t *testing.T) {
	require(t)
	network(t, "alone")
	for n := range choose(12, 60) {
		must(t, "run", "--rm", "--network", "alone", image, "true") // so that there is a keeper
		time.Sleep(1200 * time.Millisecond)                         // as above
		pid := keeper(t)
		name := fmt.Sprintf("lone%d", n)
		b := begin("run", "--name", name, "--network", "alone", "-p", "127.0.0.1::80", image, "ask", name)
		time.Sleep(time.Duration(rand.IntN(40)) * time.Millisecond)
		_ = unix.Kill(pid, unix.SIGKILL)
		err := b.wait()
		if b.err.Len() > 0 {
			t.Logf("start %d: %s", n, b.err.String())
		}
		if err != nil {
			t.Errorf("start %d: %v", n, err)
		} else if !strings.Contains(b.out.String(), "Success") {
			t.Errorf("start %d asked for its own name and got %q", n, b.out.String())
		}
		remove(t, name)
		if lies := user.Lies(); len(lies) > 0 {
			t.Errorf("start %d: %v", n, lies)
		}
	}
}

// A command in another user namespace is not talked to, and says so.
func TestOtherUserNamespace(t *testing.T) {
	require(t, "unshare")
	peer(t, "home")
	there := user.Command(t.Context(), "--root", user.Root, "run", "--rm", image, "true")
	cmd := exec.CommandContext(t.Context(), "unshare", append([]string{"--user", "--map-root-user"}, there.Args...)...)
	cmd.Args[3], cmd.Env, cmd.Dir = there.Path, there.Env, there.Dir
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "belongs to another user namespace than this command, and hangs up; run the command where the others were") {
		t.Errorf("%v: %s", err, out)
	}
	must(t, "exec", "home", "/peer", "true")
}

// The keeper is killed while a port is added: afterwards it is there or it is not, as
// `rc port` says, and the ports from before answer.
func TestKeeperKilledWhileAPortIsAdded(t *testing.T) {
	require(t)
	peer(t, "ports", "-p", "127.0.0.1:18181:80")
	for n := range choose(8, 40) {
		spec := fmt.Sprintf("127.0.0.1:%d:80", 18190+n)
		time.Sleep(1200 * time.Millisecond) // as above
		pid := keeper(t)
		b := begin("update", "--publish-add", spec, "ports")
		time.Sleep(time.Duration(rand.IntN(15)) * time.Millisecond)
		_ = unix.Kill(pid, unix.SIGKILL)
		err := b.wait()
		must(t, "ps")
		eventually(t, 5*time.Second, "the first port answers", func() bool { return answers("tcp", "127.0.0.1:18181") })
		listed := strings.Contains(must(t, "port", "ports"), fmt.Sprint(18190+n))
		if err == nil && !listed {
			t.Errorf("add %d succeeded, and rc port does not list it", n)
		}
		if listed {
			eventually(t, 5*time.Second, "a listed port answers", func() bool { return answers("tcp", fmt.Sprintf("127.0.0.1:%d", 18190+n)) })
			must(t, "update", "--publish-rm", spec, "ports")
		}
		if answers("tcp", fmt.Sprintf("127.0.0.1:%d", 18190+n)) {
			t.Errorf("port %d answers and is not listed", 18190+n)
		}
	}
}

// slirp4netns is everybody's way out and nobody's way to each other.
func TestSharedSlirpKilled(t *testing.T) {
	require(t)
	network(t, "out")
	peer(t, "left", "--network", "out", "-p", "127.0.0.1::80")
	peer(t, "right", "--network", "out")
	end := flowing(t, "left", "tcp", ip(t, "right", "out")+":7")
	for range 3 {
		old := of("slirp4netns")
		if len(old) != 1 {
			t.Fatalf("slirp4netns processes: %v", old)
		}
		_ = unix.Kill(old[0], unix.SIGKILL)
		eventually(t, 10*time.Second, "there is another", func() bool { now := of("slirp4netns"); return len(now) == 1 && now[0] != old[0] })
		if !answers("tcp", published(t, "left", "80/tcp")) {
			t.Error("a published port went with it")
		}
		if a := ask(t, "left", "right"); len(a.Data) != 1 {
			t.Errorf("names went with it: %+v", a)
		}
	}
	if f := end(); f.Err != "" || f.Longest > time.Second {
		t.Errorf("the flow between containers: %+v", f)
	}
	eventually(t, 10*time.Second, "the way out is back", func() bool { return slices.Contains(links(t, keeper(t))["tun"], "tap0") })
}

// A shim dies: its address and its name are free again.
func TestShimOfAMemberKilled(t *testing.T) {
	require(t)
	network(t, "members", "--subnet", "10.77.5.0/24")
	peer(t, "witness", "--network", "members")
	for range 3 {
		peer(t, "mortal", "--network", "members", "--ip", "10.77.5.77", "--network-alias", "alias")
		if a := ask(t, "witness", "alias"); len(a.Data) != 1 || a.Data[0] != "10.77.5.77" {
			t.Fatalf("alias: %+v", a)
		}
		id := must(t, "ps", "-q", "--no-trunc", "--filter", "name=mortal")
		for _, p := range user.Ours() {
			if p.Name == "rc-shim" && strings.Contains(p.Line, id[:12]) {
				_ = unix.Kill(p.PID, unix.SIGKILL)
			}
		}
		remove(t, "mortal")
		eventually(t, 5*time.Second, "the name is gone", func() bool { return ask(t, "witness", "alias").Code == "NameError" })
	}
}

// Two hundred starts leave nothing in the keeper and nothing in N0.
func TestTwoHundredStarts(t *testing.T) {
	require(t)
	network(t, "many")
	peer(t, "still", "--network", "many") // so that the keeper stays
	for range 5 {
		must(t, "run", "--rm", "--network", "many", "-p", "127.0.0.1::80", image, "true")
	}
	pid := keeper(t)
	before, first := look(t, pid), links(t, pid)
	slots := make(chan bool, 4)
	for n := range choose(200, 1000) {
		slots <- true
		go func() {
			defer func() { <-slots }()
			if r := user.RC("run", "--rm", "--network", "many", "-p", "127.0.0.1::80", image, "true"); r.Code != 0 {
				t.Errorf("start %d: %d %s", n, r.Code, r.Err)
			}
		}()
	}
	for range cap(slots) {
		slots <- true
	}
	var after usage
	settled := func() bool {
		after = look(t, pid)
		return after.FDs <= before.FDs+2 && after.Children <= before.Children && len(links(t, pid)["veth"]) <= len(first["veth"])
	}
	for end := time.Now().Add(10 * time.Second); !settled() && time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		continue
	}
	t.Logf("the keeper before: %v; after: %v", before, after)
	// Threads that entered a container end with what they did; those that Go made on the
	// way are kept for the next rush.
	if !settled() || after.Threads > before.Threads+24 || after.RSS > before.RSS+8<<10 {
		t.Errorf("left in the keeper: %v before, %v after; N0 %v, then %v", before, after, first, links(t, pid))
	}
	if now := keeper(t); now != pid {
		t.Errorf("the keeper was %d and is %d", pid, now)
	}
	if groups := caller.Cgroups(); len(groups) > 1 {
		t.Errorf("cgroups: %v", groups)
	}
}

// A network without members has no bridge, in a while; the keeper leaves with the last
// container, and so do N0 and slirp4netns.
func TestLastOneOutTurnsOffTheLight(t *testing.T) {
	require(t)
	network(t, "gone")
	peer(t, "last", "--network", "gone")
	pid := keeper(t)
	remove(t, "last")
	eventually(t, 10*time.Second, "no interface of a container is left", func() bool { return len(links(t, pid)["veth"]) == 0 })
	eventually(t, 20*time.Second, "the keeper leaves", func() bool { return len(of("rc-net")) == 0 && len(of("slirp4netns")) == 0 })
	clean(t)
}
