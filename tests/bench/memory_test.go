package main

import (
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"
)

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
	w := trial(t, options{})
	before := w.processes()
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(5 * time.Second); len(w.payloads(before)) == 0 && time.Now().Before(deadline); {
		time.Sleep(5 * m)
	}
	pids := w.payloads(before)
	if !slices.Contains(pids, cmd.Process.Pid) {
		t.Errorf("found %v, want %d", pids, cmd.Process.Pid)
	}
	if !descends(cmd.Process.Pid, os.Getpid()) || descends(os.Getpid(), cmd.Process.Pid) || parent(cmd.Process.Pid) != os.Getpid() {
		t.Error("who is whose child")
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if parent(cmd.Process.Pid) != 0 {
		t.Error("a process that is gone has a parent")
	}
}

func TestWeight(t *testing.T) {
	g := weight{idlers: idlers{number: 4}, kib: map[string]int{"rc-net": 1024, "rc-init": 2048}, count: map[string]int{"rc-net": 1, "rc-init": 4}}
	if g.total() != 3 || g.parts() != "1 × rc-net 1024, 4 × rc-init 512" {
		t.Errorf("%v, %s", g.total(), g.parts())
	}
}

// A row that comes again, on the other side of what it is held against, is one row.
func TestLooksAgain(t *testing.T) {
	w, r := trial(t, options{runs: 2}), newReport(options{})
	for range 2 {
		w.looks(r, "running/before", []string{"true"}, 1)
	}
	w.looks(r, "running/start", []string{"true"}, 2)
	w.looks(r, "running/ps", []string{"false"}, 1)
	for _, row := range []string{"running/before", "running/start"} {
		if c := r.find(row, rcTool); c == nil || len(c.times) != 4 || r.get(row, rcTool) != millis(median(c.times)) {
			t.Errorf("%s: %+v", row, c)
		}
	}
	rows := 0
	for _, c := range r.cells {
		if c.tool == rcTool {
			rows++
		}
	}
	if rows != 2 || r.find("running/ps", bwrapTool) != nil {
		t.Errorf("%d rows: %+v", rows, r.cells)
	}
}
