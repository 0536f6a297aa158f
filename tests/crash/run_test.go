package crash

import (
	"fmt"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/rc-containers/rc/tests/hostile/caller"
)

const strikes = 50 // "Done when" 4 of the first issue

// one way to run a container, and who can be killed during it.
type way struct {
	env   []string
	flags []string
	names []string
}

// ways turn through the drivers and networks that this machine has.
func ways(t *testing.T) []way {
	t.Helper()
	all := []way{{nil, []string{"--network", "none"}, []string{"rc", "rc-shim", "rc-boot", "rc-net"}}}
	if _, err := exec.LookPath("slirp4netns"); err == nil {
		all = append(all, way{nil, []string{"-p", "127.0.0.1::80", "-v", "/made"}, []string{"rc", "rc-shim", "rc-boot", "rc-net", "slirp4netns"}})
	} else {
		t.Logf("without slirp4netns: %v", err)
	}
	if _, err := exec.LookPath("fuse-overlayfs"); err == nil {
		all = append(all, way{[]string{"RC_STORAGE_DRIVER=fuse-overlayfs"}, []string{"--network", "none", "--init"}, []string{"fuse-overlayfs", "rc-shim", "rc"}})
	} else {
		t.Logf("without fuse-overlayfs: %v", err)
	}
	return all
}

// TestKillDuringRun: any one of our processes, at 50 random moments of a start,
// of a life and of an end.
func TestKillDuringRun(t *testing.T) {
	require(t)
	killDuringRun(t, strikes)
}

// TestCgroup: the same where each container has a cgroup, which is another thing
// to be left behind. `make test` runs it in the rig.
func TestCgroup(t *testing.T) {
	require(t)
	if why := caller.Undelegated(); why != "" {
		t.Skip(why)
	}
	if r := user.RC("run", "-d", "--name", "grouped", "--network", "none", image, "sleep"); r.Code != 0 {
		t.Fatal(r.Err)
	}
	if len(caller.Cgroups()) == 0 {
		t.Error("a container's cgroup is not seen: what is left of one would not be, either")
	}
	clean(t, "with a cgroup")
	killDuringRun(t, strikes)
}

func killDuringRun(t *testing.T, strikes int) {
	t.Helper()
	all := ways(t)
	hits := map[string]int{}
	for n, struck := 0, 0; struck < strikes && n < 2*strikes; n++ {
		w := all[n%len(all)]
		kind := w.names[n/len(all)%len(w.names)]
		hit := kill(t, n, w, kind)
		if hits[hit]++; hit != "" {
			struck++
		}
		if t.Failed() {
			t.Fatal("stopped at the first failure: what follows would be its consequence")
		}
	}
	t.Logf("killed: %v", hits)
	for _, w := range all {
		for _, name := range w.names {
			if hits[name] == 0 {
				t.Errorf("no %s was ever killed", name)
			}
		}
	}
}

func kill(t *testing.T, n int, w way, kind string) string {
	t.Helper()
	keep := len(user.Extra)
	user.Extra = append(user.Extra, w.env...)
	defer func() { user.Extra = user.Extra[:keep] }()
	name := fmt.Sprintf("c%d", n)
	args := append([]string{"run", "--name", name}, w.flags...)
	if n%3 == 0 {
		args = append(args, "--rm")
	}
	r := background(append(args, image, "sleep", "0.4")...)
	// Half of them in the time in which a container is built.
	late := oneStart()
	switch {
	case kind == "rc-boot":
		late = 3 * time.Millisecond // its whole life
	case n%2 == 1:
		late = 380 * time.Millisecond
	}
	hit := strike(late, kind)
	when := fmt.Sprintf("strike %d: %s killed (%v %v)", n, hit, w.env, args)
	res, ended := r.end()
	if !ended {
		t.Errorf("%s: rc hangs: %s", when, res.Err)
	}
	if hit == "" && res.Code != 0 {
		t.Errorf("%s: nobody was killed, and yet: exit code %d: %s", when, res.Code, res.Err)
	}
	truth(t, when)
	clean(t, when)
	works(t, when, "--network", "none")
	return hit
}

// TestFortyRuns: eight at a time; all succeed, and nothing is left.
func TestFortyRuns(t *testing.T) {
	require(t)
	slots := make(chan bool, 8)
	var wg sync.WaitGroup
	for n := range 40 {
		slots <- true
		wg.Go(func() {
			defer func() { <-slots }()
			word := fmt.Sprintf("run %d", n)
			if r := user.RC("run", "--rm", image, "echo", word); r.Code != 0 || r.Out != word+"\n" {
				t.Errorf("%s: exit code %d, %q %q", word, r.Code, r.Out, r.Err)
			}
		})
	}
	wg.Wait()
	clean(t, "after forty runs")
}

// TestFortyKilled: eight at a time, and a blow at any of them every 20 ms.
func TestFortyKilled(t *testing.T) {
	require(t)
	slots, stop := make(chan bool, 8), make(chan bool)
	var wg, axe sync.WaitGroup
	axe.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
				strike(0, []string{"rc", "rc-shim", "rc-boot", "slirp4netns", "rc-net"}[random.IntN(5)])
			}
		}
	})
	for n := range 40 {
		slots <- true
		wg.Go(func() {
			defer func() { <-slots }()
			r := background("run", "--rm", "--name", fmt.Sprintf("many%d", n), image, "sleep", "0.1")
			if res, ended := r.end(); !ended {
				t.Errorf("run %d hangs: %s", n, res.Err)
			}
		})
	}
	wg.Wait()
	close(stop)
	axe.Wait()
	truth(t, "after forty with blows")
	clean(t, "after forty with blows")
	works(t, "after forty with blows")
}
