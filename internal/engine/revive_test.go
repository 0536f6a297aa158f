package engine

import (
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rc-containers/rc/internal/atomicfile"
	"github.com/rc-containers/rc/internal/linux"
	"github.com/rc-containers/rc/internal/record"
)

func TestRestartWanted(t *testing.T) {
	for _, c := range []struct {
		policy record.RestartPolicy
		st     record.State
		want   bool
	}{
		{record.RestartPolicy{}, record.State{ExitCode: 1}, false},
		{record.RestartPolicy{Name: "always"}, record.State{}, true},
		{record.RestartPolicy{Name: "always"}, record.State{Stopped: true}, false},
		{record.RestartPolicy{Name: "unless-stopped"}, record.State{ExitCode: 137}, true},
		{record.RestartPolicy{Name: "unless-stopped"}, record.State{Stopped: true}, false},
		{record.RestartPolicy{Name: "on-failure"}, record.State{}, false},
		{record.RestartPolicy{Name: "on-failure"}, record.State{ExitCode: -1}, true},
		{record.RestartPolicy{Name: "on-failure", Max: 2}, record.State{ExitCode: 3, RestartCount: 1}, true},
		{record.RestartPolicy{Name: "on-failure", Max: 2}, record.State{ExitCode: 3, RestartCount: 2}, false},
	} {
		if got := restartWanted(&record.Container{Restart: c.policy}, &c.st); got != c.want {
			t.Errorf("%+v after %+v: %v", c.policy, c.st, got)
		}
	}
}

func TestStartsOnBoot(t *testing.T) {
	ran := time.Now().Add(-time.Hour)
	old := record.State{Status: record.Exited, Started: ran, BootID: "earlier", ExitCode: -1}
	for _, c := range []struct {
		policy string
		change func(*Entry)
		want   bool
	}{
		{"always", func(*Entry) {}, true},
		{"always", func(c *Entry) { c.State.Stopped = true }, true}, // Docker: a daemon's start starts it all the same
		{"always", func(c *Entry) { c.State.BootID = record.BootID() }, false},
		{"always", func(c *Entry) { c.State.Started = time.Time{} }, false},
		{"always", func(c *Entry) { c.Alive = true }, false},
		{"always", func(c *Entry) { c.MachineID = "other" }, false},
		{"unless-stopped", func(*Entry) {}, true},
		{"unless-stopped", func(c *Entry) { c.State.Stopped = true }, false},
		{"on-failure", func(*Entry) {}, true},
		{"on-failure", func(c *Entry) { c.State.ExitCode = 0 }, false},
		{"", func(*Entry) {}, false},
	} {
		e := &Entry{Container: record.Container{MachineID: record.MachineID(), Restart: record.RestartPolicy{Name: c.policy}}, State: old}
		c.change(e)
		if got := e.StartsOnBoot(); got != c.want {
			t.Errorf("%s, %+v: %v", c.policy, e.State, got)
		}
	}
}

// Who finds a container dead whose policy wants it alive notes it; a stop of the
// same command takes it off again and says so in the record.
func TestDeadShimWithPolicy(t *testing.T) {
	w := newWorkshop(t)
	id := w.put(&record.Container{ID: ident('a'), Name: "web", Restart: record.RestartPolicy{Name: "always"}}, running(deadProcess(t), deadProcess(t)))
	entry, err := w.Load(id)
	must(t, err)
	if entry.State.Status != record.Exited || !w.Engine.revive[id] {
		t.Errorf("%+v %v", entry.State, w.Engine.revive)
	}
	must(t, w.Stop("web", StopOptions{}))
	if st, _ := w.Store.LoadState(id); len(w.Engine.revive) != 0 || !st.Stopped {
		t.Errorf("%+v %v", st, w.Engine.revive)
	}
	// Nothing is revived of an earlier boot: that is the boot unit's.
	st := running(deadProcess(t), deadProcess(t))
	st.BootID = "earlier"
	id = w.put(&record.Container{ID: ident('b'), Name: "old", Restart: record.RestartPolicy{Name: "always"}}, st)
	entry, err = w.Load(id)
	if err != nil || len(w.Engine.revive) != 0 || !strings.Contains(entry.State.Error, "restarted") || entry.State.ExitCode != -1 {
		t.Errorf("%+v %v %v", entry.State, err, w.Engine.revive)
	}
}

// A container that waited to restart has ended before: that code stays.
func TestDeadShimWhileRestarting(t *testing.T) {
	w := newWorkshop(t)
	st := running(deadProcess(t), deadProcess(t))
	st.Status, st.ExitCode, st.NextStart = record.Restarting, 7, time.Now().Add(time.Minute)
	id := w.put(&record.Container{ID: ident('a'), Name: "web"}, st)
	entry, err := w.Load(id)
	if err != nil || entry.State.Status != record.Exited || entry.State.ExitCode != 7 || !entry.State.NextStart.IsZero() {
		t.Errorf("%+v %v", entry, err)
	}
}

// A created container whose first start was interrupted is a created one still.
func TestInterruptedFirstStart(t *testing.T) {
	w := newWorkshop(t)
	dead := deadProcess(t)
	id := w.put(&record.Container{ID: ident('a'), Name: "web"}, &record.State{Status: record.Created, ShimPID: dead.PID, ShimStart: dead.StartTime, BootID: record.BootID()})
	entry, err := w.Load(id)
	if err != nil || entry.State.Status != record.Created || entry.State.ShimPID != 0 || entry.State.Error == "" {
		t.Errorf("%+v %v", entry, err)
	}
}

// A power cut can take the bytes of a state: the container's files stay.
func TestStateWithoutBytes(t *testing.T) {
	w := newWorkshop(t)
	id := w.put(&record.Container{ID: ident('a'), Name: "web"}, running(deadProcess(t), deadProcess(t)))
	must(t, os.WriteFile(w.Store.ContainerDir(id)+"/state.json", nil, 0o600))
	entry, err := w.Load(id)
	if err != nil || entry.State.Status != record.Exited || entry.State.ExitCode != -1 {
		t.Fatalf("%+v %v", entry, err)
	}
	if _, err := os.Lstat(w.Store.ContainerDir(id) + "/upper"); err != nil {
		t.Error(err)
	}
}

// The runtime folder went with a logout: the next command makes another and tells
// the shims, and nobody else.
func TestRecall(t *testing.T) {
	w := newWorkshop(t)
	called := make(chan os.Signal, 4)
	signal.Notify(called, syscall.SIGUSR2)
	defer signal.Stop(called)
	me, err := linux.IdentityOf(os.Getpid())
	must(t, err)
	id := w.put(&record.Container{ID: ident('a'), Name: "web"}, running(me, me))
	recycled := me
	recycled.StartTime++
	w.put(&record.Container{ID: ident('b'), Name: "old"}, running(recycled, recycled))
	w.put(&record.Container{ID: ident('c'), Name: "far", MachineID: "other"}, running(me, me))
	before, err := w.Store.Runtime()
	must(t, err)
	must(t, os.RemoveAll(before))
	answered := make(chan struct{})
	go func() { // as the shim does
		<-called
		store := &record.Store{Root: w.Store.Root}
		if path, err := store.ControlPath(id); err == nil {
			_ = os.WriteFile(path, nil, 0o600)
		}
		close(answered)
	}()
	e, err := Open(w.Store.Root)
	must(t, err)
	defer e.Close()
	<-answered
	if after, err := e.Store.Runtime(); err != nil || after == before {
		t.Errorf("%s %v", after, err)
	}
	select {
	case <-called:
		t.Error("more than one signal came")
	case <-time.After(50 * time.Millisecond):
	}
	if again, err := Open(w.Store.Root); err != nil || again.Store.Remade() {
		t.Errorf("made anew twice: %v", err)
	}
}

// What is started by policy is a process of its own, of this rc and this root.
func TestReviveAll(t *testing.T) {
	w := newWorkshop(t)
	out := filepath.Join(t.TempDir(), "args")
	t.Setenv(reviveRole, out)
	w.reviveLater(ident('a'))
	w.Close()
	var text []byte
	for range 200 {
		if text, _ = os.ReadFile(out); len(text) > 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if want := "--root " + w.Store.Root + " start --by-policy " + ident('a'); string(text) != want {
		t.Errorf("%q, want %q", text, want)
	}
}

// A shim that was killed after it had let the payload go, and before it had said so,
// leaves an orphan to the rc that waits for its word. One that lives ends it itself.
func TestHalfStartedIsEnded(t *testing.T) {
	w := newWorkshop(t)
	cmd, who := sleeper(t)
	_, shim := sleeper(t)
	l := &launch{e: w.Engine, id: w.put(&record.Container{ID: ident('a')}, running(who, shim))}
	l.endHalfStarted(errBrokeOff)
	stillRuns(t, cmd, "its shim lives")
	must(t, record.SaveState(w.Store.ContainerDir(l.id), running(who, deadProcess(t)), atomicfile.Fast))
	l.endHalfStarted(syscall.ENOENT)
	stillRuns(t, cmd, "a refusal in the shim's own words")
	l.endHalfStarted(errBrokeOff)
	if state, _ := cmd.Process.Wait(); state.Success() {
		t.Error("the orphan still runs")
	}
}
