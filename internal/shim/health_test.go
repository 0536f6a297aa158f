package shim

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/stage/control"
)

// The rule, result by result (moby, daemon/health.go).
func TestWeigh(t *testing.T) {
	p := &prober{check: record.Healthcheck{Retries: 3}}
	for name, c := range map[string]struct {
		codes  string // of the results in order; S: a failure within the start period
		status string
		streak int
	}{
		"a success":                       {"0", healthy, 0},
		"one failure":                     {"1", starting, 1},
		"enough failures":                 {"111", unhealthy, 3},
		"a success in between":            {"1101", healthy, 1},
		"unhealthy and well again":        {"1110", healthy, 0},
		"healthy stays until the third":   {"011", healthy, 2},
		"the start period does not count": {"SSSSSS", starting, 0},
		"it counts after a success":       {"0SSS", unhealthy, 3},
	} {
		var h *record.Health
		for _, code := range c.codes {
			r := record.HealthResult{ExitCode: 1}
			if code == '0' {
				r.ExitCode = 0
			}
			before := h
			h = p.weigh(h, r, code == 'S')
			if before == h {
				t.Fatal("a reader's value was changed")
			}
		}
		if h.Status != c.status || h.FailingStreak != c.streak || len(h.Log) != min(len(c.codes), healthLog) {
			t.Errorf("%s: %+v", name, h)
		}
	}
}

func TestProbeOf(t *testing.T) {
	for _, none := range []*record.Healthcheck{nil, {}, {Test: []string{"NONE"}}, {Test: []string{"CMD"}}, {Test: []string{"OTHER", "x"}}} {
		if _, ok := probeOf(none); ok {
			t.Errorf("%+v is no probe", none)
		}
	}
	c, ok := probeOf(&record.Healthcheck{Test: []string{"CMD", "true"}, Timeout: time.Second})
	if !ok || c.Interval != 30*time.Second || c.Timeout != time.Second || c.StartInterval != 5*time.Second || c.Retries != 3 {
		t.Errorf("%+v", c)
	}
}

func TestNextProbe(t *testing.T) {
	p := &prober{check: record.Healthcheck{Interval: time.Minute, StartInterval: 5 * time.Second, StartPeriod: time.Hour}}
	now := time.Now()
	about := func(name string, st record.State, want time.Duration) {
		t.Helper()
		if got := p.next(st); got > want || got < want-time.Second {
			t.Errorf("%s: in %v, not %v", name, got, want)
		}
	}
	st := record.State{Status: record.Running, Started: now, Health: &record.Health{Status: starting}}
	about("the first, in the start period", st, 5*time.Second)
	st.Health = &record.Health{Status: healthy, Log: []record.HealthResult{{End: now}}}
	about("after a success", st, time.Minute)
	st.Health.Log[0].End = now.Add(-50 * time.Second)
	about("a shim that has executed itself meanwhile", st, 10*time.Second)
	st.Health.Log[0].End = now.Add(-time.Hour)
	about("long ago, as after a pause", st, 0)
}

func TestFirstBytes(t *testing.T) {
	r, w, err := pipe(true)
	must(t, err)
	go func() { _, _ = w.WriteString(strings.Repeat("x", 100_000)); _ = w.Close() }()
	if got := firstBytes(r, healthOutput); len(got) != healthOutput {
		t.Errorf("%d bytes", len(got))
	}
}

// The real thing: healthy, then not, with what the probe wrote.
func TestRealHealth(t *testing.T) {
	c := newContainer(t, "sh", "-c", "sleep 1; : >/tmp/bad; sleep 60")
	c.cfg.Detach = true
	c.cfg.Health = &record.Healthcheck{Test: []string{"CMD-SHELL", "echo asked as $0; [ ! -e /tmp/bad ]"}, Interval: 100 * time.Millisecond, Retries: 2, OnFailure: "kill"}
	c.keepConfig()
	c.begin()
	st := c.until("healthy", func(st *record.State) bool { return st.Health != nil && st.Health.Status == healthy })
	if out := st.Health.Log[0].Output; out != "asked as /bin/sh\n" {
		t.Errorf("%q", out)
	}
	st = c.until("the end by --health-on-failure", func(st *record.State) bool { return st.Status == record.Exited })
	if st.ExitCode != 137 || st.Health.Status != unhealthy || st.Health.FailingStreak != 2 {
		t.Errorf("%d %+v", st.ExitCode, st.Health)
	}
}

// A probe that does not end is killed with its child, and says so.
func TestRealHealthTimeout(t *testing.T) {
	c := newContainer(t, "sleep", "20")
	c.cfg.Detach = true
	c.cfg.Health = &record.Healthcheck{Test: []string{"CMD-SHELL", "echo begun; sleep 50 & sleep 51"}, Interval: 50 * time.Millisecond, Timeout: 500 * time.Millisecond, Retries: 1}
	c.keepConfig()
	c.begin()
	st := c.until("unhealthy", func(st *record.State) bool { return st.Health != nil && st.Health.Status == unhealthy })
	if r := st.Health.Log[0]; r.ExitCode != fallenBehind || !strings.HasPrefix(r.Output, "Health check exceeded timeout (500ms): begun") {
		t.Errorf("%+v", r)
	}
}

// What a probe writes is the container's, and what is kept of it must fit into the
// packet that carries the state, five times.
func TestBoundedOutput(t *testing.T) {
	for name, text := range map[string]string{
		"zeros": strings.Repeat("\x00", 9000), "invalid": strings.Repeat("\xff", 9000), "tags": strings.Repeat("<", 9000),
		"text": strings.Repeat("x", 9000), "lines": strings.Repeat("\u2028", 3000), "quotes": strings.Repeat(`"`, 9000),
	} {
		kept := bounded(text, healthOutput)
		log := make([]record.HealthResult, healthLog)
		for i := range log {
			log[i].Output = kept
		}
		data, err := json.Marshal(&control.Reply{State: &record.State{Health: &record.Health{Log: log}}})
		must(t, err)
		if len(data) > stage.MaxPacket-4096 || len(kept) > 3*healthOutput {
			t.Errorf("%s: %d bytes, %d encoded", name, len(kept), len(data))
		}
		if name == "text" && len(kept) != healthOutput {
			t.Errorf("of a text %d bytes are kept", len(kept))
		}
	}
	if got := bounded("a\nü\x00", 100); got != "a\nü\x00" {
		t.Errorf("%q", got)
	}
}
