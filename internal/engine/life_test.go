package engine

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/linux"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/stage/control"
	"github.com/rc-containers/rc/tests/accept"
)

// A start that was killed at any point before the payload ran leaves nothing.
func TestHalfMadeIsRemoved(t *testing.T) {
	for name, put := range map[string]func(*workshop) string{
		"a folder alone": func(w *workshop) string {
			must(w.T, os.Mkdir(w.Store.ContainerDir(ident('a')), 0o700))
			return ident('a')
		},
		"a part of a record": func(w *workshop) string {
			must(w.T, os.Mkdir(w.Store.ContainerDir(ident('a')), 0o700))
			must(w.T, os.WriteFile(w.Store.ContainerDir(ident('a'))+"/.container.json.1.1", []byte(`{"ID`), 0o600))
			return ident('a')
		},
		"no state": func(w *workshop) string { return w.put(&record.Container{ID: ident('a'), Name: "web"}, nil) },
		"created, its shim dead": func(w *workshop) string {
			dead := deadProcess(w.T)
			return w.put(&record.Container{ID: ident('a'), Name: "web"}, &record.State{Status: record.Created, Fresh: true, ShimPID: dead.PID, ShimStart: dead.StartTime, BootID: record.BootID()})
		},
		"a stale socket and lock": func(w *workshop) string {
			id := w.put(&record.Container{ID: ident('a'), Name: "web"}, nil)
			path, err := w.Store.ControlPath(id)
			must(w.T, err)
			must(w.T, os.WriteFile(path, nil, 0o600))
			lock, err := w.Store.TakeLife(id)
			must(w.T, err)
			must(w.T, lock.Close())
			return id
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorkshop(t)
			id := put(w)
			list, err := w.List()
			must(t, err)
			if len(list) != 0 {
				t.Errorf("listed as %+v", list)
			}
			w.gone(id, "web")
			if path, _ := w.Store.ControlPath(id); path != "" {
				if _, err := os.Lstat(path); !os.IsNotExist(err) {
					t.Error("its socket is left")
				}
			}
			must(t, w.reconcile(id)) // and again
			if len(w.warnings) > 0 {
				t.Error(w.warnings)
			}
		})
	}
}

// A container in the making has a live holder of its lock: nobody touches it.
func TestBeingMadeIsLeftAlone(t *testing.T) {
	w := newWorkshop(t)
	cmd, _ := w.holder(ident('a'))
	must(t, os.Mkdir(w.Store.ContainerDir(ident('a')), 0o700))
	if list, err := w.List(); err != nil || len(list) != 0 {
		t.Errorf("%+v %v", list, err)
	}
	if _, err := os.Lstat(w.Store.ContainerDir(ident('a'))); err != nil {
		t.Errorf("its folder was taken away: %v", err)
	}
	w.put(&record.Container{ID: ident('a'), Name: "web"}, nil)
	list, err := w.List()
	if err != nil || len(list) != 1 || list[0].State.Status != record.Created || !list[0].Alive || list[0].Running() {
		t.Errorf("%+v %v", list, err)
	}
	must(t, cmd.Process.Kill())
	_ = cmd.Wait()
	if list, err := w.List(); err != nil || len(list) != 0 {
		t.Errorf("after its death: %+v %v", list, err)
	}
	w.gone(ident('a'), "web")
}

// The shim was killed: the payload has lost its streams and is ended; the record
// says so.
func TestDeadShim(t *testing.T) {
	w := newWorkshop(t)
	cmd, who := sleeper(t)
	id := w.put(&record.Container{ID: ident('a'), Name: "web"}, running(who, deadProcess(t)))
	entry, err := w.Load(id)
	must(t, err)
	st := entry.State
	if st.Status != record.Exited || st.ExitCode != 137 || st.PID != 0 || st.Finished.IsZero() || !strings.Contains(st.Error, "its shim was killed") || entry.Alive || entry.Running() {
		t.Errorf("%+v", st)
	}
	state, err := cmd.Process.Wait()
	if err != nil || state.Success() {
		t.Errorf("the orphan still runs: %v %v", state, err)
	}
	again, err := w.Load(id) // at rest now
	if err != nil || again.State.Finished != st.Finished {
		t.Errorf("%v: the end was recorded twice", err)
	}
}

func TestDeadShimAndPayload(t *testing.T) {
	w := newWorkshop(t)
	id := w.put(&record.Container{ID: ident('a')}, running(deadProcess(t), deadProcess(t)))
	entry, err := w.Load(id)
	must(t, err)
	if st := entry.State; st.Status != record.Exited || st.ExitCode != -1 || !strings.Contains(st.Error, "not known") {
		t.Errorf("%+v", st)
	}
}

// A payload that ended by itself, and that nobody has reaped yet, was not killed
// by us: its code is not known.
func TestDeadShimAndZombie(t *testing.T) {
	w := newWorkshop(t)
	cmd, who := sleeper(t)
	must(t, cmd.Process.Signal(unix.SIGTERM))
	must(t, unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil))
	entry, err := w.Load(w.put(&record.Container{ID: ident('a')}, running(who, deadProcess(t))))
	must(t, err)
	if st := entry.State; st.Status != record.Exited || st.ExitCode != -1 {
		t.Errorf("%+v", st)
	}
}

func TestDeadShimOfAutoRemove(t *testing.T) {
	w := newWorkshop(t)
	cmd, who := sleeper(t)
	must(t, os.MkdirAll(w.Store.Path("volumes/anon/_data"), 0o700))
	must(t, os.MkdirAll(w.Store.Path("volumes/named/_data"), 0o700))
	id := w.put(&record.Container{ID: ident('a'), Name: "web", AutoRemove: true,
		Volumes: []record.VolumeUse{{Name: "anon", Anonymous: true}, {Name: "named"}}}, running(who, deadProcess(t)))
	if list, err := w.List(); err != nil || len(list) != 0 {
		t.Errorf("%+v %v", list, err)
	}
	w.gone(id, "web")
	if _, err := os.Lstat(w.Store.Path("volumes/anon")); !os.IsNotExist(err) {
		t.Error("the anonymous volume is left")
	}
	if _, err := os.Lstat(w.Store.Path("volumes/named/_data")); err != nil {
		t.Error("the named volume went, too")
	}
	if state, _ := cmd.Process.Wait(); state.Success() {
		t.Error("the orphan still runs")
	}
}

// TestRecycledPid: the pid in the record is somebody else's by now. It must live.
func TestRecycledPid(t *testing.T) {
	for name, spoil := range map[string]func(*record.State){
		"another start time": func(st *record.State) { st.PIDStart-- },
		"no start time":      func(st *record.State) { st.PIDStart = 0 },
		"another boot":       func(st *record.State) { st.BootID = "00000000-0000-0000-0000-000000000000" },
		"no boot":            func(st *record.State) { st.BootID = "" },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorkshop(t)
			cmd, who := sleeper(t)
			st := running(who, deadProcess(t))
			spoil(st)
			entry, err := w.Load(w.put(&record.Container{ID: ident('a')}, st))
			must(t, err)
			stillRuns(t, cmd, name)
			if entry.State.Status != record.Exited || entry.State.ExitCode != -1 {
				t.Errorf("%+v", entry.State)
			}
			if boot := strings.Contains(entry.State.Error, "restarted"); boot != strings.Contains(name, "boot") {
				t.Errorf("%q", entry.State.Error)
			}
		})
	}
	for _, pid := range []int{0, -1, 1} { // of a broken record: never a group, never init
		w := newWorkshop(t)
		st := &record.State{Status: record.Running, PID: pid, PIDStart: 1, BootID: record.BootID()}
		if _, err := w.Load(w.put(&record.Container{ID: ident('a')}, st)); err != nil {
			t.Error(err)
		}
	}
}

// Another host's container on a shared home is shown as its record says.
func TestOtherHostIsLeftAlone(t *testing.T) {
	w := newWorkshop(t)
	cmd, who := sleeper(t)
	id := w.put(&record.Container{ID: ident('a'), Name: "far", MachineID: "another"}, running(who, deadProcess(t)))
	entry, err := w.Load(id)
	must(t, err)
	stillRuns(t, cmd, "another host's")
	if entry.State.Status != record.Running || entry.Alive || entry.Running() {
		t.Errorf("%+v", entry)
	}
	if _, err := w.Remove("far", false, false); err == nil || !strings.Contains(err.Error(), "another host") || hint.ExitCode(err) != 1 {
		t.Errorf("removed under its feet: %v", err)
	}
	if _, err := w.Remove("far", true, false); err != nil {
		t.Error(err)
	}
	stillRuns(t, cmd, "another host's, by force")
	w.gone(id, "far")
}

// The runtime folder went with a logout: no lock, but the shim itself is seen.
func TestShimWithoutItsLock(t *testing.T) {
	w := newWorkshop(t)
	cmd, shim := sleeper(t)
	payload, who := sleeper(t)
	id := w.put(&record.Container{ID: ident('a'), Name: "web"}, running(who, shim))
	entry, err := w.Load(id)
	must(t, err)
	if !entry.Alive || !entry.Running() {
		t.Errorf("%+v", entry.State)
	}
	stillRuns(t, payload, "of a live shim")
	stillRuns(t, cmd, "a live shim")
	if _, err := w.Remove("web", false, false); err == nil || !strings.Contains(err.Error(), "it is running") {
		t.Errorf("%v", err)
	}
}

// Twenty readers at once repair one container: one of them does, and none says
// at any moment that it runs.
func TestNoLieWhileItIsRepaired(t *testing.T) {
	for range 5 {
		w := newWorkshop(t)
		cmd, who := sleeper(t)
		go func() { _, _ = cmd.Process.Wait() }()
		id := w.put(&record.Container{ID: ident('a'), Name: "web"}, running(who, deadProcess(t)))
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				entry, err := w.Load(id)
				if err != nil || entry.Running() || entry.State.Status != record.Exited {
					t.Errorf("%+v %v", entry, err)
				}
			})
		}
		wg.Wait()
	}
}

// A damaged record, as a power cut leaves it, is told and can be removed.
func TestDamagedRecord(t *testing.T) {
	for _, file := range []string{"container.json", "state.json"} {
		w := newWorkshop(t)
		id := w.put(&record.Container{ID: ident('a'), Name: "web"}, &record.State{Status: record.Exited})
		fine := w.put(&record.Container{ID: ident('b'), Name: "fine"}, &record.State{Status: record.Exited})
		must(t, os.WriteFile(w.Store.ContainerDir(id)+"/"+file, []byte("{"), 0o600))
		list, err := w.List()
		if err != nil || len(list) != 1 || list[0].ID != fine || len(w.warnings) != 1 || !strings.Contains(w.warnings[0], "aaaaaaaaaaaa") {
			t.Errorf("%s: %+v %v %q", file, list, err, w.warnings)
		}
		_, err = w.Remove(id, false, false)
		if err == nil || !strings.Contains(err.Error(), "rc rm -f") || hint.ExitCode(err) != 1 {
			t.Errorf("%s: %v", file, err)
		}
		if _, err := w.Remove(id, true, false); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		if _, err := os.Lstat(w.Store.ContainerDir(id)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: the folder is left", file)
		}
	}
}

// A record without bytes beside a state that has some: listed with what else is known.
func TestRecordThatAPowerCutTook(t *testing.T) {
	for _, named := range []bool{true, false} {
		w := newWorkshop(t)
		id := w.put(&record.Container{ID: ident('a'), Name: "web"}, &record.State{Status: record.Running, BootID: "another"})
		must(t, os.WriteFile(w.Store.ContainerDir(id)+"/container.json", nil, 0o600))
		must(t, os.MkdirAll(w.Store.Path("images", ident('e'), "users"), 0o700))
		must(t, os.WriteFile(w.Store.Path("images", ident('e'), "users", id), nil, 0o600))
		_ = os.Remove(w.Store.Path("container-names", "web"))
		if named {
			must(t, w.Store.ClaimName("web", id))
		}
		list, err := w.List()
		if err != nil || len(list) != 1 || len(w.warnings) != 0 {
			t.Fatalf("%+v %v %q", list, err, w.warnings)
		}
		c := list[0]
		if c.ID != id || c.Name == "" || named != (c.Name == "web") || c.Image != ident('e') || c.State.Status != record.Exited || c.State.Error == "" {
			t.Errorf("listed as %+v", c)
		}
		if holder, err := w.Store.NameHolder(c.Name); holder != id || err != nil {
			t.Errorf("the name %q is held by %q, %v", c.Name, holder, err)
		}
		if _, err := w.Remove(c.Name, false, false); err != nil {
			t.Error(err)
		}
		for _, left := range []string{w.Store.ContainerDir(id), w.Store.Path("container-names", c.Name), w.Store.Path("images", ident('e'), "users", id)} {
			if _, err := os.Lstat(left); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("left: %s", left)
			}
		}
	}
}

func TestListNewestFirstAndTrash(t *testing.T) {
	w := newWorkshop(t)
	for i, c := range []byte{'a', 'b', 'c'} {
		w.put(&record.Container{ID: ident(c), Created: time.Unix(int64([]int{5, 9, 1}[i]), 0)}, &record.State{Status: record.Exited})
	}
	must(t, os.MkdirAll(w.Store.Path("trash", ident('d'), "upper/deep"), 0o700)) // an interrupted removal
	must(t, os.Chmod(w.Store.Path("trash", ident('d'), "upper"), 0o700))
	list, err := w.List()
	must(t, err)
	var order []byte
	for _, e := range list {
		order = append(order, e.ID[0])
	}
	if string(order) != "bac" {
		t.Errorf("%s", order)
	}
	if left, _ := os.ReadDir(w.Store.Path("trash")); len(left) > 0 {
		t.Errorf("%v", left)
	}
}

func TestRemove(t *testing.T) {
	w := newWorkshop(t)
	id := w.put(&record.Container{ID: ident('a'), Name: "web"}, &record.State{Status: record.Exited})
	if got, err := w.Remove("web", false, false); err != nil || got != id {
		t.Errorf("%s %v", got, err)
	}
	w.gone(id, "web")
	if _, err := w.Remove("web", false, false); !errors.Is(err, record.ErrNoContainer) {
		t.Errorf("%v", err)
	}
	id = w.put(&record.Container{ID: ident('b'), Name: "busy"}, &record.State{Status: record.Exited})
	lock, err := w.Store.TakeLife(id)
	must(t, err)
	defer lock.Close()
	if _, err := w.Remove("busy", false, false); err == nil || hint.ExitCode(err) != 1 {
		t.Errorf("somebody works on it: %v", err)
	}
}

// Ten at once remove one container: all are content, nothing is left.
func TestRemoveRace(t *testing.T) {
	w := newWorkshop(t)
	for range 10 {
		id := w.put(&record.Container{ID: ident('a'), Name: "web"}, &record.State{Status: record.Exited})
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				_, err := (&Engine{Store: w.Store, Warn: func(string) {}}).Remove(id, false, false)
				if err != nil && !errors.Is(err, record.ErrNoContainer) && !errors.Is(err, unix.EWOULDBLOCK) && !strings.Contains(err.Error(), "it is running") {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		w.gone(id, "web")
	}
}

// shimOn plays a container's control socket.
func (w *workshop) shimOn(id string, answer func(control.Request) (*control.Reply, []*os.File)) {
	w.Helper()
	path, err := w.Store.ControlPath(id)
	must(w.T, err)
	l, err := stage.Listen(path)
	must(w.T, err)
	w.Cleanup(func() { l.Close() })
	accept.Each(l, func(c *stage.Conn) {
		var q control.Request
		if _, err := c.Recv(&q); err == nil {
			r, files := answer(q)
			_ = c.Send(r, files...)
			stage.CloseFiles(files)
		}
	})
}

func TestRemoveRunning(t *testing.T) {
	w := newWorkshop(t)
	cmd, shim := w.holder(ident('a'))
	id := w.put(&record.Container{ID: ident('a'), Name: "web"}, running(deadProcess(t), shim))
	heard := make(chan control.Request, 1)
	w.shimOn(id, func(q control.Request) (*control.Reply, []*os.File) {
		heard <- q
		st := &record.State{Status: record.Exited}
		_ = record.SaveState(w.Store.ContainerDir(id), st, false)
		_ = cmd.Process.Kill() // its shim ends with the payload
		go func() { _ = cmd.Wait() }()
		return &control.Reply{}, nil
	})
	if _, err := w.Remove("web", false, false); err == nil || !strings.Contains(err.Error(), "it is running") || hint.ExitCode(err) != 1 {
		t.Fatalf("%v", err)
	}
	if _, err := w.Remove("web", true, false); err != nil {
		t.Fatal(err)
	}
	if q := <-heard; q.Op != control.OpSignal || q.Signal != int(unix.SIGKILL) {
		t.Errorf("%+v", q)
	}
	if _, err := os.Lstat(w.Store.ContainerDir(id)); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the folder is left")
	}
}

func TestShimDied(t *testing.T) {
	w := newWorkshop(t)
	cmd, who := sleeper(t)
	go func() { _, _ = cmd.Process.Wait() }()
	id := w.put(&record.Container{ID: ident('a')}, running(who, deadProcess(t)))
	err := w.shimDied(id, unix.ECONNRESET)
	if hint.ExitCode(err) != hint.ExitRefused || !errors.Is(err, unix.ECONNRESET) || strings.Contains(err.Error(), "\n") {
		t.Errorf("%v", err)
	}
	if st, _ := w.Store.LoadState(id); st.Status != record.Exited {
		t.Errorf("%+v", st)
	}
}

func TestHidden(t *testing.T) {
	if hidden(os.Getpid()) || hidden(deadProcess(t).PID) {
		t.Error("neither is")
	}
	var nobody linux.Identity
	if shimLives(nil) || shimLives(&record.State{ShimPID: nobody.PID}) {
		t.Error("nobody lives")
	}
}
