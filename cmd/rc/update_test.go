package main

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/rc-containers/rc/cgroup"
)

func TestMergeDevices(t *testing.T) {
	have := []cgroup.DeviceLimit{{Path: "/dev/a", Limit: 1}, {Path: "/dev/b", Limit: 2}}
	got := mergeDevices(have, []cgroup.DeviceLimit{{Path: "/dev/a", Limit: 0}, {Path: "/dev/c", Limit: 3}, {Path: "/dev/b", Limit: 4}})
	if want := []cgroup.DeviceLimit{{Path: "/dev/c", Limit: 3}, {Path: "/dev/b", Limit: 4}}; !slices.Equal(got, want) {
		t.Errorf("%+v", got)
	}
	if have[0].Limit != 1 || len(have) != 2 {
		t.Error("the old ones were changed")
	}
}

func TestMergeLimits(t *testing.T) {
	r := cgroup.Resources{Memory: 64 << 20, MemorySwap: 128 << 20, PidsLimit: 5, BlkioWeight: 20, Hugetlb: map[string]int64{"2MB": 5, "1GB": 7}, Conf: map[string]string{"memory.high": "1", "pids.max": "2"}}
	changed := map[string]bool{"memory": true, "blkio-weight": true, "hugetlb": true, "cgroup-conf": true}
	wanted := cgroup.Resources{BlkioWeight: 30, Hugetlb: map[string]int64{"2MB": -1}, Conf: map[string]string{"memory.high": ""}}
	if err := mergeLimits(&r, wanted, changed); err != nil {
		t.Fatal(err)
	}
	if r.Memory != 0 || r.MemorySwap != 0 || r.PidsLimit != 5 || r.BlkioWeight != 30 ||
		!maps.Equal(r.Hugetlb, map[string]int64{"1GB": 7}) || !maps.Equal(r.Conf, map[string]string{"pids.max": "2"}) {
		t.Errorf("%+v", r)
	}
	if err := r.Validate(); err != nil {
		t.Error(err)
	}
	err := mergeLimits(&r, cgroup.Resources{Conf: map[string]string{"rdma.max": ""}}, map[string]bool{"cgroup-conf": true})
	if err == nil || !strings.Contains(err.Error(), "rdma.max") {
		t.Errorf("%v", err)
	}
	err = mergeLimits(&cgroup.Resources{MemorySwap: 5}, cgroup.Resources{Memory: 6}, map[string]bool{"memory": true})
	if err == nil || !strings.Contains(err.Error(), "--memory-swap") {
		t.Errorf("%v", err)
	}
}
