package limits

import (
	"encoding/json"
	"strings"

	"github.com/rc-containers/rc/tests/guest"
)

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

// nobodys runs a line as a user whom no systemd knows: no session, no manager, no
// group of their own.
func (l *lab) nobodys(line string) guest.Result {
	l.Helper()
	return l.as(guest.Root, "cd /home/plain && exec setpriv --reuid plain --regid plain --init-groups env -i HOME=/home/plain USER=plain PATH=$PATH bash -c "+quote(line))
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// standIns is where no limit can be had: what stands in for them is in force, for an
// exec too, and also after the shim has begun anew to be small.
func (l *lab) standIns() {
	if r := l.nobodys(image); r.Code != 0 {
		l.Fatalf("%+v", r)
	}
	r := l.nobodys("rc run --rm --network none --pids-limit=20 limits true")
	if r.Code != 125 || !strings.Contains(r.Stderr, "find a cgroup of our own") {
		l.Errorf("without the fallback: %d %s", r.Code, r.Stderr)
	}
	r = l.nobodys("rc run -d --name box --network none --cgroup-fallback --memory=64m --pids-limit=20 --cpuset-cpus=1 --cpu-shares=512 limits load sleep 1000")
	for _, word := range []string{"limits without a cgroup", "--memory is not in force", "by nice 3", "by CPU affinity", "by RLIMIT_NPROC"} {
		if r.Code != 0 || !strings.Contains(r.Stderr, word) {
			l.Errorf("%d, not said: %q in\n%s", r.Code, word, r.Stderr)
		}
	}
	for _, when := range []string{"", "sleep 8; "} {
		r = l.nobodys(when + `rc exec box sh -c 'read -r stat </proc/self/stat; set -- $stat; shift 18; echo nice $1; ulimit -u' && rc exec box load cpus`)
		l.is("nice value, processes and CPUs "+when, strings.Join(strings.Fields(r.Stdout), " ")+r.Stderr, "nice 3 20 may 1 ran 1")
	}
	r = l.nobodys(`rc exec box sh -c 'for i in $(seq 40); do sleep 100 & done' 2>&1; rc exec box true; echo $?; rc rm -f box`)
	if !strings.Contains(r.Stdout, "can't fork") {
		l.Errorf("40 of 20 processes: %s%s", r.Stdout, r.Stderr)
	}
}

// fallback has what can be had.
func (l *lab) fallback() {
	flags := "--cgroup-fallback --hugetlb 1GB:1g --cgroup-conf misc.max='res 1'"
	r := l.try(run(flags+" --memory=64m", "cat /sys/fs/cgroup/memory.max"))
	if strings.TrimSpace(r.Stdout) != "67108864" {
		l.Errorf("what can be had is not had: %+v", r)
	}
	for _, word := range []string{"--cgroup-conf misc.max is not in force", "limits without a cgroup"} {
		if !strings.Contains(r.Stderr, word) {
			l.Errorf("not said: %q in\n%s", word, r.Stderr)
		}
	}
}

func (l *lab) stats() {
	l.start("--memory=100m --pids-limit=50 --cpus=0.5 --device-write-bps=/dev/vda:100mb")
	l.do("rc exec -d box load spin 120; rc exec box load write /disk/f 4194304 >/dev/null")
	line := l.do("rc stats --no-stream --format '{{.CPUPerc}} {{.MemUsage}} {{.BlockIO}} {{.PIDs}}' box")
	l.Logf("%s", line)
	if !strings.Contains(line, "/ 100MiB") || strings.Contains(line, "--") {
		l.Errorf("stats: %s", line)
	}
	if words := strings.Fields(line); len(words) > 0 {
		l.near("CPU % of stats", strings.TrimSuffix(words[0], "%"), 50, 8)
	}
	var psi struct {
		PSI map[string]struct {
			Some struct{ Avg10, Total float64 }
		}
	}
	text := l.do("rc stats --no-stream --format json box")
	if err := json.Unmarshal([]byte(text), &psi); err != nil || psi.PSI["cpu"].Some.Total == 0 {
		l.Errorf("no pressure on a throttled CPU: %v %s", err, text)
	} else {
		l.Logf("pressure on the CPU: %.1f %% of the last 10 s", psi.PSI["cpu"].Some.Avg10)
	}
}
