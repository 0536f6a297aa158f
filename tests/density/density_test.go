// Package density runs many containers of one user at once: 300 idle ones, and 50
// with a health check every second. What it prints are figures; what it fails on is
// a container that does not run, a leak, or helpers that hold more than they may.
//
//	RC_BIN=$PWD/bin go test ./tests/density -v
package density

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rc-containers/rc/tests/hostile/caller"
	"github.com/rc-containers/rc/tests/images"
)

const image, probed = "localhost/density/base:latest", "localhost/density/probed:latest"

var user *caller.Caller

func TestMain(m *testing.M) { caller.Main(m, prepare) }

func prepare(c *caller.Caller) (after func(), err error) {
	user = c
	base, err := user.Base()
	if err != nil {
		return nil, err
	}
	return nil, errors.Join(user.Load(image, images.Image{Config: caller.Config(), Layers: []images.Layer{base}}.Build()),
		user.Load(probed, images.Image{Config: caller.Probed(), Layers: []images.Layer{base}}.Build()))
}

func number(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return otherwise
}

// start runs n containers, four at a time.
func start(t *testing.T, n int, image, prefix string, flags ...string) {
	t.Helper()
	slots := make(chan bool, 4)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var failed []error
	begin := time.Now()
	for i := range n {
		slots <- true
		wg.Go(func() {
			defer func() { <-slots }()
			args := append([]string{"run", "-d", "--name", fmt.Sprintf("%s%d", prefix, i)}, flags...)
			if r := user.RC(append(args, image, "sleep", "10000")...); r.Code != 0 {
				mu.Lock()
				failed = append(failed, fmt.Errorf("container %d: %d %s", i, r.Code, r.Err))
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(failed) > 0 {
		t.Fatalf("%d did not start, first: %v", len(failed), failed[0])
	}
	t.Logf("%d started in %v, four at a time", n, time.Since(begin).Round(time.Millisecond))
}

func end(t *testing.T) {
	t.Helper()
	begin := time.Now()
	if r := user.RC("stop", "-t", "0", "--all"); r.Code != 0 {
		t.Errorf("rc stop: %d %s", r.Code, r.Err)
	}
	t.Logf("stopped in %v", time.Since(begin).Round(time.Millisecond))
	if r := user.RC("container", "prune", "-f"); r.Code != 0 {
		t.Errorf("rc container prune: %d %s", r.Code, r.Err)
	}
	if left := user.Residue(10*time.Second, true); len(left) > 0 {
		t.Errorf("left behind:\n  %s", strings.Join(left[:min(len(left), 20)], "\n  "))
	}
}

// helpers are rc's own processes beside the payloads.
func helpers() []caller.Process {
	var out []caller.Process
	for _, p := range user.Ours() {
		if !p.Nested {
			out = append(out, p)
		}
	}
	return out
}

// private is the anonymous memory of the helpers, in KiB: of a shim's PSS all but
// the program's own pages, which 300 share. (smaps_rollup of a process that cannot
// be traced is root's alone; `make bench` reads that.)
func private() (total int, by map[string]int) {
	by = map[string]int{}
	for _, p := range helpers() {
		kib := caller.Field(p.PID, "RssAnon")
		by[p.Name] += kib
		total += kib
	}
	return total, by
}

// TestThreeHundred: they start, are listed, answer, and end; no quota of the
// user's is met (keys, inotify instances, descriptors).
func TestThreeHundred(t *testing.T) {
	if why := caller.Unmet(); why != "" {
		t.Skip(why)
	}
	n := number("RC_DENSITY", 300)
	start(t, n, image, "idle", "--network", "none")
	time.Sleep(8 * time.Second) // shims settle
	var best time.Duration
	for range 5 {
		begin := time.Now()
		r := user.RC("ps", "-q")
		took := time.Since(begin)
		if lines := strings.Count(r.Out, "\n"); r.Code != 0 || lines != n {
			t.Fatalf("rc ps shows %d of %d: %d %s", lines, n, r.Code, r.Err)
		}
		if best == 0 || took < best {
			best = took
		}
	}
	total, by := private()
	t.Logf("rc ps -q of %d: %v; private memory of the helpers: %d KiB a container, %v", n, best, total/n, by)
	// 0.9 MiB each in all, of which 15 KiB are a share of the program's 4 MB.
	if per := total / n; per > 900 {
		t.Errorf("%d KiB of private memory a container", per)
	}
	if r := user.RC("exec", fmt.Sprintf("idle%d", n-1), "/attack", "echo", "fine"); r.Out != "fine\n" {
		t.Errorf("exec: %+v", r)
	}
	end(t)
}

// usage is what leaks show in: descriptors cannot be read of a process that cannot
// be traced; threads, memory, zombies and files can.
type usage struct{ processes, threads, memory, files int }

func use() usage {
	var u usage
	for _, p := range user.Ours() {
		if p.Name == "rc-exec" || p.Name == "rc" {
			continue // on its way
		}
		u.processes++
		u.threads += caller.Field(p.PID, "Threads")
		u.memory += caller.Field(p.PID, "RssAnon")
	}
	for _, root := range []string{user.Root, user.Run} {
		_ = filepath.WalkDir(root, func(string, os.DirEntry, error) error { u.files++; return nil })
	}
	return u
}

// TestHealth: a probe a second in 50 containers, for RC_HEALTH_SECONDS. Prints what
// our own processes cost; fails when something grows.
func TestHealth(t *testing.T) {
	if why := caller.Unmet(); why != "" {
		t.Skip(why)
	}
	n, seconds := number("RC_HEALTH_CONTAINERS", 50), number("RC_HEALTH_SECONDS", 15)
	start(t, n, probed, "well", "--network", "none", "--health-interval", "1s")
	deadline := time.Now().Add(30 * time.Second)
	for {
		r := user.RC("ps", "-q", "--filter", "health=healthy")
		if strings.Count(r.Out, "\n") == n {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d are healthy: %s", strings.Count(r.Out, "\n"), n, r.Err)
		}
		time.Sleep(500 * time.Millisecond)
	}
	time.Sleep(15 * time.Second) // heaps find their size
	before, cpu := use(), ticks(t)
	time.Sleep(time.Duration(seconds) * time.Second)
	spent, after := ticks(t)-cpu, use()
	t.Logf("%d probes a second for %d s: %.1f %% of one CPU in our processes and the probes; before %+v, after %+v", n, seconds, float64(spent)/float64(seconds), before, after)
	if after.processes > before.processes+n/2 || after.threads > before.threads+n || after.files > before.files+2*n {
		t.Errorf("something grows: %+v, then %+v", before, after)
	}
	if after.memory > before.memory*5/4 {
		t.Errorf("memory grows: %d KiB, then %d KiB", before.memory, after.memory)
	}
	end(t)
}

// ticks is the processor time of the shims and of the probes that they reaped, in
// hundredths of a second (proc_pid_stat(5), fields 14 to 17).
func ticks(t *testing.T) int {
	t.Helper()
	total := 0
	for _, p := range helpers() {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		_, rest, _ := strings.Cut(string(text), ") ")
		f := strings.Fields(rest)
		for _, i := range []int{11, 12, 13, 14} {
			if len(f) > i {
				n, _ := strconv.Atoi(f[i])
				total += n
			}
		}
	}
	return total
}
