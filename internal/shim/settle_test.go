package shim

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/stage/control"
)

// settled waits until the shim has executed itself: its handover takes the place of
// the conversation.
func (c *container) settled(st *record.State) {
	c.Helper()
	for range 1000 {
		to, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/4", st.ShimPID))
		if err == nil && !strings.HasPrefix(to, "socket:") {
			return
		}
		// Until then its memory is the host's user namespace's, and EACCES for us.
		time.Sleep(10 * time.Millisecond)
	}
	c.Fatal("the shim did not settle")
}

// Nothing that the payload writes is lost, torn or twice, while the shim executes
// itself in the midst of it, to go on or to sleep.
func TestRealSettleLosesNothing(t *testing.T) {
	for _, role := range []string{"rc-shim", settling} {
		t.Run(role, func(t *testing.T) {
			shimRole = role
			defer func() { shimRole = "rc-shim" }()
			losesNothing(t)
		})
	}
}

func losesNothing(t *testing.T) {
	c := detached(t, record.RestartPolicy{}, `i=0; while [ $i -lt 60000 ]; do echo "line $i of many that the payload writes as fast as it can"; i=$((i+1)); [ $((i % 100)) = 0 ] && echo "err $i" >&2; done; printf 'no newline'; sleep 1; echo ' and now'`)
	st := c.state()
	c.settled(st)
	r, err := c.ask(control.Request{Op: control.OpState})
	must(t, err)
	if r.State.Status != record.Running || r.State.PID != st.PID {
		t.Errorf("%+v", r.State)
	}
	within(t, "the end", func() { _, _ = c.shim.Wait() })
	f, err := os.Open(c.cfg.Dir + "/log")
	must(t, err)
	defer f.Close()
	next, errs, last := 0, 0, ""
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var e struct{ Log, Stream string }
		must(t, json.Unmarshal(lines.Bytes(), &e))
		switch {
		case e.Stream == "stderr":
			if errs += 100; e.Log != fmt.Sprintf("err %d\n", errs) {
				t.Fatalf("%q, not %d", e.Log, errs)
			}
		case next == 60000:
			last += e.Log
		default:
			if e.Log != fmt.Sprintf("line %d of many that the payload writes as fast as it can\n", next) {
				t.Fatalf("%q, not %d", e.Log, next)
			}
			next++
		}
	}
	if next != 60000 || errs != 60000 || last != "no newline and now\n" {
		t.Errorf("%d lines, %d, then %q", next, errs, last)
	}
	if st := c.state(); st.Status != record.Exited || st.ExitCode != 0 {
		t.Errorf("%+v", st)
	}
	c.ended()
}

// Who waited before hears of the end after; stop, pause, namespaces and the root
// work as before; a second settling too.
func TestRealSettled(t *testing.T) {
	c := detached(t, record.RestartPolicy{}, `trap 'exit 9' TERM; while :; do sleep 0.05; done`)
	waited := make(chan *control.Reply, 2)
	wait := func() {
		r, err := c.ask(control.Request{Op: control.OpWait})
		if err != nil {
			t.Error(err)
		}
		waited <- r
	}
	go wait()
	st := c.state()
	c.settled(st)
	go wait()
	checkDescriptors(t, st)
	path, err := c.store.ControlPath(testID)
	must(t, err)
	for _, q := range []control.Op{control.OpNamespaces, control.OpRoot} {
		r, files, err := control.Ask(path, control.Request{Op: q}, 5*time.Second)
		if err != nil || len(files) == 0 {
			t.Errorf("%s: %+v %v", q, r, err)
		}
		stage.CloseFiles(files)
	}
	for _, step := range []struct {
		op   control.Op
		want record.Status
	}{{control.OpPause, record.Paused}, {control.OpUnpause, record.Running}} {
		r, err := c.ask(control.Request{Op: step.op})
		must(t, err)
		if r.State.Status != step.want || c.state().Status != step.want {
			t.Errorf("%s: %+v", step.op, r.State)
		}
		if _, err := c.ask(control.Request{Op: step.op}); err == nil {
			t.Errorf("%s twice", step.op)
		}
	}
	alive, err := c.store.Alive(testID)
	if err != nil || !alive {
		t.Errorf("the life lock is not held: %v", err)
	}
	r, err := c.ask(control.Request{Op: control.OpStop, Timeout: 10 * time.Second})
	must(t, err)
	if r.State.ExitCode != 9 {
		t.Errorf("%+v", r.State)
	}
	for range 2 {
		if r := <-waited; r == nil || r.State.ExitCode != 9 || r.State.Status != record.Exited {
			t.Errorf("waited: %+v", r)
		}
	}
	c.ended()
}

// A paused container is thawed by a stop, and ends.
func TestRealStopPaused(t *testing.T) {
	c := detached(t, record.RestartPolicy{}, `trap 'exit 7' TERM; while :; do sleep 0.05; done`)
	c.handles(unix.SIGTERM)
	r, err := c.ask(control.Request{Op: control.OpPause})
	must(t, err)
	if r.Note == "" { // the test has no cgroup
		t.Error("a pause by signals says nothing")
	}
	c.stop()
	if st := c.state(); st.ExitCode != 7 {
		t.Errorf("%+v", st)
	}
}

// handles waits until the payload has a handler of its own for sig: a first process
// without one does not hear it (pid_namespaces(7)).
func (c *container) handles(sig unix.Signal) {
	c.Helper()
	for range 500 {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.state().PID))
		must(c.T, err)
		_, rest, _ := strings.Cut(string(text), "\nSigCgt:\t")
		caught, _ := strconv.ParseUint(rest[:min(16, len(rest))], 16, 64)
		if caught>>(sig-1)&1 == 1 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	c.Fatalf("the payload has no handler for %v", sig)
}

// The shim's own program is what runs inside, and nobody can write to it.
func TestOwnProgram(t *testing.T) {
	self, err := os.Open("/proc/self/exe")
	must(t, err)
	defer self.Close()
	f, err := copyProgram(self)
	must(t, err)
	defer f.Close()
	if w, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), os.O_WRONLY, 0); err == nil {
		if _, err = w.Write([]byte("x")); err == nil {
			t.Error("the copy can be written to")
		}
		_ = w.Close()
	}
	var st, mine unix.Stat_t
	must(t, unix.Fstat(int(f.Fd()), &st))
	must(t, unix.Fstat(int(self.Fd()), &mine))
	if st.Size != mine.Size {
		t.Errorf("%d of %d bytes", st.Size, mine.Size)
	}
}

// A logout takes the runtime folder away; the shim is found again in the next.
func TestRealReopen(t *testing.T) {
	c := detached(t, record.RestartPolicy{}, `trap 'exit 9' TERM; while :; do sleep 0.05; done`)
	c.settled(c.state())
	old, err := c.store.Runtime()
	must(t, err)
	must(t, os.RemoveAll(old))
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	c.store, err = record.Open(c.store.Root)
	must(t, err)
	dir, err := c.store.Runtime()
	must(t, err)
	if dir == old {
		t.Fatal("the same folder")
	}
	must(t, c.shim.Signal(unix.SIGUSR2))
	for range 500 {
		if alive, err := c.store.Alive(testID); err == nil && alive {
			if _, err := c.ask(control.Request{Op: control.OpState}); err == nil {
				break
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	c.stop()
}
