// Package contexts starts containers from every place in which rc finds itself on a
// host with systemd, as each of two users, and writes down where the limits then
// are, or what rc says: docs/contexts.md is this test's output.
//
//	RC_GUEST=1 RC_BIN=$PWD/bin go test ./tests/contexts -v
//	RC_GUEST=1 RC_BIN=$PWD/bin RC_WRITE_DOCS=1 go test ./tests/contexts
package contexts

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rc-containers/rc/tests/guest"
)

// place is one way to come to type rc.
type place struct {
	name string
	user string // of the guest's commands: root types most lines
	line string // with CMD for the command

	group string   // where the container's group has to be; "" when it is refused
	says  []string // of the refusal, or of rc info's line
}

// The groups that containers get.
const (
	lingering = "/user.slice/user-1000.slice/user@1000.service/app.slice/rc.scope"
	visiting  = "/user.slice/user-1001.slice/user@1001.service/app.slice/rc.scope"
	theirs    = "/user.slice/user-1000.slice/user@1000.service/app.slice"
)

const byHand = `cd /sys/fs/cgroup && mkdir -p rc-user-1001/shell && chown 1001 rc-user-1001 rc-user-1001/shell ` +
	`rc-user-1001/cgroup.procs rc-user-1001/cgroup.threads rc-user-1001/cgroup.subtree_control rc-user-1001/shell/cgroup.procs && ` +
	`echo $$ > rc-user-1001/shell/cgroup.procs && cd / && setpriv --reuid 1001 --regid 1001 --init-groups env HOME=/home/plain CMD`

// "user" lingers, so that a systemd of theirs runs from boot; "plain" has one while logged in.
var places = []place{
	{"login by ssh, lingering", guest.Login(guest.User), "CMD", lingering, nil},
	{"login by ssh, not lingering", guest.Login(guest.Plain), "CMD", visiting, nil},
	{"`su - user`", guest.Root, "su - user -c 'CMD'", lingering, nil},
	{"`su user`", guest.Root, "su user -c 'CMD'", lingering, nil},
	{"`sudo -u user` in another's login", guest.Login(guest.Plain), "sudo -u user CMD", lingering, nil},
	{"`sudo -u user` in a service", guest.Root, "sudo -u user CMD", lingering, nil},
	{"cron", guest.Root, "cron", lingering, nil},
	{"system unit, `User=`", guest.Root, "systemd-run -q --wait --collect --pipe -u sys -p User=user CMD", lingering, nil},
	{"system unit, `User=`, `Delegate=yes`", guest.Root, "systemd-run -q --wait --collect --pipe -u sysd -p User=user -p Delegate=yes CMD", "/system.slice/sysd.service", nil},
	{"user unit", guest.Root, "systemd-run -q --wait --collect --pipe --user -M user@ -u usr CMD", lingering, nil},
	{"user unit, `Delegate=yes`", guest.Root, "systemd-run -q --wait --collect --pipe --user -M user@ -u usrd -p Delegate=yes CMD", theirs + "/usrd.service", nil},
	{"user unit, `Delegate=yes`, `DelegateSubgroup=`", guest.Root,
		"systemd-run -q --wait --collect --pipe --user -M user@ -u usrg -p Delegate=yes -p DelegateSubgroup=main sh -c 'CMD; exit $?'", theirs + "/usrg.service", nil},
	{"user's scope (`systemd-run --user --scope`)", guest.Login(guest.User), "systemd-run -q --user --scope --collect -u scp CMD", lingering, nil},
	{"`su - user` without a systemd of user's", guest.Root, "gone; su - plain -c 'systemctl --user exit; sleep 3; CMD'", "", []string{"no systemd of yours runs", "loginctl enable-linger 1001"}},
	{"`sudo -u plain` in a service, not lingering", guest.Root, "gone; sudo -u plain CMD", "", []string{"no systemd of yours runs", "loginctl enable-linger 1001"}},
	{"system unit, `User=plain`, not lingering", guest.Root, "gone; systemd-run -q --wait --collect --pipe -u sysp -p User=plain CMD", "",
		[]string{"no systemd of yours runs", "loginctl enable-linger 1001", "/etc/systemd/system/sysp.service.d", "Delegate=yes"}},
	{"system unit, `User=plain`, `Delegate=yes`, not lingering", guest.Root, "gone; systemd-run -q --wait --collect --pipe -u syspd -p User=plain -p Delegate=yes CMD", "/system.slice/syspd.service", nil},
	{"subtree made by hand, no systemd of plain's", guest.Root, "gone; sh -c '" + byHand + "'", "/rc-user-1001", nil},
	{"container of rc's, `--privileged`, with limits", guest.Login(guest.User), inner("--privileged --memory=256m --pids-limit=200"), lingering + "/rc-ID/payload", nil},
}

// inner is rc in a container of its own: on the guest's files, with a store of its own.
func inner(flags string) string {
	return "rc run --rm --network=none " + flags + " --rootfs / -v /share:/share -e RC_ROOT=/tmp/inner sh -c '/share/ctx image >/dev/null; exec CMD'"
}

func TestContexts(t *testing.T) {
	if os.Getenv("RC_GUEST") == "" {
		t.Skip("boots a virtual machine: set RC_GUEST=1, or make test-vm")
	}
	g := guest.Start(t, guest.Options{Share: map[string]string{"bin": guest.Programs(t), "ctx": "ctx"}})
	w := &world{t, g}
	w.must(guest.User, "/share/ctx image")
	w.must(guest.Login(guest.Plain), "/share/ctx image")
	rows := make([]row, len(places))
	for i, p := range places {
		t.Run(p.name, func(t *testing.T) { rows[i] = (&world{t, g}).visit(p) })
	}
	t.Run("the keeper is killed", func(t *testing.T) { (&world{t, g}).keeperKilled() })
	t.Run("logout", func(t *testing.T) { (&world{t, g}).logout() })
	t.Run("missing controller", func(t *testing.T) { rows = append(rows, (&world{t, g}).missing()) })
	if !t.Failed() {
		document(t, rows)
	}
}

// world is the guest of one test.
type world struct {
	*testing.T
	g *guest.Guest
}

// row is what came of a place.
type row struct{ place, group, says string }

// slow bounds one line: everything is 15 to 20 times slower in there, and cron comes
// once a minute.
const slow = 4 * time.Minute

func (w *world) run(user, line string) guest.Result {
	w.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), slow)
	defer cancel()
	return w.g.Run(ctx, user, line)
}

func (w *world) must(user, line string) string {
	w.Helper()
	r := w.run(user, line)
	if r.Err != nil || r.Code != 0 {
		w.Fatalf("%s => %d %v\n%s%s", line, r.Code, r.Err, r.Stdout, r.Stderr)
	}
	return strings.TrimSpace(r.Stdout)
}

// gone waits until plain has logged out for good.
// A systemd that is just ending its units is not active any more.
const gone = `gone() { while pgrep -u plain >/dev/null || test "$(systemctl is-active user@1001.service)" != inactive; do sleep 0.3; done; }; `

func (p *place) command(what string) string {
	if p.line == "cron" {
		return fmt.Sprintf("echo '* * * * * user /share/ctx %s >/tmp/cron.out 2>&1' >/etc/cron.d/ctx; while ! test -s /tmp/cron.out; do sleep 0.3; done; "+
			"rm /etc/cron.d/ctx; while pgrep -x rc >/dev/null; do sleep 0.3; done; cat /tmp/cron.out", what)
	}
	return gone + strings.ReplaceAll(p.line, "CMD", "/share/ctx "+what)
}

// visit starts a container with limits from the place and looks, as root, where it is.
func (w *world) visit(p place) row {
	if p.group == "" { // without a limit it starts, and without a word
		if r := w.run(p.user, p.command("plain")); r.Code != 0 || r.Err != nil || r.Stderr != "" {
			w.Errorf("a container without limits: %d %v %q %q", r.Code, r.Err, r.Stdout, r.Stderr)
		}
	}
	done := make(chan guest.Result, 1)
	go func() { done <- w.run(p.user, p.command("run")) }()
	if p.group == "" {
		r := <-done
		return w.refused(p, r)
	}
	const look = `for i in $(seq 300); do p=$(pgrep -n -f '^sleep 777$') && break; sleep 0.3; done; g=$(cut -d: -f3 /proc/$p/cgroup); ` +
		`d=/sys/fs/cgroup${g%/payload}; echo "$g" $(cat $d/memory.max $d/pids.max) $(cut -d: -f3 /proc/$(ps -o ppid= $p | tr -d ' ')/cgroup); kill -9 $p`
	f := strings.Fields(w.must(guest.Root, look))
	r := <-done
	if len(f) != 4 || f[1] != "67108864" || f[2] != "20" || !strings.HasPrefix(r.Stdout, "67108864\n20\n") {
		w.Fatalf("limits: %q; rc: %d %q %q", f, r.Code, r.Stdout, r.Stderr)
	}
	group := ids.ReplaceAllString(f[0], "/rc-ID")
	if want := p.group + "/rc-ID/payload"; group != want {
		w.Errorf("the container is in %s, want %s", group, want)
	}
	if shim := ids.ReplaceAllString(f[3], "/rc-ID"); !strings.HasPrefix(shim, p.group) || strings.HasPrefix(shim, p.group+"/rc-ID") {
		w.Errorf("its shim is in %s", shim)
	}
	return row{p.name, p.group, w.how(p)}
}

var (
	ids     = regexp.MustCompile("/rc-[0-9a-f]{64}")
	finding = regexp.MustCompile(`(?m)^yes +delegated cgroup +(\S+) \((.*)\), controllers: (.*)$`)
)

// how is the reason that rc info gives. cron is not asked twice.
func (w *world) how(p place) string {
	if p.line == "cron" {
		return "as a login"
	}
	r := w.run(p.user, p.command("info"))
	m := finding.FindStringSubmatch(r.Stdout)
	if m == nil {
		w.Errorf("rc info does not say where: %d\n%s%s", r.Code, r.Stdout, r.Stderr)
		return ""
	}
	if m[3] != "cpuset cpu io memory pids" && !strings.Contains(p.name, "container") {
		w.Errorf("rc info names the controllers %q", m[3])
	}
	return m[2]
}

func (w *world) refused(p place, r guest.Result) row {
	for _, word := range p.says {
		if !strings.Contains(r.Stderr, word) {
			w.Errorf("it says %q, without %q", r.Stderr, word)
		}
	}
	if !strings.HasPrefix(r.Stderr, "rc: ") || strings.Count(r.Stderr, "\n") != 1 || r.Code != 125 {
		w.Errorf("not one line and 125: %q, %d", r.Stderr, r.Code)
	}
	return row{p.name, "", strings.TrimPrefix(strings.TrimSpace(r.Stderr), "rc: ")}
}
