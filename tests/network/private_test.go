package network

import (
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// private are the networks of one container alone, and the program that each is.
var private = map[string][]string{"slirp4netns": {"slirp4netns"}, "pasta": {"pasta", "passt", "passt.avx2"}}

// programs are the processes of a private network: pasta executes a variant of itself.
func programs(kind string) (pids []int) {
	for _, name := range private[kind] {
		pids = append(pids, of(name)...)
	}
	return pids
}

// A network of one's own: its port answers, whoever is killed beside it; its program is
// there once, and goes with the container.
func TestPrivateNetworks(t *testing.T) {
	for kind := range private {
		t.Run(kind, func(t *testing.T) {
			require(t, kind)
			beside := len(programs(kind)) // the way out of all bridges, perhaps
			peer(t, "own", "--network", kind, "-p", "127.0.0.1::80", "-p", "127.0.0.1::80/udp")
			addr, udp := published(t, "own", "80/tcp"), published(t, "own", "80/udp")
			works := func() bool { return answers("tcp", addr) && answers("udp", udp) }
			eventually(t, 5*time.Second, "its ports answer", works)
			var had []int // newer pastas clone themselves for moments
			eventually(t, 2*time.Second, "it is one process", func() bool { had = programs(kind); return len(had) == beside+1 })
			for _, pid := range had {
				_ = unix.Kill(pid, unix.SIGKILL)
			}
			took := eventually(t, 5*time.Second, "another takes the place of one that was killed", func() bool {
				now := programs(kind)
				return len(now) >= 1 && now[0] != had[0] && works()
			})
			killKeeper(t)
			t.Logf("back %v after the program's end, %v after the keeper's", took, eventually(t, 5*time.Second, "its ports answer again", works))
			must(t, "update", "--publish-add", "127.0.0.1:18484:80", "own")
			eventually(t, 2*time.Second, "a port that was added answers", func() bool { return answers("tcp", "127.0.0.1:18484") })
			must(t, "update", "--publish-rm", "127.0.0.1:18484:80", "own")
			if answers("tcp", "127.0.0.1:18484") {
				t.Error("a port that was removed answers")
			}
			remove(t, "own")
			eventually(t, 5*time.Second, "its program goes with it", func() bool { return len(programs(kind)) <= beside })
		})
	}
}

func TestPastaOptions(t *testing.T) {
	require(t, "pasta")
	out := must(t, "run", "--rm", "--network", "pasta:-a,10.7.7.2,-n,24,-g,10.7.7.1,-I,px0,--ipv4-only", "--entrypoint", "/peer", image, "cat", "/proc/net/route", "/proc/net/fib_trie")
	for _, want := range []string{"px0", "10.7.7.2"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %s in %s", want, out)
		}
	}
	for options, why := range map[string]string{"--pcap,/tmp/x": "--pcap", "-P,/tmp/x": "-P", "-a": "needs a value", "-a,nonsense": "nonsense"} {
		r := user.RC("run", "--rm", "--network", "pasta:"+options, image, "true")
		if r.Code != 125 || !strings.Contains(r.Err, why) || strings.Count(r.Err, "\n") != 1 {
			t.Errorf("%s: %d %q", options, r.Code, r.Err)
		}
	}
}
