package engine

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/atomicfile"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/stage/control"
)

// live is a container whose shim is the test: requests arrive in asked.
func (w *workshop) live(c byte, name string, answer func(control.Request) *control.Reply) (id string, asked chan control.Request, die func()) {
	w.Helper()
	asked = make(chan control.Request, 10)
	id = ident(c)
	cmd, shim := w.holder(id)
	w.put(&record.Container{ID: id, Name: name, StopSignal: 15, StopAfter: 3 * time.Second}, running(deadProcess(w.T), shim))
	die = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	w.shimOn(id, func(q control.Request) (*control.Reply, []*os.File) {
		asked <- q
		return answer(q), nil
	})
	return id, asked, die
}

func TestStopAsks(t *testing.T) {
	w := newWorkshop(t)
	var die func()
	long := 7 * time.Second
	_, asked, die := w.live('a', "web", func(control.Request) *control.Reply { die(); return &control.Reply{} })
	if err := w.Stop("web", StopOptions{Signal: 2, Timeout: &long}); err != nil {
		t.Fatal(err)
	}
	if q := <-asked; q.Op != control.OpStop || q.Signal != 2 || q.Timeout != long || q.Keep {
		t.Errorf("%+v", q)
	}
	never := -time.Second
	_, asked, die = w.live('b', "db", func(control.Request) *control.Reply { die(); return &control.Reply{} })
	must(t, w.Stop("db", StopOptions{Timeout: &never}))
	if q := <-asked; q.Timeout != forEver || q.Signal != 0 {
		t.Errorf("-1 is %v", q.Timeout)
	}
	// What does not run is left alone; what does not exist is not found.
	w.ended('c', "ended")
	must(t, w.Stop("ended", StopOptions{}))
	if err := w.Stop("nosuch", StopOptions{}); !errors.Is(err, record.ErrNoContainer) {
		t.Errorf("%v", err)
	}
}

// A shim whose socket went with its folder: the payload is signalled by its pidfd.
func TestStopWithoutASocket(t *testing.T) {
	w := newWorkshop(t)
	payload, who := sleeper(t)
	shimProcess, shim := sleeper(t) // without a lock, too
	w.put(&record.Container{ID: ident('a'), Name: "web", StopSignal: 15, StopAfter: 3 * time.Second}, running(who, shim))
	go func() {
		_ = payload.Wait()
		_ = shimProcess.Process.Kill()
		_ = shimProcess.Wait()
	}()
	begin := time.Now()
	if err := w.Stop("web", StopOptions{}); err != nil || time.Since(begin) > 2*time.Second {
		t.Errorf("%v after %v", err, time.Since(begin))
	}
	if payload.ProcessState == nil || payload.ProcessState.Success() {
		t.Error("the payload was not signalled")
	}
}

func TestSignalAndPause(t *testing.T) {
	w := newWorkshop(t)
	_, asked, _ := w.live('a', "web", func(control.Request) *control.Reply { return &control.Reply{} })
	must(t, w.Signal("web", int(unix.SIGHUP)))
	if q := <-asked; q.Op != control.OpSignal || q.Signal != int(unix.SIGHUP) {
		t.Errorf("%+v", q)
	}
	must(t, w.Pause("web", true))
	if q := <-asked; q.Op != control.OpPause {
		t.Errorf("%+v", q)
	}
	w.ended('b', "ended")
	for what, do := range map[string]func() error{
		"not paused":     func() error { return w.Pause("web", false) },
		"is not running": func() error { return w.Signal("ended", 9) },
		"not running":    func() error { return w.Pause("ended", true) },
	} {
		if err := do(); err == nil || !strings.Contains(err.Error(), what) || hint.ExitCode(err) != 1 {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestWait(t *testing.T) {
	w := newWorkshop(t)
	_, _, _ = w.live('a', "web", func(control.Request) *control.Reply {
		return &control.Reply{State: &record.State{ExitCode: 9}}
	})
	if code, err := w.Wait("web"); err != nil || code != 9 {
		t.Errorf("%d %v", code, err)
	}
	w.put(&record.Container{ID: ident('b'), Name: "done"}, &record.State{Status: record.Exited, ExitCode: 4})
	if code, err := w.Wait("done"); err != nil || code != 4 {
		t.Errorf("%d %v", code, err)
	}
	// Its shim is killed while we wait: the truth is looked up.
	var die func()
	id, _, die := w.live('c', "killed", func(control.Request) *control.Reply { die(); return nil })
	if code, err := w.Wait("killed"); err != nil || code != -1 {
		t.Errorf("%d %v", code, err)
	}
	if st, _ := w.Store.LoadState(id); st.Status != record.Exited {
		t.Errorf("%+v", st)
	}
}

func TestStartRefusals(t *testing.T) {
	w := newWorkshop(t)
	w.ended('a', "old") // of an rc without config.json
	if _, err := w.Start("old", plainly); err == nil || !strings.Contains(err.Error(), "older rc") {
		t.Errorf("%v", err)
	}
	_, asked, _ := w.live('b', "up", func(control.Request) *control.Reply { return &control.Reply{} })
	if code, err := w.Start("up", plainly); err != nil || code != 0 || len(asked) != 0 {
		t.Errorf("one that runs: %d %v", code, err)
	}
	st, _ := w.Store.LoadState(ident('b'))
	st.Status = record.Paused
	must(t, record.SaveState(w.Store.ContainerDir(ident('b')), st, atomicfile.Fast))
	if _, err := w.Start("up", plainly); err == nil || !strings.Contains(err.Error(), "rc unpause") {
		t.Errorf("%v", err)
	}
	id := w.ended('c', "stopped")
	w.saveConfig(id, nil)
	st = &record.State{Status: record.Exited, Stopped: true}
	must(t, record.SaveState(w.Store.ContainerDir(id), st, atomicfile.Fast))
	if code, err := w.Start("stopped", StartOptions{ByPolicy: true}); err != nil || code != 0 {
		t.Errorf("a policy starts what the user has stopped: %v", err)
	}
	id = w.put(&record.Container{ID: ident('d'), Name: "vol", Volumes: []record.VolumeUse{{Name: "gone", Destination: "/v"}}}, &record.State{Status: record.Exited})
	l := &launch{e: w.Engine, id: id}
	c, err := w.Store.LoadContainer(id)
	must(t, err)
	l.rec = *c
	if err := l.checkVolumes(); err == nil || !strings.Contains(err.Error(), "rc volume create gone") {
		t.Errorf("%v", err)
	}
}

// plainly is a start without flags.
var plainly = StartOptions{}
