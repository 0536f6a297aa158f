package engine

import (
	"os"
	"strings"
	"testing"
)

func TestSaysOnceThatALogoutEndsIt(t *testing.T) {
	const (
		group  = "/sys/fs/cgroup/user.slice/user-5.slice/user@5.service/app.slice/rc.scope/rc-abc"
		login  = "/user.slice/user-5.slice/session-3.scope"
		second = "/user.slice/user-5.slice/session-4.scope"
	)
	w := newWorkshop(t)
	host := t.TempDir()
	s := systemd{booted: host + "/booted", linger: host + "/linger", user: "alice"}
	w.sayLingerIn(login, group, s)
	if len(w.warnings) != 0 {
		t.Errorf("without systemd: %q", w.warnings)
	}
	must(t, os.Mkdir(s.booted, 0o700))
	for _, unit := range []string{"/system.slice/job.service", "/user.slice/user-5.slice/user@5.service/app.slice/job.service", "/"} {
		w.sayLingerIn(unit, group, s)
	}
	w.sayLingerIn(login, "/sys/fs/cgroup/mine/rc-abc", s)
	if len(w.warnings) != 0 {
		t.Errorf("to a unit, or of a container that stays: %q", w.warnings)
	}
	w.sayLingerIn(login, group, s)
	w.sayLingerIn(login, group, s)
	if len(w.warnings) != 1 || !strings.Contains(w.warnings[0], "loginctl enable-linger") {
		t.Errorf("twice in one login: %q", w.warnings)
	}
	w.sayLingerIn(second, group, s)
	if len(w.warnings) != 2 {
		t.Errorf("in the next login: %q", w.warnings)
	}
	must(t, os.Mkdir(s.linger, 0o700))
	must(t, os.WriteFile(s.linger+"/alice", nil, 0o600))
	w.sayLingerIn(login, group, s)
	if len(w.warnings) != 2 {
		t.Errorf("to who lingers: %q", w.warnings)
	}
}

func TestLoginUnit(t *testing.T) {
	for group, want := range map[string]string{
		"/user.slice/user-5.slice/session-3.scope":                    "session-3.scope",
		"/user.slice/user-5.slice/user@5.service/app.slice/a.scope":   "a.scope",
		"/user.slice/user-5.slice/user@5.service/app.slice/b.service": "b.service",
		"/system.slice/cron.service/sub":                              "cron.service",
		"/mine":                                                       "",
	} {
		if got := loginUnit(group); got != want {
			t.Errorf("%s: %q, want %q", group, got, want)
		}
	}
}
