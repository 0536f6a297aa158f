package limits

import (
	"strings"

	"github.com/rc-containers/rc/tests/guest"
)

const user = "/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service"

// systemd delegates no hugetlb controller: whoever wants it hands it down by hand,
// with the line that rc prints.
func (l *lab) hugePages() {
	r := l.try(run("--hugetlb 2MB:2m", "true"))
	if r.Code != 125 || !strings.Contains(r.Stderr, "hugetlb controller is not delegated") {
		l.Errorf("%d %s", r.Code, r.Stderr)
	}
	_, line, ok := strings.Cut(strings.TrimSpace(r.Stderr), "; sudo ")
	if !ok {
		l.Fatalf("no line to type: %s", r.Stderr)
	}
	if r := l.as(guest.Root, line); r.Code != 0 {
		l.Fatalf("what rc said to type does not work: %s\n%s", line, r.Stderr)
	}
	l.start("--hugetlb 2MB:2m")
	l.is("hugetlb.2MB.max", l.file("box", "hugetlb.2MB.max")+" "+l.file("box", "hugetlb.2MB.rsvd.max"), "2097152 2097152")
	l.do("rc update --hugetlb 2MB:4m box")
	l.is("after update", l.file("box", "hugetlb.2MB.max"), "4194304")
	l.do("rc update --hugetlb 2MB:-1 box")
	l.is("lifted", l.file("box", "hugetlb.2MB.max"), "max")
	l.says(run("--hugetlb 16GB:1g", "true"), "--hugetlb", "/sys/kernel/mm/hugepages")
}

func (l *lab) conf() {
	l.start("--cgroup-conf memory.high=32M --cgroup-conf pids.max=50 --cgroup-conf io.max='254:0 rbps=1000000'")
	l.is("three files", l.file("box", "memory.high")+" "+l.file("box", "pids.max")+" "+l.file("box", "io.max"), "33554432 50 254:0 rbps=1000000 wbps=max riops=max wiops=max")
	l.do("rc update --cgroup-conf memory.high=40M box")
	l.is("after update", l.file("box", "memory.high"), "41943040")
	l.do("rc update --cgroup-conf memory.high= box")
	l.is("lifted", l.file("box", "memory.high"), "max")
	l.says("rc update --cgroup-conf io.max= box", "io.max", "give the value")
	l.says(run("--cgroup-conf cgroup.procs=1", "true"), "cgroup.procs", "rc's own")
	l.says(run("--cgroup-conf memory.nonsense=1", "true"), "memory.nonsense", "no such file")
	l.says(run("--cgroup-conf memory.high=much", "true"), "memory.high", "(much)")
}

func (l *lab) place() {
	l.start("--cgroup-parent=/batch/night --memory=64m")
	path := l.inspect("box").HostConfig.CgroupPath
	if !strings.Contains(path, "/batch/night/rc-") {
		l.Errorf("--cgroup-parent=/batch/night: %s", path)
	}
	l.Logf("it stands in %s", path)
	// The folder is the user's: a limit on it is one for all in it.
	batch := path[:strings.Index(path, "/night")]
	l.do("echo 48M >" + batch + "/memory.max")
	if r := l.try("rc exec box load fill 60"); r.Code != 137 {
		l.Errorf("60 MB below a folder of 48: %d", r.Code)
	}
	l.do("rc update --pids-limit=30 box")
	l.is("a controller that comes later", l.file("box", "pids.max"), "30")
	l.do("rc rm -f box")
	l.do("ls -d " + batch + "/night && echo max >" + batch + "/memory.max")

	l.says(run("--cgroup-parent=work.slice", "true"), "systemd-run --user --scope --slice=work.slice -p Delegate=yes rc")
	l.says(run("--cgroup-parent=../x", "true"), "--cgroup-parent")
	in := l.do("systemd-run --user --scope --quiet --slice=work.slice -p Delegate=yes rc run -d --name box --network none --memory=64m limits load sleep 1000 && rc inspect -f '{{.HostConfig.CgroupPath}}' box")
	if !strings.Contains(in, "/work.slice/") {
		l.Errorf("what that line says: %s", in)
	}
	l.do("rc rm -f box")

	// split: in the unit that starts rc, or not at all.
	l.says(run("--cgroups=split", "true"), "--cgroups=split", "Delegate=yes")
	split := l.do("systemd-run --user --quiet --wait --pipe -p Delegate=yes -E PATH=$PATH --unit=splitter rc run --rm --cgroups=split --network none limits sh -c 'echo in; cat /proc/self/cgroup'")
	l.is("--cgroups=split in a unit", strings.ReplaceAll(split, "\n", " "), "in 0::/")
	l.is("--cgroups=disabled", l.do("rc run -d --name box --network none --cgroups=disabled limits load sleep 1000 >/dev/null && rc inspect -f '{{.HostConfig.CgroupPath}}' box"), "")
	l.says("rc update --memory=64m box", "without a cgroup")
	l.says(run("--cgroups=disabled --memory=64m", "true"), "--cgroups", "nothing is limited")
	l.says(run("--cgroups=no-conmon", "true"), "enabled")
}

// fallback runs where the keeper has no scope: in a unit that is not delegated, of
// a user without a manager of its own the same.
func (l *lab) fallback() {
	flags := "--cgroup-fallback --hugetlb 1GB:1g --cgroup-conf misc.max='res 1'"
	r := l.try(run(flags+" --memory=64m", "cat /sys/fs/cgroup/memory.max"))
	l.is("what can be had is had", strings.TrimSpace(r.Stdout), "67108864")
	for _, word := range []string{"--cgroup-conf misc.max is not in force", "limits without a cgroup"} {
		if !strings.Contains(r.Stderr, word) {
			l.Errorf("not said: %q in\n%s", word, r.Stderr)
		}
	}
}

// missing takes the io and the cpuset controller from the user's systemd.
func (l *lab) missing() {
	off := "rc rm -f $(rc ps -aq) >/dev/null 2>&1; true"
	l.do(off)
	r := l.as(guest.Root, "cat "+user+"/cgroup.subtree_control")
	l.Logf("the user's systemd hands down %s", strings.TrimSpace(r.Stdout))
}

func (l *lab) stats() {
	l.start("--memory=100m --pids-limit=50 --cpus=0.5 --device-write-bps=/dev/vda:100mb")
	l.do("rc exec -d box load spin 120; rc exec box load write /disk/f 4194304 >/dev/null")
	line := l.do("rc stats --no-stream --format '{{.CPUPerc}} {{.MemUsage}} {{.BlockIO}} {{.PIDs}}' box")
	l.Logf("%s", line)
	if !strings.Contains(line, "/ 100MiB") || strings.Contains(line, "--") {
		l.Errorf("stats: %s", line)
	}
	var cpu float64
	if words := strings.Fields(line); len(words) > 0 {
		l.near("CPU % of stats", strings.TrimSuffix(words[0], "%"), 50, 8)
	}
	_ = cpu
}
