package shim

import (
	"fmt"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/stage/control"
	"github.com/rc-containers/rc/internal/stage/start"
)

// What --health-on-failure began goes on, although the shim has nothing else to do and
// would execute itself: the kill after the patience, and the start after the end.
func TestRealUnwellStaysAwake(t *testing.T) {
	for action, want := range map[string]func(*record.State) bool{
		"restart": func(st *record.State) bool { return st.Status == record.Running && st.RestartCount == 1 },
		"stop":    func(st *record.State) bool { return st.Status == record.Exited && st.ExitCode == 137 },
	} {
		t.Run(action, func(t *testing.T) {
			c := newContainer(t, "sh", "-c", `trap "" TERM; while :; do sleep 0.1; done`)
			c.cfg.Detach, c.cfg.StopAfter = true, time.Second // ten times what it takes to park
			c.cfg.Health = &record.Healthcheck{Test: []string{"CMD", "nothing"}, Interval: 12 * time.Second, StartInterval: 100 * time.Millisecond, StartPeriod: 50 * time.Millisecond, Retries: 1, OnFailure: action}
			c.keepConfig()
			c.begin()
			c.until(action, want)
		})
	}
}

// descriptors counts those of the shim.
func (c *container) descriptors() int {
	c.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", c.shim.PID))
	if err != nil {
		c.Skipf("cannot look at the shim's descriptors: %v", err)
	}
	return len(entries)
}

// Whoever waits for the end and gives up leaves no descriptor in the shim, whether that
// is awake or executes itself meanwhile.
func TestRealWaitersThatLeave(t *testing.T) {
	c := detached(t, record.RestartPolicy{}, `trap 'exit 9' TERM; while :; do sleep 0.05; done`)
	c.parked()
	before := c.descriptors()
	path, err := c.store.ControlPath(testID)
	must(t, err)
	for range 6 {
		for range 5 {
			conn, err := stage.Dial(path)
			must(t, err)
			must(t, conn.Send(&control.Request{Op: control.OpWait}))
			time.Sleep(10 * time.Millisecond)
			_ = conn.Close()
		}
		c.parked()
	}
	_, err = c.ask(control.Request{Op: control.OpState}) // what died while it slept, it sees when it wakes
	must(t, err)
	time.Sleep(50 * time.Millisecond)
	c.parked()
	if now := c.descriptors(); now > before {
		t.Errorf("%d descriptors, %d before", now, before)
	}
	c.stop()
}

// A SIGTERM that came while the shim is about to execute itself keeps it from that: it
// was taken, and the next program would not hear of it.
func TestTermKeepsFromExecve(t *testing.T) {
	s := &shim{done: make(chan struct{}), cfg: &start.Config{}}
	s.catchTerm()
	s.hearTerm()
	if s.term.came() {
		t.Error("it came before it was sent")
	}
	release, ok := s.quiesce()
	if !ok {
		t.Fatal("it is busy")
	}
	must(t, unix.Kill(os.Getpid(), unix.SIGTERM))
	within(t, "the reader", func() {
		for len(s.term.heard) == 0 {
			time.Sleep(time.Millisecond)
		}
	})
	time.Sleep(20 * time.Millisecond) // hearTerm has it, and waits for us
	if !s.term.came() {
		t.Error("it is not seen")
	}
	close(s.done) // nothing to stop
	release()
}

// A restart for which there is no descriptor now is put off, and one that cannot work
// is given up.
func TestScarce(t *testing.T) {
	r, w, err := os.Pipe()
	must(t, err)
	defer w.Close()
	var before unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &before))
	s := &shim{}
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: conversation + 2, Max: before.Max}))
	err = s.execAgain(new(handover), map[string]*os.File{"one": r, "two": r}, nil)
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &before))
	if !scarce(err) {
		t.Errorf("%v: is given up", err)
	}
	_ = r.Close()
	if err := s.execAgain(new(handover), map[string]*os.File{"one": r}, nil); err == nil || scarce(err) {
		t.Errorf("%v: is put off", err)
	}
}
