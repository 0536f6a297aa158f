package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func rowOf(tool, network string, times ...time.Duration) *row {
	return &row{subject: &subject{name: tool + " run --rm", tool: tool, network: network}, times: times}
}

func TestMedian(t *testing.T) {
	const m = time.Millisecond
	for _, c := range []struct {
		times       []time.Duration
		median, min time.Duration
	}{
		{nil, 0, 0}, {[]time.Duration{5 * m}, 5 * m, 5 * m}, {[]time.Duration{9 * m, 1 * m, 5 * m}, 5 * m, 1 * m}, {[]time.Duration{4 * m, 1 * m, 2 * m, 100 * m}, 3 * m, 1 * m},
	} {
		r := rowOf("rc", "none", c.times...)
		if r.median() != c.median || r.min() != c.min {
			t.Errorf("%v: median %v, minimum %v", c.times, r.median(), r.min())
		}
	}
}

func TestMarkdown(t *testing.T) {
	const m = time.Millisecond
	r := &report{o: options{runs: 1, starts: 40, width: 8, idle: 2}, host: "HOST", broken: []string{"rc: no\nkernel"}}
	fast, slow := rowOf("rc", "default", 10*m), rowOf("podman", "default", 150*m)
	fast.rate, slow.rate, slow.failed, slow.failure = 150, 9, 1, "database is locked"
	fast.pss, fast.count = map[string]int{"rc-init": 1200, "rc-net": 800}, map[string]int{"rc-init": 2, "rc-net": 1}
	fast.started, fast.listed, fast.stopped = 20*m, []time.Duration{9 * m, 3 * m, 4 * m}, 70*m
	r.rows = []*row{fast, slow, rowOf("bwrap", "none", 4*m), rowOf("rc", "none", 7*m)}
	text := r.markdown()
	for _, want := range []string{
		"HOST", "tests/bench/run -n 1", "| rc run --rm | default | 10.0 | 10.0 |",
		"| podman : rc, default network | 15.0 |", "| rc, default network : bwrap | 2.5 |",
		"| podman run --rm | default | 9 | 1 |", "database is locked",
		"| rc run --rm -d | default | 1000 | 2 × rc-init 600, 1 × rc-net 800 | 20.0 | 4.0 | 70.0 |",
		"- rc: no kernel", "costs a start of rc 3.0 ms",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the report lacks %q", want)
		}
	}
	if strings.Contains(text, "podman : rc, no network") {
		t.Error("a ratio of something that was not measured")
	}
}

func TestPSS(t *testing.T) {
	if n, err := parsePSS("55d0-7ffd ---p 00000000 00:00 0 [rollup]\nRss:  900 kB\nPss:       541 kB\nPss_Dirty: 9 kB\n"); n != 541 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := parsePSS("Rss: 1 kB\n"); err == nil {
		t.Error("no error without a Pss line")
	}
	if n, err := pss(os.Getpid()); n <= 0 || err != nil {
		t.Errorf("our own: %d, %v", n, err)
	}
}

func TestPayloadsAreFound(t *testing.T) {
	w := &world{uid: uint32(os.Getuid())}
	before := w.processes()
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(5 * time.Second); len(w.payloads(before)) == 0 && time.Now().Before(deadline); {
		time.Sleep(5 * time.Millisecond)
	}
	pids := w.payloads(before)
	if len(pids) != 1 || pids[0] != cmd.Process.Pid {
		t.Errorf("found %v, want %d", pids, cmd.Process.Pid)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}

func TestTimedSaysWhatTheCommandSaid(t *testing.T) {
	w := &world{env: os.Environ()}
	_, err := w.timed([]string{"sh", "-c", "echo no such image >&2; exit 125"})
	if err == nil || !strings.Contains(err.Error(), "no such image") || !strings.Contains(err.Error(), "125") {
		t.Errorf("%v", err)
	}
	d, err := w.timed([]string{"sleep", "0.05"})
	if err != nil || d < 50*time.Millisecond {
		t.Errorf("%v, %v", d, err)
	}
}

func TestManyCountsFailures(t *testing.T) {
	w := &world{env: os.Environ(), o: options{starts: 6, width: 3}}
	r := rowOf("rc", "none")
	r.args = []string{"false"}
	w.many(r)
	if r.failed != 6 || r.rate != 0 {
		t.Errorf("%d failed, %v a second", r.failed, r.rate)
	}
	r = rowOf("rc", "none")
	r.args = []string{"true"}
	w.many(r)
	if r.failed != 0 || r.rate <= 0 {
		t.Errorf("%d failed, %v a second", r.failed, r.rate)
	}
}
