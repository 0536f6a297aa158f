package cgroup

import (
	"os"
	"reflect"
	"slices"
	"testing"
)

func TestCreateInAFolder(t *testing.T) {
	f, s := mine(t, everything)
	g, err := s.CreateIn("/batch/night", "abc", Resources{NanoCPUs: 1e9, PidsLimit: 5})
	must(t, err)
	if g.Path != s.Path+"/batch/night/rc-abc" {
		t.Errorf("made %s", g.Path)
	}
	if got := f.get(g.Path, "pids.max"); got != "5" {
		t.Errorf("pids.max: %q", got)
	}
	// A second one finds the folders, and its controller is handed down to them.
	g, err = s.CreateIn("batch", "def", Resources{Memory: 64 << 20})
	must(t, err)
	if g.Path != s.Path+"/batch/rc-def" || f.get(g.Path, "memory.max") != "67108864" {
		t.Errorf("made %s", g.Path)
	}
	must(t, os.Mkdir(s.Path+"/empty", 0o755)) // not filled: no interface files, as on a file system that is no cgroup2
	if _, err = s.CreateIn("/empty", "ghi", Resources{PidsLimit: 1}); err == nil {
		t.Error("a limit where nothing can be handed down")
	}
	if g, err = s.CreateIn("", "jkl", Resources{}); err != nil || g.Path != s.Path+"/rc-jkl" {
		t.Errorf("no folder: %v %v", g, err)
	}
}

func TestPlaceRefuses(t *testing.T) {
	for _, c := range []struct {
		parent string
		words  []string
	}{
		{"work.slice", []string{"systemd-run --user --scope --slice=work.slice -p Delegate=yes", "systemd's"}},
		{"/a/b.scope", []string{"Delegate=yes"}}, {"x.service", []string{"Delegate=yes"}},
		{"..", []string{"no name"}}, {"/a/../b", []string{"no name"}}, {"//", []string{"no name"}}, {"/a//b", []string{"no name"}},
		{"rc-host", []string{"no name"}}, {"/a/payload", []string{"no name"}}, {"a b", []string{"no name"}}, {"/a\nb", []string{"no name"}}, {".hidden", []string{"no name"}},
	} {
		says(t, Place{Parent: c.parent}.Validate(), append(c.words, "--cgroup-parent")...)
		_, s := mine(t, "")
		if _, err := s.CreateIn(c.parent, "x", Resources{}); err == nil {
			t.Errorf("%q was made", c.parent)
		}
	}
	for _, parent := range []string{"", "a", "/a", "/a/b/", "/Batch_1.x"} {
		if err := (Place{Parent: parent}).Validate(); err != nil {
			t.Errorf("%q: %v", parent, err)
		}
	}
}

func TestSplit(t *testing.T) {
	everyOne := Resources{
		Memory: 64 << 20, MemorySwap: -1, MemoryReservation: 32 << 20, NanoCPUs: 1e9, CPUShares: 5, CPUPeriod: 6, CPUQuota: 7, CpusetCPUs: "0", CpusetMems: "0", PidsLimit: 9,
		BlkioWeight: 10, BlkioWeightDevice: []DeviceLimit{{"/dev/a", 1}}, ReadBps: []DeviceLimit{{"/dev/a", 1}}, WriteBps: []DeviceLimit{{"/dev/a", 1}},
		ReadIOps: []DeviceLimit{{"/dev/a", 1}}, WriteIOps: []DeviceLimit{{"/dev/a", 1}},
		Hugetlb: map[string]int64{"2MB": 1}, Conf: map[string]string{"memory.high": "1", "misc.max": "2", "cgroup.max.depth": "3"},
	}
	v := reflect.ValueOf(everyOne)
	for i := range v.NumField() {
		if v.Field(i).IsZero() {
			t.Errorf("%s: this test does not know of it, nor may Split", v.Type().Field(i).Name)
		}
	}
	held, rest := everyOne.Split([]string{"memory", "cpu", "cpuset", "pids", "hugetlb", "io", "misc"})
	if !reflect.DeepEqual(held, everyOne) || !rest.Empty() {
		t.Errorf("with every controller: %+v, left %+v", held, rest)
	}
	held, rest = everyOne.Split(nil)
	if !reflect.DeepEqual(held, Resources{Conf: map[string]string{"cgroup.max.depth": "3"}}) {
		t.Errorf("with none: %+v", held)
	}
	delete(everyOne.Conf, "cgroup.max.depth")
	if !reflect.DeepEqual(rest, everyOne) {
		t.Errorf("with none, left: %+v", rest)
	}
	held, rest = Resources{PidsLimit: 3, Memory: 64 << 20}.Split([]string{"memory"})
	if held.Memory == 0 || held.PidsLimit != 0 || rest.PidsLimit != 3 || rest.Memory != 0 {
		t.Errorf("%+v and %+v", held, rest)
	}
}

func TestApproximate(t *testing.T) {
	a, said := Resources{Memory: 64 << 20, PidsLimit: 20, CpusetCPUs: "1-2", CPUShares: 512, NanoCPUs: 5e8}.Approximate()
	if !reflect.DeepEqual(a, &Approximation{Processes: 20, CPUs: []int{1, 2}, Nice: 3}) {
		t.Errorf("%+v", a)
	}
	want := []string{
		"--memory is not in force: nothing stands in for it",
		"--cpus is not in force: nothing stands in for it",
		"--cpu-shares is only approximated, by nice 3: it weighs each process by itself, not the container",
		"--cpuset-cpus is only approximated, by CPU affinity: a process in the container can change its own (taskset)",
		"--pids-limit is only approximated, by RLIMIT_NPROC: it counts the processes of each user in the container by itself",
	}
	if !slices.Equal(said, want) {
		t.Errorf("said %q", said)
	}
	if a, said := (Resources{CPUShares: 4096}).Approximate(); a != nil || len(said) != 1 {
		t.Errorf("more shares: %+v %q", a, said)
	}
	if a, said := (Resources{}).Approximate(); a != nil || said != nil {
		t.Errorf("nothing: %+v %q", a, said)
	}
}

func TestNice(t *testing.T) {
	for shares, want := range map[uint64]int{2: 19, 102: 10, 512: 3, 820: 1, 1024: 0, 4096: 0} {
		if got := nice(shares); got != want {
			t.Errorf("%d shares: nice %d, want %d", shares, got, want)
		}
	}
}

func TestMakeWithFallback(t *testing.T) {
	f, s := mine(t, "memory")
	p := Place{Fallback: true}
	m, err := p.Make(s, "a", Resources{Memory: 64 << 20, PidsLimit: 5})
	must(t, err)
	if m.Group == nil || f.get(m.Group.Path, "memory.max") != "67108864" || m.Rest.PidsLimit != 5 || m.Rest.Memory != 0 {
		t.Errorf("%+v", m)
	}
	says(t, m.Why, "pids controller")
	// What the kernel refuses is left out as a whole. (The fake's rmdir leaves files, so there is no second group.)
	m, err = p.Make(s, "b", Resources{Conf: map[string]string{"memory.nonsense": "1"}})
	must(t, err)
	if len(m.Rest.Conf) != 1 {
		t.Errorf("%+v", m)
	}
	says(t, m.Why, "memory.nonsense")
	if _, err = (Place{}).Make(s, "c", Resources{PidsLimit: 5}); err == nil {
		t.Error("without the fallback a limit is refused")
	}
}

func TestWhatSystemdCannotDelegate(t *testing.T) {
	const unit = "/user.slice/user@1000.service/app.slice/rc.scope"
	f := newFake(t, unit, everything)
	f.group(unit, selfPID)
	for _, d := range []string{"", "/user@1000.service", "/user@1000.service/app.slice", "/user@1000.service/app.slice/rc.scope"} {
		f.put(f.top+"/user.slice"+d, controllersFile, "memory pids")
	}
	f.put(f.top, controllersFile, everything+" hugetlb")
	f.foreign("/user.slice")
	s := &Subtree{Path: f.top + unit, mount: mountPoint{dir: f.top}, view: f.view}
	says(t, s.whyMissing("hugetlb"), "sudo sh -c 'for d in "+f.top+" "+f.top+"/user.slice "+f.top+"/user.slice/user@1000.service "+f.top+"/user.slice/user@1000.service/app.slice; do echo +hugetlb")
}
