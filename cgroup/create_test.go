package cgroup

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// mine is a tree in which this process stands below a subtree of its own.
func mine(t *testing.T, controllers string) (*fake, *Subtree) {
	f := newFake(t, "/mine/shell", controllers)
	f.group("/mine/shell", 7, selfPID)
	return f, f.find()
}

var all = Resources{Memory: 64 << 20, MemorySwap: 96 << 20, NanoCPUs: 5e8, CPUShares: 1024, CpusetCPUs: "1-2", PidsLimit: 20}

func TestCreateAppliesLimitsAboveThePayload(t *testing.T) {
	f, s := mine(t, everything)
	g, err := s.Create("abc1", all)
	must(t, err)
	if g.Path != s.Path+"/rc-abc1" || g.ID() != "abc1" {
		t.Errorf("made %s, id %s", g.Path, g.ID())
	}
	want := map[string]string{"memory.max": "67108864", "memory.swap.max": "33554432", "cpu.max": "50000 100000", "cpu.weight": "100", "cpuset.cpus": "1-2", "pids.max": "20"}
	for file, value := range want {
		if got := f.get(g.Path, file); got != value {
			t.Errorf("%s is %q, want %q", file, got, value)
		}
	}
	// Where programs inside look.
	for _, file := range []string{"memory.max", "memory.swap.max", "cpu.max", "pids.max"} {
		if got := f.get(g.Path+"/payload", file); got != want[file] {
			t.Errorf("payload's %s is %q, want %q", file, got, want[file])
		}
	}
	for _, c := range []string{"+memory", "+cpu", "+cpuset", "+pids"} {
		if got := f.get(g.Path, controlFile); !strings.Contains(got, c) {
			t.Errorf("%s lacks %s: %q", controlFile, c, got)
		}
	}
}

func TestCreateWithoutLimits(t *testing.T) {
	f, s := mine(t, "")
	g, err := s.Create("1", Resources{})
	must(t, err)
	if got := f.get(g.Path, controlFile); got != "" {
		t.Errorf("handed down %q", got)
	}
	groups, err := s.List()
	must(t, err)
	if len(groups) != 1 || groups[0].ID() != "1" {
		t.Errorf("listed %v", groups)
	}
}

// A controller that we have but that nobody handed on is switched on in every
// group of ours on the way.
func TestCreateEnablesOnTheWay(t *testing.T) {
	f := newFake(t, "/mine/team/sh", everything)
	f.group("/mine/team/sh", 7, selfPID)
	f.put(f.top+"/mine", controlFile, "memory pids")
	f.put(f.top+"/mine/team", controllersFile, "memory pids")
	f.put(f.top+"/mine/team", controlFile, "memory pids")
	s := f.find()
	_, err := s.Create("a", Resources{NanoCPUs: 1e9, PidsLimit: 5})
	// The fake forgets what was enabled before, so the limit on pids fails late;
	// what counts is which files were written.
	_ = err
	for _, dir := range []string{"/mine", "/mine/team"} {
		if got := f.get(f.top+dir, controlFile); got != "+cpu" {
			t.Errorf("%s: %q, want +cpu", dir, got)
		}
	}
}

func TestMissingController(t *testing.T) {
	cases := []struct {
		name  string
		build func() *fake
		words []string
	}{
		{"user's systemd", func() *fake {
			f := newFake(t, "/user.slice/user@1000.service/app.slice/rc.scope/rc-host", everything)
			f.group("/user.slice/user@1000.service/app.slice/rc.scope/rc-host", selfPID)
			f.put(f.top+"/user.slice", controlFile, "memory pids")
			for _, d := range []string{"", "/app.slice", "/app.slice/rc.scope"} {
				f.put(f.top+"/user.slice/user@1000.service"+d, controllersFile, "memory pids")
				f.put(f.top+"/user.slice/user@1000.service"+d, controlFile, "memory pids")
			}
			f.foreign("/user.slice")
			return f
		}, []string{"user@.service.d", `Delegate=cpu cpuset io memory pids\n`, "user.slice/cgroup.subtree_control does not hand it down"}},
		{"system unit", func() *fake {
			f := newFake(t, "/system.slice/job.service", everything)
			dir := f.group("/system.slice/job.service", selfPID)
			f.put(dir, controllersFile, "memory")
			f.foreign("/system.slice")
			return f
		}, []string{"job.service.d", "system.slice/cgroup.subtree_control"}},
		{"by hand", func() *fake {
			f := newFake(t, "/mine/sh", everything)
			f.group("/mine/sh", selfPID)
			f.put(f.top+"/mine", controllersFile, "pids")
			f.put(f.top+"/mine/sh", controllersFile, "pids")
			return f
		}, []string{"echo +cpu | sudo tee ", "/cg/cgroup.subtree_control"}},
		{"hybrid", func() *fake {
			f := newFake(t, "/mine", "hugetlb")
			f.group("/mine", selfPID)
			f.self("3:cpu,cpuacct:/\n0::/mine\n")
			return f
		}, []string{"held by cgroup version 1", "systemd.unified_cgroup_hierarchy=1"}},
		{"container", func() *fake {
			f := newFake(t, "/mine", "pids")
			f.group("/mine", selfPID)
			must(t, os.Chmod(f.top, 0o755))
			f.put(f.top, typeFile, "domain\n")
			f.foreign("/")
			return f
		}, []string{"not delegated to this container"}},
		{"kernel", func() *fake {
			f := newFake(t, "/mine", "pids")
			f.group("/mine", selfPID)
			return f
		}, []string{"no cpu controller"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := c.build().find()
			_, err := s.Create("a", Resources{NanoCPUs: 1e9})
			says(t, err, append(c.words, "cpu limit")...)
			if groups, _ := s.List(); len(groups) != 0 {
				t.Errorf("left %v behind", groups)
			}
		})
	}
}

func TestCpusetThatIsNotThere(t *testing.T) {
	f, s := mine(t, everything)
	f.cpus = "0"
	_, err := s.Create("a", Resources{CpusetCPUs: "0,3"})
	says(t, err, "--cpuset-cpus=0,3", "CPU 3 is not available")
}

func TestNoSwapAccounting(t *testing.T) {
	f, s := mine(t, "memory")
	plain := f.view.made
	s.view.made = func(path string) error {
		err := plain(path)
		_ = os.Remove(path + "/memory.swap.max")
		return err
	}
	// Nobody asked for a swap limit: Docker's default gives way.
	_, err := s.Create("a", Resources{Memory: 64 << 20})
	must(t, err)
	_, err = s.Create("b", Resources{Memory: 64 << 20, MemorySwap: 80 << 20})
	// Here O_TRUNC without O_CREAT answers as a kernel without the file does.
	if hostHasSwap() {
		says(t, err, "--memory-swap", "swapaccount=1")
	} else if err != nil {
		t.Errorf("no swap on the host, so the limit holds: %v", err)
	}
}

func TestRefusedNames(t *testing.T) {
	_, s := mine(t, "")
	for _, id := range []string{"", "host", "../x", "a/b", "A", "a.b", "rc-1", strings.Repeat("a", 65)} {
		if _, err := s.Create(id, Resources{}); err == nil {
			t.Errorf("made a group for %q", id)
		}
	}
	for _, path := range []string{"/sys/fs/cgroup", "rc-1", "/sys/fs/cgroup/rc-host", "/sys/fs/cgroup/rc-", "/x/rc-../.."} {
		if err := Open(path).Remove(); err == nil {
			t.Errorf("Remove took %q", path)
		}
	}
	must(t, Open("/nowhere/at/all/rc-1").Remove())
	must(t, Open("/nowhere/at/all/rc-1").Kill())
	if _, err := s.Create("dup", Resources{}); err != nil {
		t.Fatal(err)
	}
	_, err := s.Create("dup", Resources{})
	says(t, err, "rc-dup", "rc rm")
	if !errors.Is(err, unix.EEXIST) {
		t.Errorf("%v is not EEXIST", err)
	}
}

func TestStats(t *testing.T) {
	f, s := mine(t, everything)
	g, err := s.Create("a", all)
	must(t, err)
	for name, text := range map[string]string{
		"memory.current": "5000\n", "memory.stat": "anon 100\ninactive_file 2000\n", "memory.events": "low 0\noom 1\noom_kill 2\noom_group_kill 9\n",
		"pids.current": "3\n", "pids.events": "max 7\n", "io.stat": "8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n8:16 rbytes=5 wbytes=0 rios=1 wios=0 dbytes=0 dios=0\n",
	} {
		f.put(g.Path, name, text)
	}
	st, err := g.Stats()
	must(t, err)
	if st.CPU.Usage != 1500*time.Millisecond || st.CPU.ThrottledPeriods != 3 || st.CPU.Throttled != 250*time.Microsecond {
		t.Errorf("cpu %+v", st.CPU)
	}
	if st.MemoryUsed() != 3000 || st.Memory.Limit != 64<<20 || st.Memory.OOMKills != 2 {
		t.Errorf("memory %+v", st.Memory)
	}
	if st.PIDs.Current != 3 || st.PIDs.Limit != 20 || st.PIDs.Refused != 7 {
		t.Errorf("pids %+v", st.PIDs)
	}
	if st.IO.ReadBytes != 15 || st.IO.WriteBytes != 20 || st.IO.Reads != 2 || st.IO.Writes != 2 {
		t.Errorf("io %+v", st.IO)
	}
	if oom, err := g.OOMKilled(); !oom || err != nil {
		t.Errorf("OOMKilled %v, %v", oom, err)
	}
	f.put(g.Path, "cgroup.procs", "")
	f.put(g.Path+"/payload", "cgroup.procs", "12\n0\n")
	must(t, os.Mkdir(g.Path+"/payload/inner", 0o700))
	f.put(g.Path+"/payload/inner", "cgroup.procs", "7\n12\n")
	if pids, err := g.Processes(); err != nil || !slices.Equal(pids, []int{7, 12}) {
		t.Errorf("processes %v, %v", pids, err)
	}
	must(t, os.Remove(g.Path+"/memory.events"))
	if oom, err := g.OOMKilled(); oom || err != nil {
		t.Errorf("without the controller: OOMKilled %v, %v", oom, err)
	}
}

// Without a limit, memory and pids are handed down where that costs nobody
// anything: for stats and for the report of an OOM kill.
func TestCreateAsksForCounters(t *testing.T) {
	f, s := mine(t, everything)
	f.put(s.Path, controlFile, "")
	g, err := s.Create("a", Resources{})
	must(t, err)
	if got := f.get(s.Path, controlFile); got != "+memory +pids" {
		t.Errorf("handed down %q", got)
	}
	if _, err := os.Stat(g.Path + "/memory.events"); err != nil {
		t.Error(err)
	}
}

func TestHostFD(t *testing.T) {
	_, s := mine(t, everything)
	if fd, err := s.HostFD(); fd != nil || err != nil || !s.Inherited() {
		t.Errorf("below the subtree a shim is well placed; got %v, %v", fd, err)
	}
	f := newFake(t, "/mine", everything)
	f.group("/mine", selfPID)
	s = f.find()
	if s.Inherited() {
		t.Error("a child of who stands in the subtree itself would bar its limits")
	}
	for range 2 { // the second time the leaf is there
		fd, err := s.HostFD()
		must(t, err)
		if fd.Name() != s.Path+"/rc-host" {
			t.Errorf("opened %s", fd.Name())
		}
		must(t, fd.Close())
	}
	if groups, err := s.List(); len(groups) != 0 || err != nil {
		t.Errorf("listed %v, %v", groups, err)
	}
}

func TestStepAsideMovesThisProcessOnly(t *testing.T) {
	f := newFake(t, "/mine", everything)
	f.group("/mine", selfPID)
	s := f.find()
	top, err := openDir(s.Path)
	must(t, err)
	defer top.close()
	must(t, s.stepAside(top))
	if got := f.get(s.Path+"/rc-host", procsFile); got != "4242" {
		t.Errorf("moved %q", got)
	}
	if s.within {
		t.Error("still taken to stand in the subtree")
	}
}

func TestListSkipsWhatIsNotOurs(t *testing.T) {
	f, s := mine(t, "")
	for _, name := range []string{"rc-host", "rc-", "rc-A", "rc-x.scope", "other", "rc-ok1"} {
		f.group("/mine/" + name)
	}
	f.put(s.Path, "rc-file", "")
	groups, err := s.List()
	must(t, err)
	if len(groups) != 1 || groups[0].ID() != "ok1" {
		t.Errorf("listed %v", groups)
	}
}

func TestPayloadFDOpensNothing(t *testing.T) {
	_, s := mine(t, "")
	g, err := s.Create("a", Resources{})
	must(t, err)
	fd, err := g.PayloadFD()
	must(t, err)
	defer fd.Close()
	if _, err := fd.ReadDir(1); !errors.Is(err, unix.EBADF) {
		t.Errorf("a leaked descriptor can be read: %v", err)
	}
	flags, err := unix.FcntlInt(fd.Fd(), unix.F_GETFD, 0)
	if err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("not close-on-exec: %x, %v", flags, err)
	}
	_, err = Open(s.Path + "/rc-none").PayloadFD()
	says(t, err, "open the container's cgroup", "rc-none/payload")
}

// A group that is gone: the shim cleans up after itself and others ask later.
func TestGoneGroup(t *testing.T) {
	_, s := mine(t, "")
	g := Open(s.Path + "/rc-gone")
	if live, err := g.Populated(); live || err != nil {
		t.Errorf("populated %v, %v", live, err)
	}
	must(t, g.Kill())
	must(t, g.Remove())
	for what, err := range map[string]error{"freeze": g.Freeze(), "thaw": g.Thaw(), "add": g.AddPayload(1)} {
		if !errors.Is(err, unix.ENOENT) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := g.Stats(); !errors.Is(err, unix.ENOENT) {
		t.Errorf("stats: %v", err)
	}
	if _, err := g.OOMKilled(); !errors.Is(err, unix.ENOENT) {
		t.Errorf("OOMKilled: %v", err)
	}
}
