package shim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/linux"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/stage/control"
	"github.com/rc-containers/rc/internal/stage/start"
)

func TestBackoff(t *testing.T) {
	var last time.Duration
	var got []time.Duration
	for range 12 {
		last = nextBackoff(last, time.Second)
		got = append(got, last)
	}
	want := []time.Duration{100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000}
	for i := range want {
		if got[i] != want[i]*time.Millisecond {
			t.Errorf("wait %d is %v, not %v", i, got[i], want[i]*time.Millisecond)
		}
	}
	if d := nextBackoff(last, goodRun); d != firstBackoff {
		t.Errorf("after a good run %v", d)
	}
}

func TestShallRestart(t *testing.T) {
	for _, c := range []struct {
		policy         string
		max, code, ran int
		stopped, want  bool
	}{
		{"", 0, 1, 0, false, false}, {"no", 0, 1, 0, false, false},
		{"always", 0, 0, 9, false, true}, {"always", 0, 0, 0, true, false},
		{"unless-stopped", 0, 0, 0, false, true}, {"unless-stopped", 0, 137, 0, true, false},
		{"on-failure", 0, 0, 0, false, false}, {"on-failure", 0, 1, 1000, false, true},
		{"on-failure", 3, 1, 2, false, true}, {"on-failure", 3, 1, 3, false, false},
		{"something new", 0, 1, 0, false, false},
	} {
		if got := shallRestart(record.RestartPolicy{Name: c.policy, Max: c.max}, c.code, c.ran, c.stopped); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

// detached starts a container in the background, with its configuration on disk as
// rc writes it.
func detached(t *testing.T, policy record.RestartPolicy, script string) *container {
	t.Helper()
	c := newContainer(t, "sh", "-c", script)
	c.cfg.Detach = true
	must(t, c.store.SaveContainer(&record.Container{ID: testID, Name: "box", ImageName: "busybox", MachineID: record.MachineID(), Restart: policy, Labels: map[string]string{"a": "b"}}))
	c.keepConfig()
	c.begin()
	return c
}

func (c *container) keepConfig() {
	c.Helper()
	data, err := stage.Encode(&c.cfg)
	must(c.T, err)
	must(c.T, os.WriteFile(c.cfg.Dir+"/config.json", data, 0o600))
}

func (c *container) begin() {
	c.Helper()
	if m := c.create(); m.Kind != start.KindCreated {
		c.Fatalf("%+v %v", m, m.Fail)
	}
	must(c.T, c.conn.Send(&start.Message{Kind: start.KindStart}))
	c.want(start.KindStarted)
	_ = c.conn.Close() // as rc run -d
}

func (c *container) ask(q control.Request) (*control.Reply, error) {
	c.Helper()
	path, err := c.store.ControlPath(testID)
	must(c.T, err)
	r, files, err := control.Ask(path, q, 30*time.Second)
	stage.CloseFiles(files)
	return r, err
}

// until waits for a state.
func (c *container) until(what string, ok func(*record.State) bool) *record.State {
	c.Helper()
	var st *record.State
	for range 2000 {
		var err error
		st, err = c.store.LoadState(testID)
		if err == nil && st != nil && ok(st) {
			return st
		}
		time.Sleep(5 * time.Millisecond)
	}
	c.Fatalf("%s: %+v", what, st)
	return nil
}

// events lists the actions of the stream.
func (c *container) events() (actions []string) {
	c.Helper()
	data, err := os.ReadFile(c.store.EventsPath())
	must(c.T, err)
	for line := range bytes.Lines(data) {
		var e record.Event
		must(c.T, json.Unmarshal(line, &e))
		if e.Type == "container" {
			if e.Actor.Attributes["name"] == "" || e.Actor.Attributes["image"] != "busybox" || e.Actor.Attributes["a"] != "b" {
				c.Errorf("event %s lacks attributes: %v", e.Action, e.Actor.Attributes)
			}
			action := e.Action
			for _, name := range []string{"exitCode", "signal"} {
				if v := e.Actor.Attributes[name]; v != "" {
					action += " " + v
				}
			}
			actions = append(actions, action)
		}
	}
	return actions
}

func (c *container) stop() {
	c.Helper()
	r, err := c.ask(control.Request{Op: control.OpStop, Timeout: 5 * time.Second})
	must(c.T, err)
	if r.State.Status != record.Exited || !r.State.Stopped {
		c.Errorf("stopped: %+v", r.State)
	}
	c.ended()
}

// on-failure restarts so many times, in the same process, with the log going on.
func TestRealRestartOnFailure(t *testing.T) {
	c := detached(t, record.RestartPolicy{Name: "on-failure", Max: 2}, "echo life; sleep 0.05; exit 3")
	before := c.state()
	within(t, "the last end", func() { _, _ = c.shim.Wait() })
	st := c.state()
	if st.Status != record.Exited || st.ExitCode != 3 || st.RestartCount != 2 || st.ShimPID != before.ShimPID || st.ShimStart != before.ShimStart || st.Stopped || !st.NextStart.IsZero() {
		t.Errorf("%+v", st)
	}
	if got := logged(t, c.cfg.Dir+"/log"); strings.Count(got, "stdout:life\n") != 3 {
		t.Errorf("log %q", got)
	}
	if got := strings.Join(c.events(), ","); got != "start,die 3,start,die 3,start,die 3" {
		t.Errorf("events %s", got)
	}
	c.ended()
}

// A stop is final, whatever the policy says, and the container runs after a
// restart with what it had.
func TestRealRestartAlways(t *testing.T) {
	c := detached(t, record.RestartPolicy{Name: "always"}, `trap 'exit 0' TERM; echo up; if [ ! -e /tmp/again ]; then : > /tmp/again; exit 1; fi; while :; do sleep 0.05; done`)
	st := c.until("a restart", func(st *record.State) bool { return st.Status == record.Running && st.RestartCount == 1 })
	if who := (linux.Identity{PID: st.PID, StartTime: st.PIDStart, BootID: st.BootID}); !who.Alive() {
		t.Errorf("not alive: %+v", st)
	}
	checkDescriptors(t, st)
	// On a busy machine it runs before its trap stands.
	for end := time.Now().Add(10 * time.Second); strings.Count(logged(t, c.cfg.Dir+"/log"), "up") < 2 && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
	c.stop()
	if got := strings.Join(c.events(), ","); got != "start,die 1,start,kill 15,die 0,stop" {
		t.Errorf("events %s", got)
	}
}

// checkDescriptors looks for what a shim that executed itself should not have.
func checkDescriptors(t *testing.T, st *record.State) {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", st.ShimPID)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Skipf("cannot look at the shim's descriptors: %v", err)
	}
	seen := map[string]int{}
	for _, e := range entries {
		to, _ := os.Readlink(filepath.Join(dir, e.Name()))
		seen[to]++
	}
	for to, n := range seen {
		if strings.HasPrefix(to, "socket:") && n > 1 || strings.HasPrefix(to, "pipe:") && n > 1 || strings.Contains(to, "rc-init (deleted)") {
			t.Errorf("%d of %s among %v", n, to, seen)
		}
	}
	if len(entries) > 30 {
		t.Errorf("%d descriptors: %v", len(entries), seen)
	}
}

// A stop and a kill while it waits for the next start call that off.
func TestRealStopWhileRestarting(t *testing.T) {
	for name, q := range map[string]control.Request{
		"stop": {Op: control.OpStop, Timeout: time.Second},
		"kill": {Op: control.OpSignal, Signal: int(unix.SIGKILL)},
	} {
		c := detached(t, record.RestartPolicy{Name: "always"}, "exit 4")
		c.until(name, func(st *record.State) bool { return st.Status == record.Restarting && st.RestartCount >= 4 })
		// A wait is for the next end, not for the one that has been.
		waited := make(chan error, 1)
		go func() { _, err := c.ask(control.Request{Op: control.OpWait}); waited <- err }()
		time.Sleep(20 * time.Millisecond)
		_, err := c.ask(q)
		must(t, err)
		must(t, <-waited)
		c.ended()
		if st := c.state(); st.Status != record.Exited || st.ExitCode != 4 || !st.Stopped {
			t.Errorf("%s: %+v", name, st)
		}
	}
}

// One that waits over restarts hears of the end; the policy is read anew.
func TestRealPolicyIsReadAnew(t *testing.T) {
	c := detached(t, record.RestartPolicy{Name: "always"}, "exit 4")
	c.until("restarts", func(st *record.State) bool { return st.RestartCount >= 2 })
	must(t, c.store.EditContainer(testID, func(r *record.Container) error { r.Restart.Name = "no"; r.Name = "renamed"; return nil }))
	c.ended()
	if st := c.state(); st.Status != record.Exited || st.Stopped {
		t.Errorf("%+v", st)
	}
	data, err := os.ReadFile(c.store.EventsPath())
	must(t, err)
	if !strings.Contains(string(data), `"renamed"`) {
		t.Error("events keep the old name")
	}
}

// A container that somebody removes while it waits is not built again, and one
// whose configuration is broken says so.
func TestRealRestartRefused(t *testing.T) {
	c := detached(t, record.RestartPolicy{Name: "always"}, "exit 4")
	c.until("restarts", func(st *record.State) bool { return st.Status == record.Restarting && st.RestartCount >= 3 })
	_, err := c.store.Trash(testID)
	must(t, err)
	c.ended()

	c = detached(t, record.RestartPolicy{Name: "always"}, "exit 4")
	c.until("restarts", func(st *record.State) bool { return st.RestartCount >= 2 })
	c.cfg.Spec.Process.Args = []string{"/not/there"}
	c.keepConfig()
	c.ended()
	if st := c.state(); st.Status != record.Exited || st.ExitCode != 127 || !strings.Contains(st.Error, "/not/there") || st.PID != 0 {
		t.Errorf("%+v", st)
	}
}

// While config.json cannot be read the shim waits: a disk may come back.
func TestRealRestartWaitsForTheDisk(t *testing.T) {
	c := detached(t, record.RestartPolicy{Name: "on-failure", Max: 3}, "exit 4")
	c.until("restarts", func(st *record.State) bool { return st.RestartCount >= 2 })
	must(t, os.Rename(c.cfg.Dir+"/config.json", c.cfg.Dir+"/away"))
	time.Sleep(600 * time.Millisecond)
	must(t, os.Rename(c.cfg.Dir+"/away", c.cfg.Dir+"/config.json"))
	c.ended()
	if st := c.state(); st.Status != record.Exited || st.RestartCount != 3 || st.Error != "" {
		t.Errorf("%+v", st)
	}
}

// A configuration that was made where the state folder has been before still works.
func TestRealRestartInAMovedFolder(t *testing.T) {
	c := detached(t, record.RestartPolicy{Name: "on-failure", Max: 1}, "until [ -e /go ]; do sleep 0.05; done; exit 4")
	root := c.cfg.Root
	must(t, os.Rename(c.cfg.RootfsDir, root+"/rootfs"))
	c.cfg.Root, c.cfg.RootfsDir = "/was", "/was/rootfs"
	c.keepConfig()
	must(t, os.WriteFile(root+"/rootfs/go", nil, 0o644))
	c.ended()
	if st := c.state(); st.ExitCode != 4 || st.RestartCount != 1 || st.Error != "" {
		t.Errorf("%+v", st)
	}
}

// The attached rc hears of the first end and leaves; the container goes on.
func TestRealAttachedRestart(t *testing.T) {
	c := newContainer(t, "sh", "-c", "echo out; exit 6")
	c.keepConfig()
	must(t, c.store.SaveContainer(&record.Container{ID: testID, Name: "box", ImageName: "busybox", Labels: map[string]string{"a": "b"}, MachineID: record.MachineID(), Restart: record.RestartPolicy{Name: "always"}}))
	code, out, _ := c.run()
	if code != 6 || out != "out\n" {
		t.Errorf("%d %q", code, out)
	}
	c.until("restarts", func(st *record.State) bool { return st.RestartCount >= 2 })
	c.stop()
}

// A start of a container that has been refuses without losing what it was.
func TestRealStartAgainRefused(t *testing.T) {
	c := newContainer(t, "/not/there")
	c.cfg.Fresh = false
	finished := time.Now().Add(-time.Hour).Round(0)
	must(t, record.SaveState(c.cfg.Dir, &record.State{Status: record.Exited, ExitCode: 5, Finished: finished}, false))
	m := c.create()
	if m.Kind != start.KindFailed {
		t.Fatalf("%+v", m)
	}
	st := c.until("the refusal", func(st *record.State) bool { return st.Error != "" })
	if st.Status != record.Exited || st.ExitCode != 127 || !st.Finished.Equal(finished) {
		t.Errorf("%+v", st)
	}
}

// Processes below the shim are found, whatever they are called.
func TestDescendants(t *testing.T) {
	s := newStand(t, "sh", "-c", `echo ready; (sh -c 'sleep 300; :' & sleep 300); :`)
	_ = s
	var found []int
	for range 100 {
		if found = s.descendants(); len(found) >= 4 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if len(found) < 4 {
		t.Errorf("%v", found)
	}
	for _, pid := range found {
		if !s.stillBelow(pid) {
			t.Errorf("%d is not below us", pid)
		}
	}
	for _, pid := range found {
		_ = unix.Kill(pid, unix.SIGKILL)
	}
	if s.stillBelow(1) || s.stillBelow(0) {
		t.Error("init is below us")
	}
}
