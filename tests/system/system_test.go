package system

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// drill goes through what a system container is for. Boots take seconds, in the
// guest half a minute, so a test takes what the one before it has left running.
func (p *place) drill(t *testing.T) {
	for _, step := range []struct {
		name string
		test func(p *place)
		here bool // on this machine only: the guest shows nothing more, and boots slowly
	}{
		{"Refusals", (*place).refusals, false},
		{"Boot", (*place).boot, false},
		{"Exec", (*place).exec, false},
		{"Journal", (*place).journal, false},
		{"Services", (*place).services, false},
		{"Login", (*place).login, false},
		{"Limits", (*place).limits, false},
		{"Pause", (*place).pause, false},
		{"Restart", (*place).restart, false},
		{"Reboot", (*place).reboot, false},
		{"Poweroff", (*place).poweroff, true},
		{"Stop", (*place).stop, false},
		{"KilledShim", (*place).killedShim, true},
		{"Several", (*place).several, false},
		{"Userns", (*place).userns, false},
		{"Foreground", (*place).foreground, true},
		{"Leftovers", (*place).leftovers, false},
	} {
		if step.here && p.controllers {
			continue
		}
		t.Run(step.name, func(t *testing.T) {
			outer := p.t
			p.t = t
			defer func() { p.t = outer }()
			step.test(p)
		})
	}
}

func (p *place) refusals() {
	for flags, want := range map[string]string{
		"--systemd=sometimes":                 "choose true, false or always",
		"--systemd=always --init":             "leave out --init",
		"--systemd=always --pid=host":         "leave out --pid=host",
		"--systemd=always --cgroups=disabled": "leave out --cgroups=disabled",
	} {
		r := p.sh("rc run --rm %s debian /sbin/init", flags)
		if r.code != 125 || !strings.Contains(r.err, want) || strings.Contains(r.err, "\n") {
			p.t.Errorf("%s: %+v", flags, r)
		}
	}
	// Another command than an init is none, and false says so of an init.
	if out := p.must("rc run --rm debian cat /proc/1/environ"); strings.Contains(out, "container=") {
		p.t.Errorf("cat is taken for an init: %q", out)
	}
	if r := p.sh("rc run --rm --systemd=false debian /sbin/init"); r.code == 0 {
		p.t.Errorf("systemd ran without what it needs: %+v", r)
	}
	if out := p.must("rc run --rm --systemd=always debian cat /proc/1/environ"); !strings.Contains(out, "container=rc") {
		p.t.Errorf("always: %q", out)
	}
}

// boot leaves the container one for the tests that follow.
func (p *place) boot() {
	flags := ""
	if p.controllers {
		flags = "--memory=256m --pids-limit=300 --cpus=1.5"
	}
	id := p.must("rc run -d --name one %s --health-cmd='systemctl is-system-running' --health-interval=1s debian /sbin/init", flags)
	p.up("one")
	p.top = filepath.Dir(p.group("one"))
	if got := p.in("one", "cat /etc/machine-id"); got != id[:32] {
		p.t.Errorf("machine-id %s, the container is %s", got, id)
	}
	if got := p.in("one", "systemd-detect-virt --container"); got != "container-other" {
		p.t.Errorf("systemd-detect-virt: %s", got)
	}
	for _, dir := range []string{"/run", "/run/lock", "/tmp", "/var/log/journal"} {
		if got := p.in("one", "stat -f -c %T "+dir); got != "tmpfs" {
			p.t.Errorf("%s is %s", dir, got)
		}
	}
	if got := p.in("one", "stat -c %a /run /run/lock /tmp | tr '\\n' ' '; test -c /dev/console && echo console; ls -d /run/mount 2>&1 | head -c0"); got != "755 1777 1777 console" {
		p.t.Errorf("modes: %s", got)
	}
	// Not asked for a terminal, and rc logs shows the boot without colours.
	if log := p.must("rc logs one"); !strings.Contains(log, "Reached target multi-user.target") || strings.Contains(log, "\x1b[0;32m") {
		p.t.Errorf("rc logs: %q", log)
	}
	p.within(20*time.Second, "the health check", func() bool {
		return p.must("rc inspect -f '{{.State.Health.Status}}' one") == "healthy"
	})
}

// exec: a process of ours stands in a group that is not systemd's, and what
// systemd starts for it in one that is.
func (p *place) exec() {
	if got := p.in("one", "grep ^0: /proc/self/cgroup"); got != "0::/rc-exec" {
		p.t.Errorf("rc exec stands in %s", got)
	}
	if got := p.in("one", "systemd-run --wait --pipe -q --unit=alone grep ^0: /proc/self/cgroup"); got != "0::/system.slice/alone.service" {
		p.t.Errorf("a service of systemd's stands in %s", got)
	}
	for _, r := range []reply{p.sh("rc exec one false"), p.sh("rc exec one nothing-of-that-name"), p.sh("rc exec one sh -c 'kill -9 $$'")} {
		if r.code != 1 && r.code != 127 && r.code != 137 {
			p.t.Errorf("exec: %+v", r)
		}
	}
	// Many at a time, which systemd's own changes of the tree do not get in the way of.
	p.must("for i in $(seq 8); do rc exec one true & done; rc exec one systemctl daemon-reload; for j in $(jobs -p); do wait $j || exit 1; done")
}

func (p *place) journal() {
	p.in("one", "echo hello from inside | systemd-cat -t greeter; journalctl --sync")
	if got := p.in("one", "journalctl -b -t greeter -o cat"); got != "hello from inside" {
		p.t.Errorf("the journal: %q", got)
	}
	if got := p.in("one", "journalctl -b -p err -o cat --no-pager | grep -v 'failed to open credentials' || true"); got != "" {
		p.t.Errorf("errors in the journal of a boot:\n%s", got)
	}
}

// unit is a service that says when it starts and when it is stopped the clean way.
const unit = `[Service]
ExecStart=/bin/sh -c "echo start >>/var/trace; exec sleep infinity"
ExecStop=/bin/sh -c "sleep 1; echo stop >>/var/trace"
Restart=on-failure
RestartSec=0
[Install]
WantedBy=multi-user.target
`

func (p *place) services() {
	p.in("one", "cat >/etc/systemd/system/trace.service <<'E'\n"+unit+"E\nsystemctl daemon-reload && systemctl enable -q --now trace")
	if got := p.in("one", "systemctl is-active trace; systemctl is-enabled trace; cat /var/trace"); got != "active\nenabled\nstart" {
		p.t.Errorf("enable --now: %q", got)
	}
	p.in("one", "systemctl kill -s KILL trace")
	p.within(10*time.Second, "the killed service starts again", func() bool {
		return p.sh("rc exec one sh -c 'systemctl is-active -q trace && grep -c start /var/trace'").out == "2"
	})
}

// login: a session of a user's, with a manager of their own, begun from rc exec.
func (p *place) login() {
	p.in("one", "chown bob: /home/bob")
	got := p.in("one", `su -l bob -c 'systemctl --user is-system-running --wait; grep ^0: /proc/self/cgroup; echo $XDG_RUNTIME_DIR'`)
	if want := "running\n0::/user.slice/user-1000.slice/session-"; !strings.HasPrefix(got, want) || !strings.HasSuffix(got, "\n/run/user/1000") {
		p.t.Errorf("su -l: %q", got)
	}
}

func (p *place) pause() {
	p.must("rc pause one")
	if r := p.sh("rc exec one true"); r.code != 1 || !strings.Contains(r.err, "it is paused") {
		p.t.Errorf("exec into a paused one: %+v", r)
	}
	p.must("rc unpause one")
	p.up("one")
	if got := p.must("rc stats --no-stream --format '{{.Name}} {{.PIDs}}' one"); !strings.HasPrefix(got, "one ") || got == "one --" {
		p.t.Errorf("stats: %q", got)
	}
}

// restart shuts it down the clean way, keeps its files, and what was enabled runs
// again. Without a machine-id it is no first boot, which would ask on the console.
func (p *place) restart() {
	before := p.in("one", "cat /etc/machine-id; rm -f /etc/machine-id /var/lib/dbus/machine-id /var/trace; echo >/run/gone")
	p.must("rc restart one")
	p.up("one")
	if got := p.in("one", "cat /etc/machine-id"); got != before {
		p.t.Errorf("machine-id %s, before %s", got, before)
	}
	if got := p.in("one", "cat /var/trace; test ! -e /run/gone && echo gone"); got != "stop\nstart\ngone" {
		p.t.Errorf("after a restart: %q", got)
	}
}

// reboot from inside is a new life, and no failure that anybody counts.
func (p *place) reboot() {
	began := p.must("rc inspect -f '{{.State.StartedAt}}' one")
	p.in("one", "systemctl reboot")
	p.within(60*time.Second, "it comes back", func() bool {
		return p.status("one") == "running 0" && p.must("rc inspect -f '{{.State.StartedAt}}' one") != began
	})
	p.up("one")
	if id := p.must("rc inspect -f '{{.Id}}' one"); p.in("one", "cat /etc/machine-id") != id[:32] {
		p.t.Error("another machine-id after a reboot")
	}
	if got := p.must("rc inspect -f '{{.RestartCount}}' one"); got != "0" {
		p.t.Errorf("a reboot counts as %s restarts", got)
	}
}

func (p *place) poweroff() {
	p.in("one", "systemctl poweroff")
	p.within(60*time.Second, "it ends", func() bool { return p.status("one") == "exited 0" })
	time.Sleep(time.Second) // nobody starts it again
	if got := p.status("one"); got != "exited 0" {
		p.t.Errorf("after poweroff: %s", got)
	}
	p.must("rc start one")
	p.up("one")
	if got := p.must("rc wait one & sleep 1; rc exec one systemctl exit 7; wait"); got != "7" {
		p.t.Errorf("systemctl exit 7: %q", got)
	}
	p.must("rc start one")
	p.up("one")
}

// stop takes the clean path: services stop by their own commands, each in its time.
func (p *place) stop() {
	p.in("one", "rm -f /var/trace")
	p.must("rc stop one")
	if got := p.status("one"); got != "exited 0" {
		p.t.Errorf("after a stop: %s", got)
	}
	log := p.must("rc logs one")
	if at := strings.LastIndex(log, "Stopped trace.service"); at < 0 || !strings.Contains(log[at:], "Halting system.") {
		p.t.Errorf("the console of a stop: %q", log[max(0, len(log)-1500):])
	}
	if got := p.must("rc cp one:/var/trace - | tar -xO"); got != "stop" {
		p.t.Errorf("ExecStop: %q", got)
	}
}

// killedShim: nobody looks after it any more, so it is ended, and starts again.
func (p *place) killedShim() {
	p.must("rc start one")
	p.up("one")
	p.must(`kill -9 $(ps -o ppid= -p $(rc inspect -f '{{.State.Pid}}' one))`)
	p.within(20*time.Second, "its end is seen", func() bool { return p.status("one") == "exited 137" })
	p.must("rc start one")
	p.up("one")
}

func (p *place) several() {
	names := []string{"red", "green", "blue"}
	if p.controllers {
		names = names[:2]
	}
	for _, name := range names {
		p.t.Cleanup(func() { p.sh("rc rm -f %s", name) })
		p.must("rc run -d --name %s debian /sbin/init", name)
	}
	ids := map[string]bool{}
	for _, name := range names {
		p.up(name)
		ids[p.in(name, "cat /etc/machine-id; hostname")] = true
	}
	if len(ids) != len(names) {
		p.t.Errorf("they share a machine-id or a name: %v", ids)
	}
	p.must("rc stop %s", strings.Join(names, " "))
	for _, name := range names {
		if got := p.status(name); got != "exited 0" {
			p.t.Errorf("%s: %s", name, got)
		}
	}
}

// userns: its root is another id than ours, so its cgroup belongs to that one.
func (p *place) userns() {
	modes := []string{"auto", "keep-id"}
	if p.controllers {
		modes = modes[:1]
	}
	for _, mode := range modes {
		p.boots(mode, "--userns="+mode)
		if got := p.in(mode, "id -u; awk '$1 == 0 {print $2}' /proc/self/uid_map"); !strings.HasPrefix(got, "0\n") || got == "0\n0" {
			p.t.Errorf("%s: root is %q", mode, got)
		}
	}
	p.must("rc stop %s", strings.Join(modes, " "))
	if p.controllers {
		return
	}
	// What a subordinate id made in the tree outlives a shim, but no command.
	p.must("rc start auto")
	p.up("auto")
	group := p.group("auto")
	p.must(`kill -9 $(ps -o ppid= -p $(rc inspect -f '{{.State.Pid}}' auto))`)
	p.within(20*time.Second, "its end is seen", func() bool { return p.status("auto") == "exited 137" })
	if r := p.sh("ls -d %s", group); r.code == 0 {
		p.t.Errorf("its cgroup is left: %s", r.out)
	}
	p.must("rc start auto")
	p.up("auto")
	p.must("rc stop auto")
}

// foreground: what ends rc asks the container to end, and its code is rc's.
func (p *place) foreground() {
	p.t.Cleanup(func() { p.sh("rc rm -f front") })
	for _, sig := range []string{"TERM", "INT"} {
		r := p.sh(`trap "" INT; (trap - INT; exec rc run --rm --name front debian /sbin/init) >/dev/null & pid=$!
			until rc exec front systemctl is-system-running >/dev/null 2>&1; do sleep 0.3; done
			kill -%s $pid; wait $pid; echo $?`, sig)
		if r.out != "0" {
			p.t.Errorf("SIG%s: %+v", sig, r)
		}
	}
}

func (p *place) leftovers() {
	p.must("rc rm -f one")
	if got := p.must("rc ps -aq"); got != "" {
		p.t.Errorf("containers are left: %s", got)
	}
	p.within(20*time.Second, "no group of a container is left", func() bool {
		return p.sh("ls -d %s/rc-????????????????*", p.top).code != 0
	})
}
