package network

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestNames(t *testing.T) {
	require(t)
	network(t, "mynet")
	network(t, "apart")
	peer(t, "web", "--network", "mynet", "--network-alias", "www", "--hostname", "webhost")
	peer(t, "db", "--network", "mynet", "--network", "apart")
	peer(t, "far", "--network", "apart", "--network-alias", "www")
	web := ip(t, "web", "mynet")
	id := must(t, "ps", "-q", "--no-trunc", "--filter", "name=web")
	for _, name := range []string{"web", "WEB", "www", "webhost", "web.mynet", id[:12]} {
		if a := ask(t, "db", name); !slices.Contains(a.Data, web) {
			t.Errorf("%s: %+v, not %s", name, a, web)
		}
	}
	// An alias of two networks: who is on one of them hears of one.
	if a := ask(t, "web", "www"); len(a.Data) != 1 || a.Data[0] != web {
		t.Errorf("www, asked on mynet: %+v", a)
	}
	if a := ask(t, "db", "www"); len(a.Data) != 2 {
		t.Errorf("www, asked on both: %+v", a)
	}
	for _, name := range []string{"far", "far.apart", must(t, "ps", "-q", "--filter", "name=far")} {
		if a := ask(t, "web", name); len(a.Data) != 0 {
			t.Errorf("%s is known on another network: %+v", name, a)
		}
	}
	if a := ask(t, "web", "db", "AAAA"); a.Code != "Success" || len(a.Data) != 0 {
		t.Errorf("no IPv6 address is no reason to deny the name: %+v", a)
	}
	if a := ask(t, "db", reverse(web), "PTR"); len(a.Data) == 0 || a.Data[0] != "web" && a.Data[0] != "web.mynet" {
		t.Errorf("%s is %+v", web, a)
	}
	if a := ask(t, "web", reverse(ip(t, "far", "apart")), "PTR"); len(a.Data) != 0 {
		t.Errorf("the address of another network has a name: %+v", a)
	}
	for _, name := range []string{"host.containers.internal", "host.docker.internal"} {
		if a := ask(t, "web", name); len(a.Data) == 0 {
			t.Errorf("%s: %+v", name, a)
		}
	}
	must(t, "rename", "web", "web2")
	eventually(t, 3*time.Second, "a renamed container has its new name", func() bool { return slices.Contains(ask(t, "db", "web2").Data, web) })
	must(t, "rename", "web2", "web")
	must(t, "network", "disconnect", "apart", "db")
	eventually(t, 3*time.Second, "who left a network knows nothing of it", func() bool { return len(ask(t, "db", "far").Data) == 0 })
}

// reverse is the name of an IPv4 address.
func reverse(ip string) string {
	parts := strings.Split(ip, ".")
	slices.Reverse(parts)
	return strings.Join(parts, ".") + ".in-addr.arpa"
}

// loaded is peer's Load.
type loaded struct {
	Asked, Right, Wrong, Unanswered int
	Median, P99                     time.Duration
}

// A thousand questions a second: nearly all answered, and the keeper stays as small.
func TestAThousandQuestionsASecond(t *testing.T) {
	require(t)
	network(t, "busy")
	peer(t, "asker", "--network", "busy")
	peer(t, "asked", "--network", "busy")
	ask(t, "asker", "asked")
	pid := keeper(t)
	before := look(t, pid)
	var l loaded
	out := mustAct(t, "asker", "questions", "asked", "1100", strconv.Itoa(choose(5, 60)))
	if err := json.Unmarshal([]byte(out), &l); err != nil {
		t.Fatal(err)
	}
	after := look(t, pid)
	t.Logf("%+v; the keeper before: %v; after: %v", l, before, after)
	rate := l.Right / choose(5, 60)
	if l.Wrong > 0 || l.Unanswered*1000 > l.Asked || rate < 700 { // 2 cores, shared with other tests
		t.Errorf("%d right answers a second: %+v", rate, l)
	}
	if after.RSS > before.RSS+8<<10 || after.FDs > before.FDs+16 {
		t.Errorf("the keeper grew: %v, then %v", before, after)
	}
}

// What is almost a question, over both protocols, to the live server.
func TestFuzzedQuestions(t *testing.T) {
	require(t)
	network(t, "fuzzed")
	peer(t, "fuzzer", "--network", "fuzzed")
	peer(t, "friend", "--network", "fuzzed")
	pid := keeper(t)
	before := look(t, pid)
	var sent string
	for round := range choose(1, 30) { // an rc exec has its bound
		sent = mustAct(t, "fuzzer", "fuzz", "10", strconv.Itoa(round+int(time.Now().Unix())))
	}
	if now := keeper(t); now != pid {
		t.Fatalf("the keeper was %d and is %d", pid, now)
	}
	eventually(t, 5*time.Second, "the server answers", func() bool { return len(ask(t, "friend", "fuzzer").Data) == 1 })
	var after usage
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		if after = look(t, pid); after.FDs <= before.FDs+4 {
			break
		}
	}
	t.Logf("%s datagrams in the last round; the keeper before: %v; after: %v", sent, before, after)
	if after.FDs > before.FDs+4 || after.RSS > before.RSS+16<<10 {
		t.Errorf("left in the keeper: %v, then %v", before, after)
	}
}

// One container that opens connections to the resolver without an end takes nothing
// from the others.
func TestResolverIsNotExhausted(t *testing.T) {
	require(t)
	network(t, "greedy")
	peer(t, "hog", "--network", "greedy")
	peer(t, "modest", "--network", "greedy")
	pid := keeper(t)
	before := look(t, pid)
	b := begin("exec", "hog", "/peer", "hog", "900", "6")
	eventually(t, 30*time.Second, "the hog has what it gets", func() bool { return b.out.String() != "" })
	during := look(t, pid)
	t.Logf("of 900 it opened and keeps: %s the keeper before: %v; during: %v", b.out.String(), before, during)
	if a := ask(t, "modest", "hog"); len(a.Data) != 1 {
		t.Errorf("meanwhile: %+v", a)
	}
	if during.FDs > before.FDs+200 {
		t.Errorf("one container holds %d of the keeper's descriptors", during.FDs-before.FDs)
	}
	if err := b.wait(); err != nil {
		t.Error(err)
	}
	eventually(t, 15*time.Second, "they are free again", func() bool { return look(t, pid).FDs <= before.FDs+4 })
}
