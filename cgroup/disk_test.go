package cgroup

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// disks gives the fake tree disks that this machine need not have.
func disks(t *testing.T, numbers map[string]string) {
	t.Helper()
	diskOf = func(path string) (Disk, error) {
		if n, ok := numbers[path]; ok {
			return Disk{Number: n}, nil
		}
		return FindDisk(path)
	}
	t.Cleanup(func() { diskOf = FindDisk })
}

// sysfs is /sys/dev/block of a machine with the disk 8:0, its partition 8:1, and
// the mapped device 253:0.
func sysfs(t *testing.T) string {
	t.Helper()
	top := t.TempDir()
	for dir, files := range map[string]map[string]string{
		"devices/sda":      {"dev": "8:0\n"},
		"devices/sda/sda1": {"dev": "8:1\n", "partition": "1\n"},
		"devices/dm-0":     {"dev": "253:0\n"},
	} {
		must(t, os.MkdirAll(filepath.Join(top, dir), 0o755))
		for name, text := range files {
			must(t, os.WriteFile(filepath.Join(top, dir, name), []byte(text), 0o644))
		}
	}
	must(t, os.Mkdir(top+"/block", 0o755))
	for number, to := range map[string]string{"8:0": "sda", "8:1": "sda/sda1", "253:0": "dm-0"} {
		must(t, os.Symlink("../devices/"+to, top+"/block/"+number))
	}
	return top + "/block"
}

func TestWholeDisk(t *testing.T) {
	sys := sysfs(t)
	for number, want := range map[string]Disk{
		"8:0": {Number: "8:0"}, "8:1": {"8:0", true}, "253:0": {Number: "253:0"}, "7:3": {Number: "7:3"},
	} {
		if got := wholeDisk(number, sys); got != want {
			t.Errorf("%s: %+v, want %+v", number, got, want)
		}
	}
}

func TestFindDiskRefuses(t *testing.T) {
	for path, words := range map[string][]string{
		"/dev/null":            {"/dev/null", "no block device", "lsblk"},
		t.TempDir():            {"no block device"},
		"/dev/no-such-disk-xy": {"no such file", "lsblk"},
	} {
		_, err := FindDisk(path)
		says(t, err, words...)
	}
}

func TestDiskLimits(t *testing.T) {
	disks(t, map[string]string{"/dev/sda": "8:0", "/dev/sdb": "8:16"})
	f, s := mine(t, "io memory")
	before := Resources{
		BlkioWeight: 500, BlkioWeightDevice: []DeviceLimit{{"/dev/sdb", 10}},
		ReadBps: []DeviceLimit{{"/dev/sda", 1 << 20}},
	}
	g, err := s.Create("io1", before)
	must(t, err)
	if got := f.get(g.Path, "io.max"); got != "8:0 rbps=1048576" {
		t.Errorf("io.max: %q", got)
	}
	if got := f.get(g.Path, "io.weight"); got != "8:16 1" { // the fake keeps what was written last
		t.Errorf("io.weight: %q", got)
	}
	f.put(g.Path, "io.bfq.weight", "default 100\n")

	after := before
	after.BlkioWeightDevice = nil
	must(t, g.Update(before, after))
	if bfq, cost := f.get(g.Path, "io.bfq.weight"), f.get(g.Path, "io.weight"); bfq != "8:16 default" || cost != "8:16 default" {
		t.Errorf("a disk's weight was lifted by %q and %q", bfq, cost)
	}
	before, after.BlkioWeight = after, 0
	must(t, g.Update(before, after))
	if bfq, cost := f.get(g.Path, "io.bfq.weight"), f.get(g.Path, "io.weight"); bfq != "100" || cost != "default 100" {
		t.Errorf("the weight was lifted by %q and %q", bfq, cost)
	}
	// Another kind of limit on the same disk stays as it is: only its own is lifted.
	before, after.ReadBps, after.WriteIOps = after, nil, nil
	must(t, g.Update(before, after))
	if got := f.get(g.Path, "io.max"); got != "8:0 rbps=max" {
		t.Errorf("lifted by %q", got)
	}
	// One whose disk is gone is no reason to keep the rest.
	must(t, g.Update(Resources{ReadBps: []DeviceLimit{{"/dev/gone", 1}}}, Resources{}))
}

func TestDiskLimitsAreChecked(t *testing.T) {
	for _, c := range []struct {
		r     Resources
		words []string
	}{
		{Resources{BlkioWeight: 9}, []string{"--blkio-weight", "10 to 1000"}},
		{Resources{BlkioWeightDevice: []DeviceLimit{{"/dev/sda", 1001}}}, []string{"--blkio-weight-device", "10 to 1000"}},
	} {
		says(t, c.r.Validate(), c.words...)
	}
	if !(Resources{ReadBps: []DeviceLimit{{"/dev/sda", 0}}, BlkioWeightDevice: []DeviceLimit{{"/dev/sda", 0}}}).Empty() {
		t.Error("0 is no limit")
	}
	_, s := mine(t, "io")
	_, err := s.Create("x", Resources{WriteBps: []DeviceLimit{{"/dev/null", 5}}})
	says(t, err, "/dev/null", "no block device")
}

func TestKernelWithoutWeights(t *testing.T) {
	f, s := mine(t, "io")
	g, err := s.Create("w", Resources{})
	must(t, err)
	must(t, os.Remove(g.Path+"/io.weight"))
	says(t, g.Update(Resources{}, Resources{BlkioWeight: 100}), "--blkio-weight", "modprobe bfq", "neither io.bfq.weight nor io.weight")
	f.put(g.Path, "io.bfq.weight", "")
	must(t, g.Update(Resources{}, Resources{BlkioWeight: 100}))
	if got := f.get(g.Path, "io.bfq.weight"); got != "100" {
		t.Errorf("bfq: %q", got)
	}
}

// The ends and the default of version 1, and what runc makes of them.
func TestCostWeight(t *testing.T) {
	for in, want := range map[uint64]uint64{10: 1, 100: 910, 500: 4950, 1000: 10000} {
		if got := costWeight(in); got != want {
			t.Errorf("%d: %d, want %d", in, got, want)
		}
	}
}

func TestWhyNotApplied(t *testing.T) {
	disk := setting{file: ioMax, value: "rbps=1", flag: "--device-read-bps", disk: "/dev/sda1", controller: "io"}
	says(t, whyNotApplied(disk, unix.ENODEV), "--device-read-bps", "/dev/sda1 rbps=1", "whole disk")
	says(t, whyNotApplied(setting{flag: "--cgroup-conf io.max", value: "8:1 rbps=1"}, unix.ENODEV), "whole disk")
	says(t, whyNotApplied(disk, unix.EOPNOTSUPP), "bfq")
	says(t, whyNotApplied(setting{flag: "--cgroup-conf cpu.max", value: "x"}, unix.EINVAL), "(x)", "cgroup-v2.rst")
	says(t, whyNotApplied(setting{controller: "hugetlb", flag: "--hugetlb"}, unix.ENOENT), "/sys/kernel/mm/hugepages")
	if err := whyNotApplied(setting{optional: true}, unix.ENOENT); err != nil {
		t.Error(err)
	}
}
