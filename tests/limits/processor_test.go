package limits

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// spun is the share of one CPU that the container had over some seconds, by the
// kernel's own count in cpu.stat.
func (l *lab) spun(container string, seconds int) float64 {
	l.Helper()
	usage := func() (time.Duration, time.Duration) {
		words := strings.Fields(l.file(container, "cpu.stat") + " " + l.do("cat /proc/uptime"))
		µs, _ := strconv.ParseInt(words[1], 10, 64) // usage_usec N
		up, _ := strconv.ParseFloat(words[len(words)-2], 64)
		return time.Duration(µs) * time.Microsecond, time.Duration(up * float64(time.Second))
	}
	cpu0, at0 := usage()
	l.do(fmt.Sprintf("sleep %d", seconds))
	cpu1, at1 := usage()
	return float64(cpu1-cpu0) / float64(at1-at0) * 100
}

func (l *lab) cpus() {
	l.near("--cpus=0.5 over 5 s", l.do(run("--cpus=0.5", "load spin 5")), 50, 5)
	l.near("--cpu-quota=30000 --cpu-period=100000", l.do(run("--cpu-quota=30000 --cpu-period=100000", "load spin 5")), 30, 5)

	// Two execs at once: the limit is the container's, not a process's.
	l.start("--cpus=0.5")
	l.do("for i in 1 2; do rc exec -d box load spin 60; done")
	l.near("--cpus=0.5 with two execs", fmt.Sprint(l.spun("box", 5)), 50, 5)
	l.do("rc update --cpus=0.3 box")
	l.near("after update --cpus=0.3", fmt.Sprint(l.spun("box", 5)), 30, 5)
	l.do("rc update --cpus=0 box")
	if got := l.spun("box", 5); got < 70 {
		l.Errorf("after the limit was lifted: %.1f %%", got)
	}
	l.is("cpu.max", l.file("box", "cpu.max"), "max 100000")
	l.do("rc update --cpu-quota=20000 box")
	l.is("cpu.max of a quota", l.file("box", "cpu.max"), "20000 100000")
	l.do("rc update --cpu-quota=-1 box")
	l.is("cpu.max of -1", l.file("box", "cpu.max"), "max 100000")
}

// Two containers on one CPU share it by their weights.
func (l *lab) shares() {
	for name, shares := range map[string]string{"light": "512", "heavy": "2048"} {
		l.do("rc run -d --name " + name + " --network none --cpuset-cpus=1 --cpu-shares=" + shares + " limits load spin 60")
	}
	light, heavy := l.spun("light", 5), l.spun("heavy", 5)
	l.Logf("--cpu-shares 512 and 2048 on one CPU: %.1f %% and %.1f %%, weights %s and %s", light, heavy, l.file("light", "cpu.weight"), l.file("heavy", "cpu.weight"))
	if heavy < 2*light {
		l.Errorf("512 shares had %.1f %%, 2048 had %.1f %%", light, heavy)
	}
	l.do("rc update --cpu-shares=2 heavy")
	l.is("the least weight", l.file("heavy", "cpu.weight"), "1")
	l.do("rc update --cpu-shares=0 heavy")
	l.is("the weight of no shares", l.file("heavy", "cpu.weight"), "100")
}

// Nine sleepers beside a shell are easy to count: threads of Go's are not.
const nineteen = `sh -c 'n=1; for i in $(seq 40); do sleep 1000 & n=$((n+1)); done 2>/tmp/refused; echo $n'`

func (l *lab) pids() {
	// A shell that cannot fork ends: so the peak is what counts, and that somebody was refused.
	const bomb = `rc exec -d box sh -c 'while :; do sleep 1000 & done'`
	l.start("--pids-limit=20")
	l.do(bomb)
	l.until("the 21st is refused", func() bool { return l.file("box", "pids.events") != "max 0" })
	l.is("--pids-limit=20: the most there were", l.file("box", "pids.peak"), "20")
	if r := l.try("rc exec box sh -c 'sleep 1 & sleep 1 & wait'"); r.Code == 0 {
		l.Errorf("an exec found room: %+v", r)
	}
	l.do("rc update --pids-limit=30 box")
	refused := l.file("box", "pids.events")
	l.do(bomb)
	l.until("after update the 31st is refused", func() bool { return l.file("box", "pids.events") != refused })
	l.is("--pids-limit=30: the most there were", l.file("box", "pids.peak"), "30")
	l.do("rc update --pids-limit=-1 box")
	l.is("pids.max of -1", l.file("box", "pids.max"), "max")
	l.do("rc exec box true")

	// At the start, without an exec.
	r := l.try(run("--pids-limit=20", nineteen))
	l.Logf("a shell of 20 processes: %d %q %q", r.Code, r.Stdout, r.Stderr)
	if n, err := strconv.Atoi(strings.TrimSpace(r.Stdout)); err == nil && n > 20 {
		l.Errorf("%d processes under --pids-limit=20", n)
	}
}

func (l *lab) until(what string, ok func() bool) {
	l.Helper()
	for end := time.Now().Add(slow); !ok(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(end) {
			l.Fatalf("%s: not within %v", what, slow)
		}
	}
	l.Logf("%s", what)
}

func (l *lab) cpuset() {
	l.is("--cpuset-cpus=1", l.do(run("--cpuset-cpus=1", "load cpus")), "may 1 ran 1")
	l.start("--cpuset-cpus=1")
	l.is("an exec", l.do("rc exec box load cpus"), "may 1 ran 1")
	l.do("rc exec -d box load spin 60") // what runs already is moved, too
	l.do("rc update --cpuset-cpus=0 box")
	l.is("after update", l.do("rc exec box load cpus"), "may 0 ran 0")
	l.do(`rc update --cpuset-cpus="" box`)
	l.is("lifted", l.file("box", "cpuset.cpus"), "0-1") // the kernel lets nobody empty it under processes
	if got := l.do("rc exec box load cpus"); !strings.HasPrefix(got, "may 0 1 ") {
		l.Errorf("lifted: %s", got)
	}
	l.says(run("--cpuset-cpus=7", "true"), "--cpuset-cpus", "no CPU 7")
	l.is("--cpuset-mems=0", l.do(run("--cpuset-mems=0", "cat /sys/fs/cgroup/cpuset.mems.effective")), "0")
}
