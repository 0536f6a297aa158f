package engine

import (
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/rc-containers/rc/cgroup"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/stage/start"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// saveConfig writes a config.json beside a record that put made.
func (w *workshop) saveConfig(id string, change func(*start.Config)) {
	w.Helper()
	c := &start.Config{ID: id, Spec: &specs.Spec{Process: &specs.Process{}, Linux: &specs.Linux{}}, ShmMount: -1}
	if change != nil {
		change(c)
	}
	data, err := stage.Encode(c)
	must(w.T, err)
	must(w.T, os.WriteFile(w.Store.ContainerDir(id)+"/config.json", data, 0o600))
}

func (w *workshop) ended(c byte, name string) string {
	return w.put(&record.Container{ID: ident(c), Name: name}, &record.State{Status: record.Exited})
}

func TestRename(t *testing.T) {
	w := newWorkshop(t)
	id := w.ended('a', "old")
	w.ended('b', "taken")
	must(t, w.Rename("old", "new"))
	if c, err := w.Store.LoadContainer(id); err != nil || c.Name != "new" {
		t.Errorf("%+v %v", c, err)
	}
	if got, err := w.Store.FindContainer("new"); err != nil || got != id {
		t.Errorf("%s %v", got, err)
	}
	if _, err := w.Store.FindContainer("old"); err == nil {
		t.Error("the old name is still held")
	}
	for name, says := range map[string]string{"taken": "in use", "new": "already", "-x": "a letter or digit first", "": "name"} {
		if err := w.Rename("new", name); err == nil || !strings.Contains(err.Error(), says) || hint.ExitCode(err) != 1 {
			t.Errorf("to %q: %v", name, err)
		}
	}
	if c, err := w.Store.LoadContainer(id); err != nil || c.Name != "new" {
		t.Errorf("a refused rename changed it: %+v %v", c, err)
	}
}

// A rename that was killed between its steps: both names lead there, the wrong one
// is free to whoever wants it, and the rename can be done again.
func TestRenameKilled(t *testing.T) {
	w := newWorkshop(t)
	id := w.ended('a', "old")
	other := w.ended('b', "other")
	must(t, w.Store.ClaimName("new", id))
	must(t, w.Rename("other", "new"))
	if got, _ := w.Store.NameHolder("new"); got != other {
		t.Errorf("%s has it", got)
	}
	must(t, w.Store.ClaimName("again", id))
	must(t, w.Rename("old", "again"))
	if c, _ := w.Store.LoadContainer(id); c.Name != "again" {
		t.Errorf("%+v", c)
	}
}

func TestUpdate(t *testing.T) {
	w := newWorkshop(t)
	id := w.ended('a', "web")
	w.saveConfig(id, func(c *start.Config) { c.Again.Resources.PidsLimit = 5 })
	must(t, w.Update("web", Change{Restart: &record.RestartPolicy{Name: "on-failure", Max: 2}}))
	if c, _ := w.Store.LoadContainer(id); c.Restart.Name != "on-failure" || c.Restart.Max != 2 {
		t.Errorf("%+v", c.Restart)
	}
	limit := func(n int64) func(*cgroup.Resources) error {
		return func(r *cgroup.Resources) error { r.Memory = n; return nil }
	}
	if err := w.Update("web", Change{Limits: limit(5)}); err == nil || !strings.Contains(err.Error(), "6m") {
		t.Errorf("%v", err)
	}
	if _, ferr := cgroup.Find(); ferr == nil {
		must(t, w.Update("web", Change{Limits: limit(64 << 20)}))
		if c, err := w.LoadConfig(id); err != nil || c.Again.Resources.Memory != 64<<20 || c.Again.Resources.PidsLimit != 5 {
			t.Errorf("%+v %v", c, err)
		}
	} else if err := w.Update("web", Change{Limits: limit(64 << 20)}); err == nil {
		t.Error("a limit that no cgroup holds was taken")
	}
	w.put(&record.Container{ID: ident('b'), Name: "rm", AutoRemove: true}, &record.State{Status: record.Exited})
	if err := w.Update("rm", Change{Restart: &record.RestartPolicy{Name: "always"}}); err == nil || !strings.Contains(err.Error(), "--rm") {
		t.Errorf("%v", err)
	}
}

// Another host's container is shown and not touched by any verb.
func TestElsewhere(t *testing.T) {
	w := newWorkshop(t)
	id := w.put(&record.Container{ID: ident('a'), Name: "far", MachineID: "other-host"}, &record.State{Status: record.Running, PID: 1})
	w.saveConfig(id, nil)
	before, _ := os.ReadFile(w.Store.ContainerDir(id) + "/state.json")
	for name, do := range map[string]func() error{
		"start":   func() error { _, err := w.Start("far", StartOptions{}); return err },
		"stop":    func() error { return w.Stop("far", StopOptions{}) },
		"kill":    func() error { return w.Signal("far", 9) },
		"restart": func() error { return w.Restart("far", StopOptions{}) },
		"pause":   func() error { return w.Pause("far", true) },
		"wait":    func() error { _, err := w.Wait("far"); return err },
		"rename":  func() error { return w.Rename("far", "near") },
		"update":  func() error { return w.Update("far", Change{Restart: &record.RestartPolicy{}}) },
		"port":    func() error { _, err := w.Ports("far"); return err },
		"rm":      func() error { _, err := w.Remove("far", false, false); return err },
	} {
		if err := do(); err == nil || !strings.Contains(err.Error(), "other-host") || hint.ExitCode(err) != 1 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if after, _ := os.ReadFile(w.Store.ContainerDir(id) + "/state.json"); string(after) != string(before) {
		t.Errorf("its state is now %s", after)
	}
}

// Renames to and fro at once: one name is left, and it is the record's.
func TestRenameRace(t *testing.T) {
	w := newWorkshop(t)
	id := w.ended('a', "one")
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() { _ = w.Rename("one", "two") })
		wg.Go(func() { _ = w.Rename("two", "one") })
	}
	wg.Wait()
	names := namesIn(w.Store.Path("container-names"))
	c, err := w.Store.LoadContainer(id)
	if err != nil || len(names) != 1 || names[0] != c.Name {
		t.Errorf("%q, and the record says %+v %v", names, c, err)
	}
}
