package crash

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/tests/hostile/caller"
)

// rounds of the drill, RC_DRILL_ROUNDS for more or fewer.
func rounds() int {
	if n, err := strconv.Atoi(os.Getenv("RC_DRILL_ROUNDS")); err == nil {
		return n
	}
	return 200
}

// TestDrill: random verbs on twenty containers, and in each round one of our
// processes is killed, whichever it is and whatever it does. No command hangs or
// panics; every tenth round, and at the end, `rc ps` is held against /proc; at the
// end nothing is left behind.
func TestDrill(t *testing.T) {
	require(t)
	drill(t, rounds())
}

func drill(t *testing.T, rounds int) {
	t.Helper()
	hits, verbs := map[string]int{}, map[string]int{}
	populate(t)
	// With nothing left to strike, as after a `container prune`, rounds would tell nothing.
	emptied := false
	for n := range rounds {
		if n%20 == 19 || emptied {
			populate(t)
		}
		args := verb(t)
		verbs[args[0]]++
		r := background(args...)
		hit := strikeAny(time.Duration(random.Int64N(int64(2*oneStart()))), len(args)+n)
		hits[hit]++
		emptied = hit == ""
		res, ended := r.end()
		when := fmt.Sprintf("round %d: %v while %q was killed", n, args, hit)
		switch {
		case !ended:
			t.Fatalf("%s: it hangs: %s%s", when, res.Out, res.Err)
		case strings.Contains(res.Err, "goroutine ") || strings.Contains(res.Err, "panic:"):
			t.Fatalf("%s: %s", when, res.Err)
		}
		if n%10 == 9 {
			exactly(t, when)
		}
		if t.Failed() {
			t.FailNow()
		}
	}
	t.Logf("killed %v in %v", hits, verbs)
	for _, name := range []string{"rc", "rc-shim", "rc-net"} {
		if rounds >= 100 && hits[name] == 0 {
			t.Errorf("no %s was ever killed", name)
		}
	}
	if hits[""] > rounds/20 {
		t.Errorf("in %d rounds nobody was killed", hits[""])
	}
	exactly(t, "at the end")
	sound(t)
	tearDown(t)
	works(t, "after the drill")
}

// populate sees to it that there are twenty: what is there stays as it is.
func populate(t *testing.T) {
	t.Helper()
	for n := range 20 {
		args := []string{"run", "-d", "--name", fmt.Sprintf("drill%d", n), "--restart", []string{"no", "always"}[n%2], "--network", "none", image, "sleep", "1000"}
		if r := user.RC(args...); r.Code != 0 && !strings.Contains(r.Err, "the name is in use") {
			t.Errorf("rc %v: %d %s", args, r.Code, r.Err)
		}
	}
}

// sound: each line of the events is whole.
func sound(t *testing.T) {
	t.Helper()
	if r := user.RC("events", "--since", "0", "--until", "0s", "--format", "json"); r.Code != 0 {
		t.Errorf("rc events: %d %s", r.Code, r.Err)
	}
}

func tearDown(t *testing.T) {
	t.Helper()
	list, err := user.Ps()
	if err != nil {
		t.Error(err)
	}
	for _, l := range list {
		if r := user.RC("rm", "-f", "-v", l.ID); r.Code != 0 {
			t.Errorf("rc rm -f %s (%s): %d %s", l.Names, l.Status, r.Code, r.Err)
		}
	}
	for _, args := range [][]string{{"volume", "prune", "-af"}, {"image", "prune", "-f"}} {
		if r := user.RC(args...); r.Code != 0 {
			t.Errorf("rc %v: %d %s", args, r.Code, r.Err)
		}
	}
	if left := user.Residue(8*time.Second, true); len(left) > 0 {
		t.Errorf("left behind:\n  %s", strings.Join(left, "\n  "))
	}
	if found, _ := filepath.Glob(filepath.Join(user.Root, "volumes/*")); len(found) > 0 {
		t.Errorf("left behind: %v", found)
	}
}

// verb is a command line that a user might type at this moment.
func verb(t *testing.T) []string {
	t.Helper()
	box := func() string { return fmt.Sprintf("drill%d", random.IntN(20)) }
	run := func(verb string, extra ...string) []string {
		args := append([]string{verb, "--name", box()}, extra...)
		switch random.IntN(4) {
		case 0:
			args = append(args, "--restart", []string{"always", "on-failure:3", "unless-stopped"}[random.IntN(3)])
		case 1:
			args = append(args, "-v", fmt.Sprintf("data%d:/data", random.IntN(3)), "-v", "/anonymous")
		}
		if random.IntN(3) == 0 {
			args = append(args, "-p", "127.0.0.1::80")
		} else {
			args = append(args, "--network", "none")
		}
		return append(args, image, "sleep", []string{"0.05", "0.3", "100", "100"}[random.IntN(4)])
	}
	choices := [][]string{
		run("run", "-d"), run("run", "-d"), run("run", "-d"), run("run"), run("create"), run("run", "-d", "--rm"),
		{"start", box()}, {"start", box(), box()}, {"stop", "-t", "0", box()}, {"restart", "-t", "0", box()}, {"restart", "-t", "0", box()},
		{"kill", box()}, {"kill", "-s", "HUP", box()}, {"pause", box()}, {"unpause", box()}, {"exec", box(), "/attack", "true"},
		{"exec", "-d", box(), "/attack", "sleep", "5"}, {"logs", box()}, {"rm", box()}, {"rm", "-f", box()}, {"rename", box(), box()},
		{"update", "--restart", "no", box()}, {"inspect", box()}, {"ps", "-a"}, {"diff", box()}, {"export", "-o", "/dev/null", box()},
		{"commit", box(), "localhost/drill/image"}, {"top", box()}, {"port", box()}, {"stats", "--no-stream"}, {"volume", "rm", "data0"},
		{"volume", "ls"}, {"container", "prune", "-f"}, {"system", "df"}, {"cp", box() + ":/attack", os.DevNull},
	}
	args := choices[random.IntN(len(choices))]
	if args[0] == "run" && !slices.Contains(args, "-d") {
		for i, a := range args { // in the foreground: one that ends
			if a == "100" {
				args[i] = "0.2"
			}
			if a == "--restart" {
				args[i+1] = "no"
			}
		}
	}
	return args
}

// strikeAny waits and kills one of our processes, of a kind that turn chooses among
// those there are; "" when none was to be had for a second. Payloads are the user's.
func strikeAny(wait time.Duration, turn int) string {
	time.Sleep(wait)
	for end := time.Now().Add(time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		// By kind first: there are many more shims than keepers.
		kinds := map[string][]caller.Process{}
		for _, p := range user.Ours() {
			if contains([]string{"rc", "rc-shim", "rc-boot", "rc-exec", "rc-net", "rc-image", "slirp4netns", "rc-tidy"}, p.Name) {
				kinds[p.Name] = append(kinds[p.Name], p)
			}
		}
		if len(kinds) == 0 {
			continue
		}
		names := slices.Sorted(maps.Keys(kinds))
		kind := kinds[names[turn%len(names)]]
		turn++ // what cannot be struck now is not waited for
		p := kind[random.IntN(len(kind))]
		if now, ok := caller.Look(p.PID); ok && now.Line == p.Line && unix.Kill(p.PID, unix.SIGKILL) == nil {
			return p.Name
		}
	}
	return ""
}

// exactly holds `rc ps` against /proc: each container that is Up or Paused has its
// own live first process, and there is none besides. What is on its way (a restart,
// an end that is being noticed) gets ten seconds.
func exactly(t *testing.T, when string) {
	t.Helper()
	var shown, real []int
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		shown, real = nil, nil
		list, err := user.Ps()
		if err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		for _, l := range list {
			if l.State == "running" || l.State == "paused" {
				shown = append(shown, user.PID(l.ID))
			}
		}
		for _, p := range user.Ours() {
			if p.Init {
				real = append(real, p.PID)
			}
		}
		slices.Sort(shown)
		slices.Sort(real)
		if slices.Equal(shown, real) {
			return
		}
		if time.Now().After(end) {
			t.Errorf("%s: rc ps shows the processes %v, /proc has %v\n%+v\n%v", when, shown, real, list, user.Ours())
			return
		}
	}
}
