package cgroup

import (
	"slices"
	"testing"
)

func TestHugePages(t *testing.T) {
	f, s := mine(t, "hugetlb")
	g, err := s.Create("h", Resources{Hugetlb: map[string]int64{"2MB": 4 << 20}})
	must(t, err)
	for _, file := range []string{"hugetlb.2MB.max", "hugetlb.2MB.rsvd.max"} {
		if got := f.get(g.Path, file); got != "4194304" {
			t.Errorf("%s: %q", file, got)
		}
	}
	must(t, g.Update(Resources{Hugetlb: map[string]int64{"2MB": 4 << 20}}, Resources{}))
	if got := f.get(g.Path, "hugetlb.2MB.max"); got != "max" {
		t.Errorf("lifted by %q", got)
	}
	for _, size := range []string{"", "MB", "2M", "2mb", "2 MB", "../2MB", "02MB", "2TB"} {
		says(t, Resources{Hugetlb: map[string]int64{size: 1}}.Validate(), "--hugetlb", "2MB")
	}
	_, err = s.Create("i", Resources{Hugetlb: map[string]int64{"1GB": 1 << 30}})
	says(t, err, "--hugetlb", "hugepages")
}

func TestConfWinsOverFlags(t *testing.T) {
	f, s := mine(t, "memory pids")
	r := Resources{Memory: 64 << 20, Conf: map[string]string{"memory.high": "32M", "memory.max": "128M"}}
	g, err := s.Create("c", r)
	must(t, err)
	if high, most := f.get(g.Path, "memory.high"), f.get(g.Path, "memory.max"); high != "32M" || most != "128M" {
		t.Errorf("memory.high %q, memory.max %q", high, most)
	}
	must(t, g.Update(r, Resources{Memory: 64 << 20}))
	if high, most := f.get(g.Path, "memory.high"), f.get(g.Path, "memory.max"); high != "max" || most != "67108864" {
		t.Errorf("without: memory.high %q, memory.max %q", high, most)
	}
	_, err = s.Create("d", Resources{Conf: map[string]string{"memory.nonsense": "1"}})
	says(t, err, "--cgroup-conf memory.nonsense", "no such file")
	_, err = s.Create("e", Resources{Conf: map[string]string{"misc.max": "res 1"}})
	says(t, err, "misc")
}

func TestConfTakesALineForEachDisk(t *testing.T) {
	set, err := Resources{ReadBps: []DeviceLimit{{"/dev/sda", 1}}, Conf: map[string]string{"io.max": "8:0 rbps=1\n8:16 wbps=2"}}.settings()
	must(t, err)
	var lines []string
	for _, s := range set {
		lines = append(lines, s.value)
	}
	if !slices.Equal(lines, []string{"8:0 rbps=1", "8:16 wbps=2"}) {
		t.Errorf("%q", lines)
	}
}

func TestCheckConf(t *testing.T) {
	for file, want := range map[string]string{"memory.high": "memory", "cgroup.max.depth": "", "io.bfq.weight": "io", "hugetlb.2MB.max": "hugetlb"} {
		if got, err := CheckConf(file, "1"); err != nil || got != want {
			t.Errorf("%s: %q, %v", file, got, err)
		}
	}
	for _, file := range []string{"", "memory", "memory.", "../memory.max", "a/b.c", "cgroup.procs", "cgroup.kill", "cgroup.subtree_control", "cgroup.type", "cgroup.freeze", "memory.max\n"} {
		if _, err := CheckConf(file, "1"); err == nil {
			t.Errorf("%q was taken", file)
		}
	}
	_, err := CheckConf("memory.high", " ")
	says(t, err, "no value")
	if !Lifts("memory.high") || !Lifts("hugetlb.2MB.max") || Lifts("io.max") || Lifts("rdma.max") {
		t.Error("Lifts")
	}
}

// A cpuset with processes cannot be emptied: it gets all that the group above has.
func TestCpusetIsGivenAll(t *testing.T) {
	f, s := mine(t, "cpuset")
	g, err := s.Create("s", Resources{CpusetCPUs: "1"})
	must(t, err)
	f.put(s.Path, "cpuset.cpus.effective", "0-3\n")
	d, err := openDir(g.Path)
	must(t, err)
	defer d.close()
	must(t, d.writeAll("cpuset.cpus"))
	if got := f.get(g.Path, "cpuset.cpus"); got != "0-3" {
		t.Errorf("%q", got)
	}
	must(t, g.Update(Resources{CpusetCPUs: "1"}, Resources{}))
	if got := f.get(g.Path, "cpuset.cpus"); got != emptyList { // the fake lets it be emptied
		t.Errorf("%q", got)
	}
}
