package guest

import (
	"context"
	"strings"
	"testing"
	"time"
)

// The ways to become a user, each with the group and the environment that Debian's
// PAM stacks give it: what rc is tested from is what a user would have.
func TestContexts(t *testing.T) {
	Require(t)
	g := Start(t, Options{})
	ctx := context.Background()
	const where = `cut -d: -f3 /proc/self/cgroup; echo "${XDG_RUNTIME_DIR-none}"; id -un`
	for _, c := range []struct{ name, user, line, group, runtime, who string }{
		{"the lingering user's login", User, where, "/user.slice/user-1000.slice/session-", "/run/user/1000", "user"},
		{"another login of the same", Login(User), where, "/user.slice/user-1000.slice/session-", "/run/user/1000", "user"},
		{"a login without linger", Plain, where, "/user.slice/user-1001.slice/session-", "/run/user/1001", "plain"},
		{"sudo -u", User, "sudo -u plain sh -c '" + where + "'", "/user.slice/user-1000.slice/session-", "none", "plain"},
		{"su without -", Root, `su plain -c '` + where + "'", "/user.slice/user-1001.slice/session-", "/run/user/1001", "plain"},
		{"root", Root, where, "/system.slice/rc-agent.service", "none", "root"},
		{"a system unit", Root, "systemd-run --quiet --pipe --wait --expand-environment=no -p User=plain sh -c '" + where + "'", "/system.slice/run-", "none", "plain"},
	} {
		r := g.Run(ctx, c.user, c.line)
		got := strings.Fields(r.Stdout)
		if len(got) != 3 || !strings.HasPrefix(got[0], c.group) || got[1] != c.runtime || got[2] != c.who || r.Code != 0 {
			t.Errorf("%s: %q, %q, want %s, %s, %s", c.name, r.Stdout, r.Stderr, c.group, c.runtime, c.who)
		}
	}
	if r := g.Run(ctx, Root, "loginctl show-user plain -p Linger --value; loginctl list-sessions --no-legend | grep -c ' plain .* user '"); !strings.HasPrefix(r.Stdout, "no") && r.Code != 0 {
		t.Errorf("plain: %+v", r)
	}
	t.Run("logout", func(t *testing.T) { logout(t, g) })
	t.Run("cron", func(t *testing.T) { cron(t, g) })
}

// A login ends with its command, or with the context of the one who waits for it.
func logout(t *testing.T, g *Guest) {
	ctx := context.Background()
	short, cancel := context.WithTimeout(ctx, 4*time.Second)
	defer cancel()
	if r := g.Run(short, Plain, "sleep 4321"); r.Err == nil {
		t.Errorf("%+v", r)
	}
	// logind stops the user's systemd ten seconds after the last logout (UserStopDelaySec=).
	if r := g.Run(ctx, Root, "for n in $(seq 120); do [ -d /run/user/1001 ] || { ! pgrep -u plain; exit; }; sleep 0.5; done; exit 1"); r.Code != 0 {
		t.Errorf("plain has processes or a runtime folder after its logout: %+v", r)
	}
}

func cron(t *testing.T, g *Guest) {
	r := g.Cron(context.Background(), Plain, `cut -d: -f3 /proc/self/cgroup; echo "${XDG_RUNTIME_DIR-none}" 50%; id -un >&2; exit 7`)
	if r.Stdout != "/system.slice/cron.service\nnone 50%\n" || r.Stderr != "plain\n" || r.Code != 7 || r.Err != nil {
		t.Errorf("%+v", r)
	}
}

// Who reads a failure sees the commands, the failed unit's own words, the console.
func TestReport(t *testing.T) {
	Require(t)
	g := Start(t, Options{})
	ctx := context.Background()
	g.Run(ctx, User, "echo to be seen; echo wrong >&2; exit 9")
	g.Run(ctx, Root, "systemd-run --quiet --unit=broken --wait sh -c 'echo this is why; exit 1'")
	g.Run(ctx, User, "systemd-run --user --quiet --unit=mine --wait sh -c 'echo mine too; exit 1'")
	report := g.Report()
	for _, want := range []string{"user$ echo to be seen", "    to be seen\n", "    wrong\n", "=> exit code 9",
		"broken.service", "this is why", "mine.service", "mine too", "the guest's console:"} {
		if !strings.Contains(report, want) {
			t.Errorf("no %q in the report:\n%s", want, report)
			break
		}
	}
	g.Kill()
	if off := g.Report(); !strings.Contains(off, "to be seen") {
		t.Errorf("of a guest that is off:\n%s", off)
	}
}
