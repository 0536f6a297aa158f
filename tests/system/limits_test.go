package system

import (
	"strings"
	"time"
)

// limits: those of rc run stand above the tree that systemd has for itself. There
// it divides what it was given, and cannot reach what was set from outside.
func (p *place) limits() {
	group := p.group("one")
	if !p.controllers {
		// None is to be had: a limit that every group has stands for all.
		p.must("test ! -e %s/payload/../../cgroup.max.depth || echo 7 >%s/cgroup.max.depth", group, group)
		p.in("one", "echo 99 >/sys/fs/cgroup/cgroup.max.depth || true")
		if got := p.must("cat %s/cgroup.max.depth", group); got != "7" {
			p.t.Errorf("its limit is %s now", got)
		}
		p.must("echo max >%s/cgroup.max.depth", group)
		return
	}
	for file, want := range map[string]string{"memory.max": "268435456", "pids.max": "300", "cpu.max": "150000 100000"} {
		// Whatever systemd writes at the top of its own tree (or is refused: nsdelegate).
		p.sh("rc exec one sh -c 'echo max >/sys/fs/cgroup/%s'", file)
		if got := p.must("cat %s/%s", group, file); got != want {
			p.t.Errorf("%s is %q, want %q", file, got, want)
		}
	}
	controllers := p.in("one", "cat /sys/fs/cgroup/cgroup.controllers")
	for _, c := range []string{"memory", "pids", "cpu"} {
		if !strings.Contains(" "+controllers+" ", " "+c+" ") {
			p.t.Errorf("systemd has %q to divide, not %s", controllers, c)
		}
	}
	// A limit of a unit's is systemd's to set, and the kernel's to hold.
	p.in("one", `systemd-run -q --wait -p MemoryMax=16M -p MemorySwapMax=0 --unit=hog --remain-after-exit tail /dev/zero || true`)
	if got := p.in("one", "systemctl show -p Result --value hog"); got != "oom-kill" {
		p.t.Errorf("a unit beyond its MemoryMax= ends by %s", got)
	}
	p.in("one", "systemctl reset-failed; systemctl is-system-running")
	// And what all of it may have is rc's to change while it runs.
	p.must("rc update --memory=300m --memory-swap=300m one")
	if got := p.must("cat %s/memory.max", group); got != "314572800" {
		p.t.Errorf("after rc update: %s", got)
	}
	p.within(10*time.Second, "processes under rc exec count", func() bool {
		return p.sh("rc exec one sh -c 'for i in $(seq 400); do sleep 5 & done; wait' 2>&1 | grep -c -i 'cannot fork\\|resource'").out != "0"
	})
}
