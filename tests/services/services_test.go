// Package services runs containers as services of a real systemd, in the test guest,
// and reads of systemd what it made of them.
package services

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rc-containers/rc/tests/guest"
)

// slow is the limit of one line: everything is 15 to 20 times slower in there.
const slow = 4 * time.Minute

// image is made of the guest's busybox and the payload.
const image = `set -e
d=$(mktemp -d)
mkdir -p $d/bin $d/tmp $d/etc
cp /bin/busybox /share/payload $d/bin/
for name in sh sleep cat true; do ln -s busybox $d/bin/$name; done
echo root:x:0:0::/:/bin/sh >$d/etc/passwd
tar -C $d -cf - . | rc import - svc`

// run begins the command line of every unit: it stays in the unit's control group.
const run = "/share/bin/rc run --rm --network none --cgroups=split "

type lab struct {
	*testing.T
	g *guest.Guest
}

func TestServices(t *testing.T) {
	guest.Require(t)
	home := filepath.Join(t.TempDir(), "home.ext4")
	if err := guest.NewDisk(home, 512); err != nil {
		t.Fatal(err)
	}
	l := &lab{t, guest.Start(t, guest.Options{Home: home, Share: map[string]string{"bin": guest.Programs(t), "payload": guest.Compiled(t, "./payload")}})}
	l.do(image)
	// One container that stays keeps the keeper, as in a login at work.
	l.do("rc run -d --name stays svc sleep 100000")
	for _, part := range []struct {
		name string
		test func(*lab)
	}{
		{"notify", (*lab).notify}, {"container", (*lab).container}, {"detached", (*lab).detached}, {"forking", (*lab).forking},
		{"watchdog", (*lab).watchdog}, {"socket", (*lab).socket}, {"system", (*lab).system}, {"reboot", (*lab).reboot},
	} {
		t.Run(part.name, func(t *testing.T) { part.test(&lab{t, l.g}) })
	}
}

func (l *lab) as(user, line string) guest.Result {
	l.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), slow)
	defer cancel()
	r := l.g.Run(ctx, user, line)
	if r.Err != nil {
		l.Fatalf("%s: %v", line, r.Err)
	}
	return r
}

// do is a line of the user's that must succeed.
func (l *lab) do(line string) string { l.Helper(); return l.must(guest.User, line) }

func (l *lab) must(user, line string) string {
	l.Helper()
	r := l.as(user, line)
	if r.Code != 0 {
		l.Fatalf("%s: exit code %d\n%s%s", line, r.Code, r.Stdout, r.Stderr)
	}
	return strings.TrimSpace(r.Stdout)
}

// unit writes a unit of the user's, by its lines below [Service], and loads it.
func (l *lab) unit(name string, service ...string) {
	l.Helper()
	l.file(name+".service", append([]string{"[Service]", "Delegate=yes", "KillMode=mixed", "TimeoutStartSec=180"}, service...)...)
	l.do("systemctl --user daemon-reload")
}

func (l *lab) file(name string, lines ...string) {
	l.Helper()
	l.do("mkdir -p ~/.config/systemd/user && cat >~/.config/systemd/user/" + name + " <<'END'\n" + strings.Join(lines, "\n") + "\nEND")
}

// show is systemd's own word about a unit of the user's, or with a manager "" of the
// system's.
func (l *lab) show(unit string) map[string]string { return l.showOf("--user", unit) }

func (l *lab) showOf(manager, unit string) map[string]string {
	l.Helper()
	values := map[string]string{}
	for line := range strings.Lines(l.do("systemctl " + manager + " show " + unit)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		values[key] = value
	}
	return values
}

// want compares what systemd says with pairs of property and value.
func (l *lab) want(got map[string]string, pairs ...string) {
	l.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if got[pairs[i]] != pairs[i+1] {
			l.Errorf("%s %s=%q, want %q", got["Id"], pairs[i], got[pairs[i]], pairs[i+1])
		}
	}
	if l.Failed() {
		l.Fatalf("%s\n%s", l.as(guest.Root, "journalctl -q --no-pager -n 40 -o cat").Stdout, l.as(guest.User, "rc ps -a").Stdout)
	}
}

// comm is the program of a process.
func (l *lab) comm(pid string) string {
	l.Helper()
	return l.do("cat /proc/" + pid + "/comm")
}

// A Type=notify unit is started when its container runs, and ended by the
// container's own stop signal; its exit code is the service's.
func (l *lab) notify() {
	l.unit("plain", "Type=notify", "SuccessExitStatus=7", "ExecStart="+run+"--name plain svc payload notify")
	l.do("systemctl --user start plain")
	got := l.show("plain")
	l.want(got, "ActiveState", "active", "SubState", "running", "Result", "success", "NotifyAccess", "main")
	if name := l.comm(got["MainPID"]); name != "rc" {
		l.Errorf("the main process is %s", name)
	}
	if list := l.do("systemd-cgls --user-unit plain.service --no-pager -l"); !strings.Contains(list, "payload notify") || !strings.Contains(list, "rc-shim") {
		l.Errorf("the container's processes are not in the unit:\n%s", list)
	}
	l.do("systemctl --user stop plain")
	l.want(l.show("plain"), "ActiveState", "inactive", "Result", "success")
	l.unit("coded", "Type=notify", "ExecStart="+run+"--name coded svc payload notify")
	l.do("systemctl --user start coded && systemctl --user stop coded")
	l.want(l.show("coded"), "ActiveState", "failed", "Result", "exit-code", "ExecMainStatus", "7")
	if list := l.do("rc ps -aq --filter name=plain --filter name=coded"); list != "" {
		l.Errorf("left behind: %s", list)
	}
}

// With --sdnotify=container it is started when the container says so. What else that
// says is its own affair: no other main process, no descriptor to keep.
func (l *lab) container() {
	l.unit("says", "Type=notify", "FileDescriptorStoreMax=8",
		`ExecStart=`+run+`--sdnotify=container --name says svc payload notify 5s "MAINPID=1\\nSTATUS=up and well\\nFDSTORE=1\\nREADY=1"`)
	l.do("systemctl --user start --no-block says && sleep 2")
	l.want(l.show("says"), "ActiveState", "activating")
	l.do("systemctl --user start says")
	got := l.show("says")
	l.want(got, "ActiveState", "active", "StatusText", "up and well", "NFileDescriptorStore", "0")
	if name := l.comm(got["MainPID"]); name != "rc" {
		l.Errorf("the main process is %s: a container has chosen it", name)
	}
	l.do("systemctl --user stop says")
}

// Detached, the shim is the main process, a child of systemd's, and ends with the
// payload's exit code.
func (l *lab) detached() {
	l.unit("away", "Type=notify", `ExecStart=`+run+`-d --sdnotify=container --name away svc payload notify 2s "STATUS=up\\nREADY=1"`)
	l.do("systemctl --user start away && sleep 8") // and it parks
	got := l.show("away")
	l.want(got, "ActiveState", "active", "StatusText", "up")
	if name := l.comm(got["MainPID"]); name != "rc-init" {
		l.Errorf("the main process is %s", name)
	}
	l.do("systemctl --user stop away")
	l.want(l.show("away"), "Result", "exit-code", "ExecMainCode", "1", "ExecMainStatus", "7")
}

// Type=forking finds the shim by --conmon-pidfile.
func (l *lab) forking() {
	l.unit("forked", "Type=forking", "PIDFile=%t/forked.pid", "ExecStart="+run+"-d --conmon-pidfile %t/forked.pid --pidfile %t/payload.pid --name forked svc payload notify")
	l.do("systemctl --user start forked")
	got := l.show("forked")
	l.want(got, "ActiveState", "active")
	if file := l.do("cat $XDG_RUNTIME_DIR/forked.pid"); file != got["MainPID"] {
		l.Errorf("the file says %s, systemd %s", file, got["MainPID"])
	}
	if name := l.comm(l.do("cat $XDG_RUNTIME_DIR/payload.pid")); name != "payload" {
		l.Errorf("--pidfile names %s", name)
	}
	l.do("systemctl --user stop forked")
	l.want(l.show("forked"), "ExecMainStatus", "7")
	if left := l.as(guest.User, "ls $XDG_RUNTIME_DIR/*.pid").Stdout; left != "" {
		l.Errorf("left behind: %s", left)
	}
}

// A payload that gives no sign of life is killed; rc gives them for one that is not
// to give any.
func (l *lab) watchdog() {
	l.unit("dog", "Type=notify", "WatchdogSec=15", "ExecStart="+run+"-d --name dog svc payload notify")
	l.unit("still", "Type=notify", "WatchdogSec=15", "ExecStart="+run+"--sdnotify=container --name still svc payload notify READY=1")
	l.do("systemctl --user start dog still && sleep 40")
	got := l.show("dog")
	l.want(got, "ActiveState", "active", "Result", "success")
	if got["WatchdogTimestampMonotonic"] == "0" {
		l.Error("systemd saw no sign of life")
	}
	l.want(l.show("still"), "Result", "watchdog")
	l.do("systemctl --user stop dog")
}

// The first connection starts the service, which answers it itself, on sockets that
// only it has: not the processes of `rc exec`.
func (l *lab) socket() {
	l.unit("web", "Type=notify", "NonBlocking=yes", "ExecStart="+run+"--name web svc payload serve")
	l.file("web.socket", "[Socket]", "ListenStream=127.0.0.1:8099", "ListenStream=%t/web.sock", "FileDescriptorName=front")
	l.do("systemctl --user daemon-reload && systemctl --user start web.socket")
	l.want(l.show("web.socket"), "SubState", "listening", "Triggers", "web.service")
	l.want(l.show("web"), "ActiveState", "inactive")
	const connect = "exec 3<>/dev/tcp/127.0.0.1/8099 && cat <&3"
	const told = "pid 1 LISTEN_PID 1 LISTEN_FDS 2 LISTEN_FDNAMES front:front born 0=/dev/null 1=pipe 2=pipe 3=socket 4=socket\n3 nonblock true\n4 nonblock true"
	if got := l.do(connect); got != told {
		l.Errorf("%s\nwant %s", got, told)
	}
	l.want(l.show("web.socket"), "SubState", "running")
	l.want(l.show("web"), "ActiveState", "active", "SubState", "running", "TriggeredBy", "web.socket")
	if got := l.do("rc exec web payload fds; rc exec web sh -c 'echo $LISTEN_FDS'"); strings.Contains(got, "socket") || strings.Contains(got, "2\n2") {
		l.Errorf("an exec has: %s", got)
	}
	l.do("systemctl --user stop web")
	if got := l.do(connect); got != told { // the socket was systemd's all the while
		l.Errorf("again: %s", got)
	}
	l.do("systemctl --user stop web.socket web")
}

// A unit of the system's with User=, of one who lingers and of one who does not: the
// limit holds in the unit's own subtree.
func (l *lab) system() {
	l.must(guest.Root, "install -d -o plain -g plain -m 700 /home/plain") // the disk has the other's only
	l.must(guest.Plain, image)
	// The logout takes /run/user/1001 away some seconds later: from under a start, too.
	l.must(guest.Root, "for i in $(seq 60); do [ -e /run/user/1001 ] || break; sleep 1; done")
	for _, user := range []string{guest.User, guest.Plain} {
		name := "sys-" + user
		l.must(guest.Root, fmt.Sprintf("cat >/etc/systemd/system/%s.service <<'END'\n[Service]\nUser=%s\nType=notify\nDelegate=yes\nKillMode=mixed\nTimeoutStartSec=180\n"+
			"SuccessExitStatus=7\nExecStart=%s--memory=64m --name %s svc payload notify\nEND\nsystemctl daemon-reload && systemctl start %s", name, user, run, name, name))
		got := l.showOf("", name)
		l.want(got, "ActiveState", "active", "SubState", "running", "User", user, "Delegate", "yes")
		if name := l.comm(got["MainPID"]); name != "rc" {
			l.Errorf("the main process is %s", name)
		}
		if limit := l.do("cat /sys/fs/cgroup" + got["ControlGroup"] + "/rc-*/memory.max | grep -v max"); limit != "67108864" {
			l.Errorf("memory.max of the container: %q", limit)
		}
		l.must(guest.Root, "systemctl stop "+name)
		l.want(l.showOf("", name), "ActiveState", "inactive", "Result", "success")
	}
}

// After a reboot what is to run runs: units that `rc generate systemd` wrote, and
// containers with a restart policy, by the unit that rc wrote.
func (l *lab) reboot() {
	l.do("rc create --name kept svc payload notify && rc create --name made -e 'A=x y' svc payload notify")
	l.do("cd ~/.config/systemd/user && rc generate systemd --name --files kept && rc generate systemd --new --name --files made && rc rm made")
	l.do("systemd-analyze --user verify ~/.config/systemd/user/container-*.service 2>&1")
	l.do("systemctl --user daemon-reload && systemctl --user enable --now container-kept container-made 2>&1")
	l.do("rc run -d --restart unless-stopped --name policy svc payload notify && rc run -d --restart always --name halted svc payload notify && rc run -d --restart unless-stopped --name halted2 svc payload notify && rc stop -t 0 halted2")
	for _, unit := range []string{"container-kept", "container-made"} {
		l.want(l.show(unit), "ActiveState", "active", "UnitFileState", "enabled", "MainPID", l.show(unit)["MainPID"])
	}
	before := l.do("cat /proc/sys/kernel/random/boot_id")
	l.powerOff()
	if err := l.g.Boot(context.Background()); err != nil {
		l.Fatal(err)
	}
	if l.do("cat /proc/sys/kernel/random/boot_id") == before {
		l.Fatal("it is the same boot")
	}
	l.do("systemctl --user is-system-running --wait || true; for i in $(seq 60); do systemctl --user -q is-active rc-restart && break; sleep 1; done")
	for _, unit := range []string{"container-kept", "container-made"} {
		got := l.show(unit)
		l.want(got, "ActiveState", "active", "SubState", "running")
		if name := l.comm(got["MainPID"]); name != "rc" {
			l.Errorf("the main process of %s is %s", unit, name)
		}
	}
	l.want(l.show("rc-restart"), "ActiveState", "active", "SubState", "exited", "Result", "success", "ExecMainStatus", "0")
	if up := strings.Fields(l.do("rc ps --format '{{.Names}}' | sort")); strings.Join(up, " ") != "halted kept made policy" {
		l.Errorf("running after the boot: %q", up)
	}
	if env := l.do("rc exec made sh -c 'echo $A'"); env != "x y" {
		l.Errorf("the container that the unit made has A=%q", env)
	}
}

// powerOff shuts the guest down as its owner would, so that its containers are
// stopped by systemd.
func (l *lab) powerOff() {
	l.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), slow)
	defer cancel()
	if r := l.g.Run(ctx, guest.Root, "systemctl poweroff --no-block"); r.Err != nil && !errors.Is(r.Err, guest.ErrPower) {
		l.Fatal(r.Err)
	}
	for {
		if r := l.g.Run(ctx, guest.Root, "sleep 1"); r.Err != nil {
			break
		}
	}
	time.Sleep(10 * time.Second) // what is left of the shutdown; file systems are synced by then
	l.g.Kill()
}
