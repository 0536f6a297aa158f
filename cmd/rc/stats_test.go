package main

import (
	"strings"
	"testing"
	"time"

	"github.com/rc-containers/rc/cgroup"
	"github.com/rc-containers/rc/internal/engine"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/slirp"
)

func TestStatsLine(t *testing.T) {
	c := &engine.Entry{Container: record.Container{ID: webID, Name: "web"}}
	at := time.Now()
	before := &engine.Usage{At: at, CPU: time.Second}
	now := &engine.Usage{At: at.Add(2 * time.Second), CPU: 4 * time.Second, Memory: 1536 << 10, MemoryLimit: 6 << 20, NetRx: 1234, NetTx: 5_000_000,
		BlockRead: 0, BlockWrite: 4096, PIDs: 7, Missing: map[string]string{"block": "why"}, Instead: map[string]string{"memory": "PSS"}}
	l := newStatsLine(c, now, before)
	if l.CPUPerc != "150.00%" || l.MemUsage != "1.5MiB / 6MiB" || l.MemPerc != "25.00%" || l.NetIO != "1.23kB / 5MB" || l.PIDs != "7" {
		t.Errorf("%+v", l)
	}
	if l.BlockIO != "--" || strings.Join(l.Missing, " ") != "block" || l.Notes["memory"] != "PSS" || l.Notes["block"] != "why" {
		t.Errorf("what nobody can tell is not told: %+v", l)
	}
	if l := newStatsLine(c, now, nil); l.CPUPerc != "--" {
		t.Errorf("one sample makes no CPU %%: %+v", l)
	}
	l = newStatsLine(c, nil, nil)
	if l.CPUPerc+l.MemUsage+l.MemPerc+l.NetIO+l.BlockIO+l.PIDs != "---- / ----------" || len(l.Missing) != 5 {
		t.Errorf("of one that does not run: %+v", l)
	}
}

func TestStatsLinePressure(t *testing.T) {
	c := &engine.Entry{Container: record.Container{ID: webID, Name: "web"}}
	now := &engine.Usage{At: time.Now(), Pressure: map[string]cgroup.Pressure{"io": {Some: cgroup.Stall{Avg10: 12.345}}}}
	l := newStatsLine(c, now, nil)
	if l.IOPressure != "12.35%" && l.IOPressure != "12.34%" || l.CPUPressure != "--" || l.MemPressure != "--" || len(l.PSI) != 1 {
		t.Errorf("%+v", l)
	}
}

func TestCPUPercent(t *testing.T) {
	at := time.Now()
	sample := func(after, cpu time.Duration) *engine.Usage { return &engine.Usage{At: at.Add(after), CPU: cpu} }
	for _, c := range []struct {
		now, before *engine.Usage
		want        float64
		ok          bool
	}{
		{sample(time.Second, 300*time.Millisecond), sample(0, 50*time.Millisecond), 25, true},
		{sample(time.Second, time.Second), sample(0, 2*time.Second), 0, true}, // the time of a process that nobody waited for
		{sample(0, time.Second), sample(0, 0), 0, false},
		{sample(0, 0), nil, 0, false},
	} {
		if got, ok := cpuPercent(c.now, c.before); got != c.want || ok != c.ok {
			t.Errorf("%+v: %v %v", c, got, ok)
		}
	}
}

func TestBinarySize(t *testing.T) {
	for n, want := range map[uint64]string{0: "0B", 1023: "1023B", 1024: "1KiB", 1536: "1.5KiB", 1 << 30: "1GiB", 25276112896: "23.54GiB", 1 << 63: "8EiB"} {
		if got := binarySize(n); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
}

func TestStatsOfNothing(t *testing.T) {
	shelf(t)
	begin := time.Now()
	o := rc(t, "stats", "--no-stream")
	if o.code != 0 || strings.Count(o.stdout, "\n") != 1 || !strings.Contains(o.stdout, "MEM USAGE / LIMIT") || time.Since(begin) > time.Second {
		t.Errorf("%+v after %v", o, time.Since(begin))
	}
	o = rc(t, "stats", "--no-stream", "-a", "--format", "{{.Name}} {{.CPUPerc}}")
	if o.stdout != "web --\njob --\nfar --\n" {
		t.Errorf("%+v", o)
	}
	if o := rc(t, "stats", "--no-stream", "nobody"); o.code != 1 || o.stdout != "" {
		t.Errorf("%+v", o)
	}
	if o := rc(t, "stats", "--no-stream", "--format", "{{.Container}} {{.ID}}", "web"); o.stdout != "web "+webID[:12]+"\n" {
		t.Errorf("as typed: %+v", o)
	}
	for _, refused := range []string{"top web", "top nobody", "top"} {
		if o := rc(t, strings.Fields(refused)...); o.code == 0 || strings.Count(o.stderr, "\n") != 1 {
			t.Errorf("%s: %+v", refused, o)
		}
	}
}

func TestStatusWords(t *testing.T) {
	now := time.Now()
	for want, st := range map[string]record.State{
		"Up 3 minutes (healthy)":          {Status: record.Running, Started: now.Add(-3 * time.Minute), Health: &record.Health{Status: "healthy"}},
		"Up 2 hours (unhealthy)":          {Status: record.Running, Started: now.Add(-2 * time.Hour), Health: &record.Health{Status: "unhealthy"}},
		"Up 5 seconds (health: starting)": {Status: record.Running, Started: now.Add(-5 * time.Second), Health: &record.Health{Status: "starting"}},
		"Up 4 days (Paused)":              {Status: record.Paused, Started: now.Add(-96 * time.Hour)},
		"Restarting (1) 5 seconds ago":    {Status: record.Restarting, ExitCode: 1, Finished: now.Add(-5 * time.Second)},
		"Exited (137) About an hour ago":  {Status: record.Exited, ExitCode: 137, Finished: now.Add(-time.Hour)},
		"Exited (unknown) 6 weeks ago":    {Status: record.Exited, ExitCode: -1, Finished: now.Add(-45 * 24 * time.Hour)},
		"Up Less than a second":           {Status: record.Running, Started: now},
		"Up 2 seconds":                    {Status: record.Running, Started: now.Add(-2 * time.Second), Health: &record.Health{Status: "none"}},
	} {
		if got := status(&engine.Entry{Container: record.Container{MachineID: record.MachineID()}, State: st}); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestPortRanges(t *testing.T) {
	var ports []slirp.Port
	for i := range uint16(3) {
		ports = append(ports, slirp.Port{HostPort: 8000 + i, ContainerPort: 80 + i, Proto: "tcp"})
	}
	ports = append(ports, slirp.Port{HostPort: 53, ContainerPort: 53, Proto: "udp"})
	if got := portsText(ports, "80/tcp", "443/tcp"); got != "0.0.0.0:53->53/udp, 0.0.0.0:8000-8002->80-82/tcp, 443/tcp" {
		t.Error(got)
	}
}
