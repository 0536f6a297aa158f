package network

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// digging is peer's Digging.
type digging struct {
	answer
	Truncated bool
	Bytes     int
	Took      time.Duration
}

func dig(t *testing.T, from, proto, name, kind string, size int, server ...string) (d digging, err error) {
	t.Helper()
	out, err := act(from, append([]string{"dig", proto, name, kind, fmt.Sprint(size)}, server...)...)
	if err == nil {
		err = json.Unmarshal([]byte(out), &d)
	}
	return d, err
}

// Everybody of an alias is named: as much as fits by UDP, all by TCP.
func TestAnAliasOfMany(t *testing.T) {
	require(t)
	network(t, "crowd")
	const many = 34 // 16 bytes each: more than 512 hold
	var wg sync.WaitGroup
	gate := make(chan struct{}, 4)
	for i := range many {
		wg.Go(func() {
			gate <- struct{}{}
			defer func() { <-gate }()
			if r := user.RC("run", "-d", "--name", fmt.Sprint("m", i), "--network", "crowd", "--network-alias", "all", image); r.Code != 0 {
				t.Errorf("m%d: %s", i, r.Err)
			}
		})
	}
	wg.Wait()
	t.Cleanup(func() {
		for i := range many {
			remove(t, fmt.Sprint("m", i))
		}
	})
	for _, c := range []struct {
		proto     string
		size      int
		truncated bool
		most      int
	}{{"udp", 0, true, 512}, {"udp", 1232, false, 1232}, {"tcp", 0, false, 65535}} {
		d, err := dig(t, "m0", c.proto, "all.", "A", c.size)
		if err != nil || d.Truncated != c.truncated || d.Bytes > c.most || !c.truncated && len(d.Data) != many || len(d.Data) < 25 {
			t.Errorf("%s, %d bytes: %d addresses, %+v, %v", c.proto, c.size, len(d.Data), d, err)
		}
	}
	first := map[string]bool{}
	for range 8 {
		if d, err := dig(t, "m1", "tcp", "all.", "A", 0); err == nil && len(d.Data) > 0 {
			first[d.Data[0]] = true
		}
	}
	if len(first) != 8 {
		t.Errorf("8 questions begin with %d different addresses", len(first))
	}
}

// Nobody asks the resolver of a network that they are not on, and an address of
// another network is no way to its names.
func TestResolversOfOthers(t *testing.T) {
	require(t)
	network(t, "here")
	network(t, "there")
	peer(t, "near", "--network", "here")
	peer(t, "off", "--network", "there")
	gateway := inspect(t, "off")["there"].Gateway
	for _, proto := range []string{"udp", "tcp"} {
		if d, err := dig(t, "near", proto, "off.", "A", 0, gateway); err == nil {
			t.Errorf("%s: the resolver of another network says %+v", proto, d)
		}
		if d, err := dig(t, "near", proto, "off.rc.internal.", "A", 0); err != nil || d.Code != "NameError" {
			t.Errorf("%s: %+v %v", proto, d, err)
		}
	}
	must(t, "network", "connect", "there", "near")
	eventually(t, 3*time.Second, "who joined a network knows its names", func() bool {
		d, err := dig(t, "near", "udp", "off.", "A", 0)
		return err == nil && len(d.Data) == 1
	})
}

// Short names are found by the search list, as programs look for them; the host's
// own wildcard does not stand before containers, nor does a --dns-search.
func TestSearchLists(t *testing.T) {
	out := aloof(t, `
		ip link set lo up; ip addr add 127.9.9.1/8 dev lo
		"$D/peer" resolve 127.9.9.1:53 192.0.2.71 &
		printf 'search wild.example\nnameserver 127.9.9.1\noptions ndots:5\n' >$D/resolv.conf
		rc network create n >/dev/null
		peer bb --network n; peer aa --network n; peer cc --network n --dns-search other.example; peer dd --network n --dns-search .
		B=$(rc exec aa /peer ask bb)
		for c in aa cc dd; do
			echo CONF $c $(rc exec $c /peer cat /etc/resolv.conf)
			for name in bb bb.n bb.rc.internal; do echo LOOK $c $name $(rc exec $c /peer lookup $name); done
		done
		echo IS $B
		echo WORLD $(rc exec aa /peer lookup www.example.net)
	`)
	var is string
	for line := range strings.Lines(out) {
		if rest, ok := strings.CutPrefix(line, `IS {"Code":"Success","Data":`); ok {
			is = strings.TrimSuffix(strings.TrimSpace(rest), "}")
		}
	}
	if is == "" {
		t.Fatal("no address")
	}
	for _, c := range []string{"aa", "cc", "dd"} {
		for _, name := range []string{"bb", "bb.n", "bb.rc.internal"} {
			if !strings.Contains(out, fmt.Sprintf("LOOK %s %s %s\n", c, name, is)) {
				t.Errorf("%s does not find %s as %s", c, name, is)
			}
		}
	}
	for _, want := range []string{"CONF aa search rc.internal wild.example nameserver ", "CONF cc search rc.internal other.example nameserver ", "CONF dd nameserver ", `WORLD ["192.0.2.71"]`} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q", want)
		}
	}
}

// --dns is asked by the resolver, so that names of containers are known all the same.
func TestOwnResolvers(t *testing.T) {
	out := aloof(t, `
		ip link set lo up; for i in 1 2; do ip addr add 127.9.9.$i/8 dev lo; done
		"$D/peer" resolve 127.9.9.1:53 192.0.2.71 & "$D/peer" resolve 127.9.9.2:53 192.0.2.72 &
		echo nameserver 127.9.9.1 >$D/resolv.conf
		rc network create n >/dev/null; rc network create --internal closed >/dev/null
		peer aa --network n --dns 127.9.9.2; peer bb --network n; peer cc --network closed
		echo NAME $(rc exec aa /peer lookup bb)
		echo OWN $(rc exec aa /peer ask some.example); echo HOST $(rc exec bb /peer ask some.example)
		echo CLOSED $(rc exec cc /peer ask some.example)
	`)
	for _, want := range []string{`NAME ["10.`, `OWN {"Code":"Success","Data":["192.0.2.72"]}`, `HOST {"Code":"Success","Data":["192.0.2.71"]}`, `CLOSED {"Code":"NameError"`} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q", want)
		}
	}
}

// A container that asks as fast as it can, for its neighbours' names or the world's,
// listening or not: the others' questions are answered soon, and the keeper stays
// small.
func TestStorms(t *testing.T) {
	require(t)
	network(t, "weather")
	peer(t, "loud", "--network", "weather", "--cap-add", "NET_ADMIN")
	peer(t, "deaf", "--network", "weather", "--cap-add", "NET_ADMIN")
	peer(t, "calm", "--network", "weather")
	before := look(t, keeper(t))
	secs := fmt.Sprint(choose(4, 60))
	for _, storm := range [][]string{{"loud", "calm"}, {"loud", "nowhere.example"}, {"deaf", "calm", "deaf"}} {
		args := append([]string{"exec", storm[0], "/peer", "storm", storm[1], secs}, storm[2:]...)
		b := begin(args...)
		eventually(t, 10*time.Second, "the storm begins", func() bool { return strings.Contains(b.out.String(), "begun") })
		var took []time.Duration
		missed := 0
		for end := time.Now().Add(time.Duration(choose(3, 55)) * time.Second); time.Now().Before(end); {
			d, err := dig(t, "calm", "udp", "loud.", "A", 0)
			if err != nil || len(d.Data) != 1 {
				missed++
				t.Logf("%v: %+v %v", storm, d, err)
				continue
			}
			took = append(took, d.Took)
		}
		slices.Sort(took)
		now := look(t, keeper(t))
		if err := b.wait(); err != nil {
			t.Errorf("%v: %v", storm, err)
		}
		if len(took) == 0 || missed*10 > len(took) || took[len(took)/2] > 200*time.Millisecond {
			t.Errorf("%v: %d answers, %d missing", storm, len(took), missed)
		} else {
			t.Logf("%v: %s sent; %d answers, %d missing, median %v, longest %v; the keeper: %v", storm, strings.TrimSpace(strings.TrimPrefix(b.out.String(), "begun")), len(took), missed, took[len(took)/2], took[len(took)-1], now)
		}
		if now.RSS > before.RSS+24<<10 || now.FDs > before.FDs+1400 {
			t.Errorf("%v: the keeper before: %v; now: %v", storm, before, now)
		}
	}
	eventually(t, 10*time.Second, "the storm's sockets are closed", func() bool { return look(t, keeper(t)).FDs <= before.FDs+6 })
}
