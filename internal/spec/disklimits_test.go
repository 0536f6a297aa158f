package spec

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rc-containers/rc/cgroup"
)

// someDisk is a block device of this machine, whose node may lie anywhere.
func someDisk(t *testing.T) string {
	t.Helper()
	for _, pattern := range []string{"/dev/vd?", "/dev/sd?", "/dev/nvme*n?", "/dev/loop0", "/dev/dm-*", "/dev/ram0"} {
		found, _ := filepath.Glob(pattern)
		for _, path := range found {
			if _, err := cgroup.FindDisk(path); err == nil {
				return path
			}
		}
	}
	t.Skip("no block device has a node in /dev here")
	return ""
}

func TestDiskLimits(t *testing.T) {
	disk := someDisk(t)
	p := plan(t, Options{
		BlkioWeight: 300, BlkioWeightDevice: []string{disk + ":20"}, DeviceReadBps: []string{disk + ":1mb"}, DeviceWriteBps: []string{disk + ":2048"},
		DeviceReadIOps: []string{disk + ":7"}, DeviceWriteIOps: []string{disk + ":8"},
	})
	r := p.Resources
	for what, got := range map[string][]cgroup.DeviceLimit{"20": r.BlkioWeightDevice, "1048576": r.ReadBps, "2048": r.WriteBps, "7": r.ReadIOps, "8": r.WriteIOps} {
		if len(got) != 1 || got[0].Path != disk || limitText(got[0].Limit) != what {
			t.Errorf("%+v, want %s", got, what)
		}
	}
	if r.BlkioWeight != 300 {
		t.Errorf("weight %d", r.BlkioWeight)
	}
}

func TestDiskLimitsRefuse(t *testing.T) {
	for want, o := range map[string]*Options{
		`--blkio-weight`:         {BlkioWeight: 5},
		`--blkio-weight "70000"`: {BlkioWeight: 70000},
		`--device-read-bps "/dev/null:1mb": it is no block`:   {DeviceReadBps: []string{"/dev/null:1mb"}},
		`--device-write-bps "sda:1mb": not a device`:          {DeviceWriteBps: []string{"sda:1mb"}},
		`--device-write-bps "/dev/sda": not a device`:         {DeviceWriteBps: []string{"/dev/sda"}},
		`--device-read-iops "/dev/sda:many": invalid`:         {DeviceReadIOps: []string{"/dev/sda:many"}},
		`--device-write-iops "/dev/sda:-1"`:                   {DeviceWriteIOps: []string{"/dev/sda:-1"}},
		`--device-read-bps "/dev/nosuchdisk:1": no such file`: {DeviceReadBps: []string{"/dev/nosuchdisk:1"}},
		`--hugetlb "2MB"`:                                   {Hugetlb: []string{"2MB"}},
		`--hugetlb "2MB:"`:                                  {Hugetlb: []string{"2MB:"}},
		`--hugetlb: no size`:                                {Hugetlb: []string{"2M:1g"}},
		`--cgroup-conf "memory.high": no value`:             {CgroupConf: []string{"memory.high"}},
		`--cgroup-conf "cgroup.procs=1": this file is rc's`: {CgroupConf: []string{"cgroup.procs=1"}},
		`--cgroups "no-conmon"`:                             {Cgroups: "no-conmon"},
		`--cgroups "here"`:                                  {Cgroups: "here"},
		`--cgroups "disabled": without a cgroup`:            {Cgroups: "disabled", Memory: "64m"},
		`--cgroup-parent "/a": without a cgroup`:            {Cgroups: "disabled", CgroupParent: "/a"},
		`--cgroup-parent "a.slice"`:                         {CgroupParent: "a.slice"},
	} {
		checkRefusal(t, Check(o), want)
	}
	// 0 lifts the limit on a disk that is gone.
	if err := Check(&Options{DeviceReadBps: []string{"/dev/nosuchdisk:0"}}); err != nil {
		t.Error(err)
	}
}

func TestOtherLimits(t *testing.T) {
	p := plan(t, Options{
		Hugetlb: []string{"2MB:64m", "1GB:-1"}, CgroupConf: []string{"memory.high=1=2", "io.max=8:0 rbps=1", "io.max=8:16 rbps=2"},
		CgroupParent: "/batch", Cgroups: "split", CgroupFallback: true,
	})
	if want := map[string]int64{"2MB": 64 << 20, "1GB": -1}; !maps.Equal(p.Resources.Hugetlb, want) {
		t.Errorf("%v", p.Resources.Hugetlb)
	}
	if want := map[string]string{"memory.high": "1=2", "io.max": "8:0 rbps=1\n8:16 rbps=2"}; !maps.Equal(p.Resources.Conf, want) {
		t.Errorf("%q", p.Resources.Conf)
	}
	if p.Place != (cgroup.Place{Mode: cgroup.PlaceSplit, Parent: "/batch", Fallback: true}) {
		t.Errorf("%+v", p.Place)
	}
	if p := plan(t, Options{Cgroups: "enabled"}); p.Place != (cgroup.Place{}) {
		t.Errorf("%+v", p.Place)
	}
}

// For an update a value may be empty, and the warnings come back.
func TestLimitsOfAnUpdate(t *testing.T) {
	r, warnings, err := Limits(&Options{CgroupConf: []string{"memory.high="}, PidsLimit: -1})
	if err != nil || len(warnings) != 0 || r.PidsLimit != -1 {
		t.Errorf("%+v %q %v", r, warnings, err)
	}
	if v, ok := r.Conf["memory.high"]; !ok || v != "" {
		t.Errorf("%q", r.Conf)
	}
	if _, err := os.Stat("/sys/class/block"); err != nil {
		t.Skip("no sysfs")
	}
	parts, _ := filepath.Glob("/sys/class/block/*/partition")
	for _, p := range parts {
		node := "/dev/" + filepath.Base(filepath.Dir(p))
		if _, err := cgroup.FindDisk(node); err != nil {
			continue
		}
		if _, warnings, err = Limits(&Options{DeviceReadBps: []string{node + ":1mb"}}); err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], "whole disks") {
			t.Errorf("%s: %q %v", node, warnings, err)
		}
		return
	}
}
