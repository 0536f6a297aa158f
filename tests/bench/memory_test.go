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
