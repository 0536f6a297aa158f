package shim

import (
	"testing"
	"time"

	"github.com/rc-containers/rc/internal/record"
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
