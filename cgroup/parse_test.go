package cgroup

import (
	"reflect"
	"testing"
)

func TestParseBytes(t *testing.T) {
	good := map[string]int64{
		"": 0, "0": 0, "1": 1, "512b": 512, "1k": 1 << 10, "256m": 256 << 20, "256M": 256 << 20, "256MB": 256 << 20,
		"256MiB": 256 << 20, "256 m": 256 << 20, "1.5g": 3 << 29, ".5k": 512, "2t": 2 << 40, "1p": 1 << 50, "9223372036854775807": 1<<63 - 1,
	}
	for in, want := range good {
		if got, err := ParseBytes(in); err != nil || got != want {
			t.Errorf("%q: %d, %v; want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"m", "-1", "1x", "1mm", "1bb", "1mib2", "1.2.3m", "inf", "nan", "1e3", "0x10", "9223372036854775808", "8192p", "16777216t", "1 2", " 1", ".", "1_0"} {
		if got, err := ParseBytes(in); err == nil {
			t.Errorf("%q was read as %d", in, got)
		}
	}
	if n, err := ParseMemorySwap("-1"); n != -1 || err != nil {
		t.Errorf("-1: %d, %v", n, err)
	}
	_, err := ParseBytes("256q")
	says(t, err, `"256q"`, `"q"`, "256m")
}

func TestParseCPUs(t *testing.T) {
	good := map[string]int64{"": 0, "0": 0, "0.5": 5e8, ".25": 25e7, "1": 1e9, "1.5": 15e8, "64.": 64e9, "0.000000001": 1}
	for in, want := range good {
		if got, err := ParseCPUs(in); err != nil || got != want {
			t.Errorf("%q: %d, %v; want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"x", "-1", "1.0000000001", "1e3", ".", "99999999999999999999", "1,5", "+1"} {
		if got, err := ParseCPUs(in); err == nil {
			t.Errorf("%q was read as %d", in, got)
		}
	}
}

func TestParseCpuset(t *testing.T) {
	good := map[string][]int{"": nil, "0": {0}, "0-2": {0, 1, 2}, "4,0-2": {0, 1, 2, 4}, "1,1,0-1": {0, 1}, "8191": {8191}}
	for in, want := range good {
		if got, err := ParseCpuset(in); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %v, %v; want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"x", "2-1", "-1", "1-", ",", "0,", "0-4000000000", "8192", "1-2-3", "0x1", "1 2"} {
		if got, err := ParseCpuset(in); err == nil {
			t.Errorf("%q was read as %v", in, got)
		}
	}
}

// The pairs of opencontainers/cgroups' own test of this conversion, so that a
// container weighs the same under rc as under runc.
func TestWeight(t *testing.T) {
	for shares, want := range map[uint64]uint64{0: 1, 2: 1, 1024: 100, 262144: 10000, 1 << 40: 10000, 3: 2} {
		if got := weight(shares); got != want {
			t.Errorf("%d shares: weight %d, want %d", shares, got, want)
		}
	}
	last := uint64(0)
	for shares := uint64(2); shares <= 262144; shares *= 2 {
		if w := weight(shares); w < last {
			t.Errorf("%d shares weigh %d, less than half of them", shares, w)
		} else {
			last = w
		}
	}
}

func TestSettings(t *testing.T) {
	cases := []struct {
		r    Resources
		want map[string]string
	}{
		{Resources{}, map[string]string{}},
		{Resources{Memory: 64 << 20}, map[string]string{"memory.max": "67108864", "memory.swap.max": "67108864"}},
		{Resources{Memory: 64 << 20, MemorySwap: 96 << 20}, map[string]string{"memory.max": "67108864", "memory.swap.max": "33554432"}},
		{Resources{Memory: 64 << 20, MemorySwap: 64 << 20}, map[string]string{"memory.max": "67108864", "memory.swap.max": "0"}},
		{Resources{Memory: 64 << 20, MemorySwap: -1}, map[string]string{"memory.max": "67108864", "memory.swap.max": "max"}},
		{Resources{MemorySwap: -1, PidsLimit: -1}, map[string]string{}},
		{Resources{NanoCPUs: 5e8}, map[string]string{"cpu.max": "50000 100000"}},
		{Resources{NanoCPUs: 1e7}, map[string]string{"cpu.max": "1000 100000"}},
		{Resources{NanoCPUs: 333333333}, map[string]string{"cpu.max": "33334 100000"}},
		{Resources{CPUShares: 1024}, map[string]string{"cpu.weight": "100"}},
		{Resources{CpusetCPUs: "0-1", PidsLimit: 20}, map[string]string{"cpuset.cpus": "0-1", "pids.max": "20"}},
	}
	for _, c := range cases {
		settings, err := c.r.settings()
		must(t, err)
		got := map[string]string{}
		for _, s := range settings {
			got[s.file] = s.value
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%+v: %v, want %v", c.r, got, c.want)
		}
		if c.r.Empty() != (len(c.want) == 0) {
			t.Errorf("%+v: Empty is %v", c.r, c.r.Empty())
		}
	}
}

func TestRefusedValues(t *testing.T) {
	cases := []struct {
		r    Resources
		word string
	}{
		{Resources{Memory: 1 << 20}, "--memory: less than 6 MiB"},
		{Resources{Memory: -1}, "--memory"},
		{Resources{MemorySwap: 1 << 30}, "--memory-swap: no memory limit"},
		{Resources{Memory: 64 << 20, MemorySwap: 32 << 20}, "smaller than --memory"},
		{Resources{MemorySwap: -2}, "--memory-swap"},
		{Resources{NanoCPUs: 1}, "--cpus"},
		{Resources{NanoCPUs: -1}, "--cpus"},
		{Resources{PidsLimit: -2}, "--pids-limit"},
		{Resources{CpusetCPUs: "9-1"}, "backwards"},
	}
	for _, c := range cases {
		says(t, c.r.Validate(), c.word)
	}
}
