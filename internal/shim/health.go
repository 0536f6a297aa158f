package shim

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/atomicfile"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/linux"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/stage/start"
)

// Statuses of record.Health, Docker's.
const (
	starting  = "starting"
	healthy   = "healthy"
	unhealthy = "unhealthy"
)

const (
	healthLog    = 5    // results that are kept (moby, daemon/health.go, maxLogEntries)
	healthOutput = 4096 // bytes of a probe's output (the same, maxOutputLen)
	fallenBehind = -1   // exit code of a probe that did not end in time
	healthSave   = 30 * time.Second
)

// prober asks the payload how it is, one probe at a time. Between two there is one
// timer and one memory file, which each rc-exec reads; no process of ours, nothing
// encoded anew, and nothing written that did not change.
type prober struct {
	check  record.Healthcheck
	config *os.File // sealed start.ExecConfig
	saved  time.Time
}

// healthStarted begins or goes on with the probes of a payload that runs. What was
// found so far is in the state, so that a shim that executes itself again goes on
// where it was.
func (s *shim) healthStarted() {
	check, ok := probeOf(s.cfg.Health)
	if !ok {
		return
	}
	config, err := s.healthConfig()
	if err != nil {
		s.update(func(st *record.State) { st.Error = "no health check: " + err.Error() })
		return
	}
	p := &prober{check: check, config: config} // what an earlier program found may not be on the disk
	if s.snapshot().Health == nil {
		p.saved = time.Now()
		s.update(func(st *record.State) { st.Health = &record.Health{Status: starting} })
		_ = s.save(atomicfile.Fast)
	}
	go s.watchHealth(p, s.ended())
}

// probeOf fills in Docker's defaults; false where there is nothing to ask.
func probeOf(h *record.Healthcheck) (record.Healthcheck, bool) {
	if h == nil || len(h.Test) < 2 || h.Test[0] != "CMD" && h.Test[0] != "CMD-SHELL" {
		return record.Healthcheck{}, false
	}
	c := *h
	for _, d := range []struct {
		value *time.Duration
		usual time.Duration
	}{{&c.Interval, 30 * time.Second}, {&c.Timeout, 30 * time.Second}, {&c.StartInterval, 5 * time.Second}} {
		if *d.value <= 0 {
			*d.value = d.usual
		}
	}
	if c.Retries <= 0 {
		c.Retries = 3
	}
	return c, true
}

// healthConfig is what every probe is told, sealed once. After the shim has shed
// the container's configuration it comes with the handover, or from config.json.
func (s *shim) healthConfig() (*os.File, error) {
	if f := s.files["health"]; f != nil {
		return f, nil
	}
	c := s.cfg
	if c.Spec == nil || c.Spec.Process == nil || c.Spec.Process.Capabilities == nil {
		data, err := os.ReadFile(filepath.Join(c.Dir, "config.json"))
		if err != nil {
			return nil, err
		}
		c = new(start.Config)
		if err := stage.Decode(data, c); err != nil {
			return nil, err
		}
	}
	p := *c.Spec.Process
	p.Terminal = false
	if p.Args = s.cfg.Health.Test[1:]; s.cfg.Health.Test[0] == "CMD-SHELL" {
		p.Args = slices.Concat([]string{"/bin/sh", "-c"}, p.Args)
	}
	in := c.Inside
	in.Init, in.Stdin, in.CopyUp, in.Without = false, false, nil, s.cfg.Without
	f, err := stage.Seal("rc-health", &start.ExecConfig{Process: &p, Inside: in})
	if err == nil {
		s.files["health"] = f
	}
	return f, err
}

// watchHealth probes until the payload has ended.
func (s *shim) watchHealth(p *prober, over <-chan struct{}) {
	timer := time.NewTimer(p.next(s.snapshot()))
	defer timer.Stop()
	for {
		select {
		case <-over:
			return
		case <-timer.C:
		}
		if s.snapshot().Status == record.Running { // else paused: nothing can answer
			p.probe(s)
		}
		timer.Reset(max(p.next(s.snapshot()), time.Millisecond))
	}
}

// next is how long to wait from now on. In the start period, until the first
// success, the start interval holds (moby, daemon/health.go, monitor).
func (p *prober) next(st record.State) time.Duration {
	last, every := st.Started, p.check.Interval
	if st.Health == nil {
		return every
	}
	if n := len(st.Health.Log); n > 0 {
		last = st.Health.Log[n-1].End
	}
	if st.Health.Status == starting && time.Since(st.Started) < p.check.StartPeriod {
		every = p.check.StartInterval
	}
	if passed := time.Since(last); passed > 0 && passed < every {
		return every - passed
	}
	if time.Since(last) >= every && st.Status == record.Running {
		return 0 // it is due, be it the first: perhaps we were woken for it
	}
	return every
}

// probe asks once and does what follows from the answer.
func (p *prober) probe(s *shim) {
	done := s.probing()
	defer done()
	r := record.HealthResult{Start: time.Now()}
	r.ExitCode, r.Output = p.ask(s)
	r.Output = bounded(r.Output, healthOutput)
	r.End = time.Now()
	if s.snapshot().Status != record.Running || r.ExitCode == killed && s.initEnds() {
		return // it was paused, or ended and took the probe along: this says nothing of its health
	}
	var changed string
	s.update(func(st *record.State) {
		h := p.weigh(st.Health, r, r.Start.Sub(st.Started) < p.check.StartPeriod)
		if st.Health == nil || st.Health.Status != h.Status {
			changed = h.Status
		}
		st.Health = h
	})
	if changed == "" && time.Since(p.saved) < healthSave {
		return // who wants it sooner asks us (control.OpState)
	}
	p.saved = time.Now()
	_ = s.save(atomicfile.Fast)
	if changed != "" {
		s.event("health_status: "+changed, nil)
		s.sayHealthy()
	}
	if changed == unhealthy {
		s.unwell(p.check.OnFailure)
	}
}

// killed is the exit code of a probe that went with the container's PID 1, or of
// one that somebody killed.
const killed = 128 + int(unix.SIGKILL)

// initEnds tells whether the payload is gone. Its pidfd says so only after the
// last process of its pid namespace was reaped, which was the probe, perhaps.
func (s *shim) initEnds() bool {
	ready := []unix.PollFd{{Fd: int32(s.init.PidFD.Fd()), Events: unix.POLLIN}}
	n, err := unix.Poll(ready, 50)
	return err == nil && n > 0
}

// weigh is Docker's rule (moby, daemon/health.go, handleProbeResult): a success is
// healthy; so many failures in a row are unhealthy; in the start period none counts
// until there was a success. The result is a new value: readers hold the old one.
func (p *prober) weigh(before *record.Health, r record.HealthResult, inStartPeriod bool) *record.Health {
	h := &record.Health{Status: starting}
	if before != nil {
		h.Status, h.FailingStreak, h.Log = before.Status, before.FailingStreak, before.Log
	}
	h.Log = append(slices.Clone(h.Log[max(0, len(h.Log)-healthLog+1):]), r)
	switch {
	case r.ExitCode == 0:
		h.Status, h.FailingStreak = healthy, 0
	case h.Status == starting && inStartPeriod:
	default:
		if h.FailingStreak++; h.FailingStreak >= p.check.Retries {
			h.Status = unhealthy
		}
	}
	return h
}

// ask runs the probe once and returns its exit code and what it wrote.
func (p *prober) ask(s *shim) (int, string) {
	r, w, err := pipe(true)
	if err != nil {
		return fallenBehind, err.Error()
	}
	defer r.Close()
	x := &further{}
	err = s.enter(x, p.config, [3]*os.File{nil, w, w}, p.check.Timeout)
	_ = w.Close()
	if err != nil {
		return hint.ExitCode(err), err.Error()
	}
	s.execs.add(1)
	defer s.execs.add(-1)
	read := make(chan string, 1)
	go func() { read <- firstBytes(r, healthOutput) }()
	ended := make(chan struct{})
	timeout := time.AfterFunc(p.check.Timeout, func() { x.killGroup(); close(ended) })
	_ = linux.WaitPidfd(x.proc.PidFD) // nobody reaps it before the last signal to its group
	inTime := timeout.Stop()
	if !inTime {
		<-ended
	}
	code := x.wait()
	_ = r.SetReadDeadline(time.Now().Add(100 * time.Millisecond)) // for what it left behind and holds the pipe
	output := <-read
	if !inTime {
		return fallenBehind, fmt.Sprintf("Health check exceeded timeout (%v): %s", p.check.Timeout, output)
	}
	return code, output
}

// killGroup ends a probe with all that stayed in its session's first group. It must
// not be reaped yet: so long the number is its own.
func (x *further) killGroup() {
	if x.proc.Signal(0) == nil {
		_ = unix.Kill(-x.proc.PID, unix.SIGKILL)
	}
	_ = x.proc.Signal(unix.SIGKILL)
}

// firstBytes reads to the end and keeps so many.
func firstBytes(r io.Reader, keep int64) string {
	var head bytes.Buffer
	_, _ = io.Copy(&head, io.LimitReader(struct{ io.Reader }{r}, keep))
	_, _ = io.Copy(io.Discard, struct{ io.Reader }{r})
	return head.String()
}

// bounded cuts a text so that what JSON makes of it is at most twice keep bytes: a
// zero byte becomes six. All results of the log go to whoever asks for the state, in
// one packet (stage.MaxPacket), and the texts are the container's.
func bounded(text string, keep int) string {
	text = strings.ToValidUTF8(text[:min(len(text), keep)], "\uFFFD")
	room := 2 * keep
	for i, r := range text {
		switch {
		case r < ' ', r == '<', r == '>', r == '&', r == '\u2028', r == '\u2029':
			room -= 6 // \u0000
		case r == '"', r == '\\':
			room -= 2
		default:
			room -= utf8.RuneLen(r)
		}
		if room < 0 {
			return text[:i]
		}
	}
	return text
}

// unwell does what --health-on-failure asks for. A stop takes its time, of which the
// next program of ours would know nothing: we are busy.
func (s *shim) unwell(action string) {
	switch action {
	case "kill": // the restart policy applies, as to a crash
		_ = s.signal(unix.SIGKILL)
	case "stop", "restart":
		done := s.busy()
		go func() {
			defer done()
			if action == "stop" {
				s.stop(-1)
			} else {
				s.restartForHealth()
			}
		}()
	}
}
