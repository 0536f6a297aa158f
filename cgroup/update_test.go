package cgroup

import "testing"

func TestUpdate(t *testing.T) {
	f, s := mine(t, "cpu memory pids")
	before := Resources{Memory: 64 << 20, PidsLimit: 10, NanoCPUs: 5e8}
	g, err := s.Create("abc", before)
	must(t, err)
	after := before
	after.Memory, after.PidsLimit, after.CPUShares, after.MemoryReservation = 128<<20, -1, 2, 32<<20
	must(t, g.Update(before, after))
	for file, want := range map[string]string{"memory.max": "134217728", "memory.swap.max": "134217728", "pids.max": "max", "cpu.max": "50000 100000", "cpu.weight": "1", "memory.low": "33554432"} {
		if got := f.get(g.Path, file); got != want {
			t.Errorf("%s is %q, want %q", file, got, want)
		}
	}
	if got := f.get(g.Path+"/payload", "memory.max"); got != "134217728" {
		t.Errorf("the payload sees %q", got)
	}
	says(t, g.Update(after, Resources{Memory: 1}), "--memory", "6m")
	says(t, Open("/sys/fs/cgroup/nowhere/rc-x").Update(before, after), "no such file")
}

func TestDifferenceWritesWhatDiffers(t *testing.T) {
	old, err := Resources{Memory: 64 << 20, PidsLimit: 5}.settings()
	must(t, err)
	if d := difference(old, old); len(d) != 0 {
		t.Errorf("%+v", d)
	}
	d := difference(old, nil)
	if len(d) != 3 || d[0].value != "max" || d[2].file != "pids.max" {
		t.Errorf("%+v", d)
	}
}

func TestBandwidthAndReservation(t *testing.T) {
	for text, r := range map[string]Resources{
		"--cpu-period": {CPUPeriod: 10}, "--cpu-quota": {CPUQuota: 10}, "--cpus": {CPUQuota: 5000, NanoCPUs: 1e9},
		"--memory-reservation": {MemoryReservation: 8 << 20, Memory: 7 << 20}, "--cpuset-mems": {CpusetMems: "x"},
	} {
		says(t, r.Validate(), text)
	}
	s, err := Resources{CPUQuota: 20000, CPUPeriod: 50000, MemoryReservation: 7 << 20, CpusetMems: "0"}.settings()
	must(t, err)
	got := map[string]string{}
	for _, set := range s {
		got[set.file] = set.value
	}
	if got["cpu.max"] != "20000 50000" || got["memory.low"] != "7340032" || got["cpuset.mems"] != "0" {
		t.Errorf("%v", got)
	}
	if s, err := (Resources{CPUPeriod: 50000}).settings(); err != nil || len(s) != 0 {
		t.Errorf("a period alone limits nothing: %v %v", s, err)
	}
}
