package shim

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/stage/control"
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
