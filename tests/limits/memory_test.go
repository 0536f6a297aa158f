package limits

import (
	"strings"

	"github.com/rc-containers/rc/tests/guest"
)

func (l *lab) memory() {
	l.killed("--memory=64m", "rc run --name fat --network none --memory=64m limits load fill 200", "fat")
	l.is("what 200 MB takes", l.do(run("--memory=300m", "timeout 20 load fill 200")+" || true"), "filled")

	l.start("--memory=512m")
	l.do("rc update --memory=64m box")
	l.is("memory.max after update", l.file("box", "memory.max"), "67108864")
	l.is("where programs look", l.do("rc exec box cat /sys/fs/cgroup/memory.max"), "67108864")
	if r := l.try("rc exec box load fill 200"); r.Code != 137 {
		l.Errorf("an exec that writes 200 MB under 64m, after update: %d %s%s", r.Code, r.Stdout, r.Stderr)
	}
	l.do("rc update --memory=0 box")
	l.is("lifted", l.file("box", "memory.max")+" "+l.file("box", "memory.swap.max"), "max max")
	l.do("rc exec -d box load fill 200")
	l.until("200 MB fit once the limit is lifted", func() bool { return len(l.file("box", "memory.current")) >= len("200000000") })

	l.do("rc update --memory=-1 --memory-reservation=32m box")
	l.is("memory.low", l.file("box", "memory.low"), "33554432")
	l.do("rc update --memory-reservation=-1 box")
	l.is("memory.low lifted", l.file("box", "memory.low"), "0")
	l.do("rc update --memory=300m --memory-swap=400m box")
	l.is("memory.swap.max", l.file("box", "memory.swap.max"), "104857600")
	l.says("rc update --memory=1m box", "--memory", "6m")
}

// killed runs a line whose container is to be killed for want of memory.
func (l *lab) killed(what, line, container string) {
	l.Helper()
	r := l.try(line)
	c := l.inspect(container)
	if r.Code != 137 || !c.State.OOMKilled || c.State.ExitCode != 137 {
		l.Errorf("%s: exit code %d, %+v\n%s%s", what, r.Code, c.State, r.Stdout, r.Stderr)
		return
	}
	l.Logf("%s: exit code %d, OOMKilled %v", what, r.Code, c.State.OOMKilled)
	if out := l.do("rc events --since 10m --until 0s --filter container=" + container); strings.Count(out, " oom ") != 1 {
		l.Errorf("%s: the events are\n%s", what, out)
	}
}

// A child that is killed makes the container OOMKilled while it runs on, and is an
// event at that moment; each further one is another event.
func (l *lab) oomOfChild() {
	l.start("--memory=64m --rm=false")
	id := l.id("box") // there were others of that name
	for i, want := range []int{1, 2} {
		if i == 1 {
			l.do("sleep 8") // by now the shim sleeps, and has to wake for it
		}
		if r := l.try("rc exec box load fill 200"); r.Code != 137 {
			l.Errorf("the child: %+v", r)
		}
		l.until("the event", func() bool {
			return strings.Count(l.do("rc events --since 10m --until 0s --filter container="+id), " oom ") == want
		})
	}
	c := l.inspect("box")
	if c.State.Status != "running" || !c.State.OOMKilled {
		l.Errorf("while it runs on: %+v", c.State)
	}
	l.is("what it says at its end", l.do("rc exec box kill 1; rc wait box >/dev/null; rc inspect -f '{{.State.ExitCode}} {{.State.OOMKilled}}' box"), "2 true") // Go's end by SIGTERM
	l.do("rc start box")
	l.is("the next life is another", l.do("rc inspect -f '{{.State.OOMKilled}}' box"), "false")
}

// Neither the limits nor the group of the shim are within the container's reach.
func (l *lab) outOfReach() {
	l.start("--memory=64m --pids-limit=50 --cap-add=ALL")
	r := l.try(`rc exec box sh -c 'echo max >/sys/fs/cgroup/memory.max; echo max >/sys/fs/cgroup/../memory.max; ls /sys/fs/cgroup/..'`)
	if strings.Contains(r.Stdout, "rc-host") {
		l.Errorf("the container sees %s", r.Stdout)
	}
	l.is("memory.max above it", l.file("box", "memory.max"), "67108864")
	shim := l.as(guest.Root, "cat /proc/$(pgrep -of rc-shim || pgrep -o rc-init)/cgroup").Stdout
	if strings.Contains(shim, "payload") || strings.Contains(shim, "rc-"+l.do("rc inspect -f '{{.Id}}' box")) {
		l.Errorf("the shim stands in %s", shim)
	}
	if c := l.inspect("box"); c.State.Status != "running" {
		l.Errorf("%+v", c.State)
	}
}

// A restart by the policy has the limits that an update gave.
func (l *lab) restart() {
	l.do("rc run -d --name box --network none --restart=always --memory=100m --cgroup-parent=/again limits load sleep 10000")
	before := l.file("box", "cgroup.procs")
	l.do("rc update --memory=80m --cgroup-conf memory.high=70M box")
	l.do("rc exec box sh -c 'kill -9 1' || true; rc kill -s KILL box >/dev/null; rc start box >/dev/null; sleep 1")
	l.until("it runs again", func() bool { return l.inspect("box").State.Status == "running" })
	l.is("limits of the next life", l.file("box", "memory.max")+" "+l.file("box", "memory.high")+" "+before, "83886080 73400320 ")
	if p := l.inspect("box").HostConfig.CgroupPath; !strings.Contains(p, "/again/rc-") {
		l.Errorf("it stands in %s", p)
	}
}
