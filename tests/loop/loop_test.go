// Package loop starts one container after the other, and looks for what stays: a
// process, a mount, a file, a cgroup, a namespace that somebody pins; and for what
// gets slower.
//
//	RC_BIN=$PWD/bin go test ./tests/loop -v                     200 starts, as in make test
//	RC_TEST_LONG=1 RC_BIN=… go test -timeout 60m ./tests/loop   10,000 starts
package loop

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rc-containers/rc/tests/hostile/caller"
	"github.com/rc-containers/rc/tests/images"
)

const image = "localhost/loop/base:latest"

func newUser(t *testing.T) *caller.Caller {
	t.Helper()
	user := caller.For(t)
	base, err := user.Base()
	if err != nil {
		t.Fatal(err)
	}
	if err := user.Load(image, images.Image{Config: caller.Config(), Layers: []images.Layer{base}}.Build()); err != nil {
		t.Fatal(err)
	}
	return user
}

// kinds are started in turn: what each leaves would be another thing.
var kinds = [][]string{
	{"--rm", "--network", "none"},
	{"--rm"},
	{"--rm", "-p", "127.0.0.1::80", "-v", "/data"},
	{"--rm", "--init", "--network", "none", "--tmpfs", "/t"},
}

// start runs one container, and says how long that took.
func start(t *testing.T, user *caller.Caller, i int) time.Duration {
	t.Helper()
	args := append(append([]string{"run"}, kinds[i%len(kinds)]...), image, "true")
	began := time.Now()
	if r := user.RC(args...); r.Code != 0 || r.Err != "" {
		t.Fatalf("start %d, rc %s: %d %s", i, strings.Join(args, " "), r.Code, r.Err)
	}
	return time.Since(began)
}

func TestLoop(t *testing.T) {
	user := newUser(t)
	starts := 200
	if os.Getenv("RC_TEST_LONG") != "" {
		starts = 10000
	}
	for i := range 2 * len(kinds) {
		start(t, user, i) // the keeper, its network, the cached filter
	}
	before := look(t, user)
	took := make([]time.Duration, starts)
	for i := range took {
		took[i] = start(t, user, i)
	}
	if left := user.Residue(10*time.Second, true); len(left) > 0 {
		t.Errorf("left behind:\n  %s", strings.Join(left[:min(len(left), 20)], "\n  "))
	}
	var grown []string
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		// The kernel removes namespaces and keyrings behind their users' backs.
		if grown = look(t, user).more(before); len(grown) == 0 || time.Now().After(end) {
			break
		}
		start(t, user, 0) // or the keeper would leave, and have nothing that has grown
	}
	if len(grown) > 0 {
		t.Errorf("after %d starts there is more:\n  %s", starts, strings.Join(grown, "\n  "))
	}
	t.Logf("%d starts; the quicker quarter of the first tenth took at most %v each, of the last %v",
		starts, quarter(took[:starts/10]), quarter(took[starts-starts/10:]))
	compare(t, user, max(40, starts/50))
}

// compare has somebody who has started so much and somebody who is new take turns: a
// first and a last tenth are minutes apart, and say more about what else the machine
// did.
func compare(t *testing.T, aged *caller.Caller, turns int) {
	t.Helper()
	fresh := newUser(t)
	for i := range 2 * len(kinds) {
		start(t, fresh, i)
	}
	var old, young []time.Duration
	for i := range turns {
		old, young = append(old, start(t, aged, i)), append(young, start(t, fresh, i))
	}
	a, f := quarter(old), quarter(young)
	t.Logf("taking turns: %v a start, and %v of a new user", a, f)
	if float64(a) > 1.25*float64(f) {
		t.Errorf("a start takes %v, and %v in a new state folder with a new keeper: more than 1.25 times", a, f)
	}
}

// quarter is the lower quartile: what else ran on the machine is in the slower ones.
func quarter(list []time.Duration) time.Duration {
	return slices.Sorted(slices.Values(list))[len(list)/4]
}

// sight is what may not grow, by name.
type sight map[string]int

// roughly are numbers that Go's runtime and the kernel let grow in steps.
var roughly = map[string]int{"KiB of the keeper": 6 << 10, "threads of the keeper": 6}

func (now sight) more(before sight) (list []string) {
	for _, name := range slices.Sorted(maps.Keys(now)) {
		if now[name] > before[name]+roughly[name] {
			list = append(list, fmt.Sprintf("%s: %d, and there were %d", name, now[name], before[name]))
		}
	}
	return list
}

func look(t *testing.T, user *caller.Caller) sight {
	t.Helper()
	s := sight{}
	for _, root := range []string{user.Home, user.Run} {
		err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
			// Events are kept in a few files, of which there are more as time goes by.
			if err == nil && !strings.HasPrefix(filepath.Base(path), "events") {
				s["files in "+filepath.Dir(path)]++
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	s["mounts"] = bytes.Count(mounts, []byte{'\n'})
	s["cgroups"] = len(caller.Cgroups())
	s["keys"] = keys()
	for _, p := range user.Ours() {
		if p.Name == "rc-net" {
			s["keepers"]++
			s["KiB of the keeper"] += caller.Field(p.PID, "RssAnon")
			s["threads of the keeper"] += caller.Field(p.PID, "Threads")
			s["table of the keeper's descriptors"] += caller.Field(p.PID, "FDSize")
			s["links of the networks"] += links(p.PID)
		}
	}
	return s
}

// keys is how many keys count against this user's quota (keyrings(7), /proc/key-users).
func keys() int {
	text, _ := os.ReadFile("/proc/key-users")
	for line := range strings.Lines(string(text)) {
		uid, rest, _ := strings.Cut(line, ":")
		if f := strings.Fields(rest); strings.TrimSpace(uid) == strconv.Itoa(os.Getuid()) && len(f) > 2 {
			n, _, _ := strings.Cut(f[2], "/")
			count, _ := strconv.Atoi(n)
			return count
		}
	}
	return 0
}

// links counts the interfaces of all network namespaces in which a thread of the
// process stands: a veth whose container's namespace somebody still holds is one of
// the networks', too.
func links(pid int) int {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/net/dev", pid))
	seen := map[string]bool{}
	for _, path := range tasks {
		text, _ := os.ReadFile(path)
		for line := range strings.Lines(string(text)) {
			if name, _, ok := strings.Cut(line, ":"); ok {
				seen[strings.TrimSpace(name)] = true
			}
		}
	}
	return len(seen)
}

func TestMore(t *testing.T) {
	before := sight{"mounts": 5, "threads of the keeper": 4}
	now := sight{"mounts": 6, "threads of the keeper": 10, "files in /x": 1}
	if got := now.more(before); len(got) != 2 || got[0] != "files in /x: 1, and there were 0" || got[1] != "mounts: 6, and there were 5" {
		t.Errorf("%q", got)
	}
	if got := quarter([]time.Duration{9, 1, 8, 2, 7, 3, 6, 4}); got != 3 {
		t.Errorf("%v", got)
	}
}
