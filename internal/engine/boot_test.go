package engine

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rc-containers/rc/internal/record"
)

// A lingering user gets a unit; others hear once what is missing.
func TestReadyForRestart(t *testing.T) {
	w := newWorkshop(t)
	host := t.TempDir()
	s := systemd{booted: host + "/booted", linger: host + "/linger", config: host + "/config/systemd/user", user: "alice", self: `/opt/r c/100%/rc`}
	c := &record.Container{Restart: record.RestartPolicy{Name: "always"}}
	must(t, os.MkdirAll(w.Store.Path("hosts", record.MachineID()), 0o700))
	unit := filepath.Join(s.config, w.unitName())

	w.readyWith(c, s)
	w.readyWith(c, s)
	if len(w.warnings) != 1 || !strings.Contains(w.warnings[0], "no systemd") || exists(unit) {
		t.Errorf("without systemd: %q", w.warnings)
	}
	must(t, os.MkdirAll(s.booted, 0o700))
	must(t, os.Remove(w.Store.Path("hosts", record.MachineID(), "told-of-restart")))
	w.readyWith(c, s)
	if len(w.warnings) != 2 || !strings.Contains(w.warnings[1], "loginctl enable-linger") || !exists(unit) {
		t.Errorf("without lingering: %q", w.warnings)
	}
	must(t, os.MkdirAll(s.linger, 0o700))
	must(t, os.WriteFile(s.linger+"/alice", nil, 0o600))
	w.readyWith(c, s)
	if len(w.warnings) != 2 {
		t.Errorf("lingering: %q", w.warnings)
	}
	text, err := os.ReadFile(unit)
	if err != nil || !strings.Contains(string(text), `ExecStart="/opt/r c/100%%/rc" --root "`+w.Store.Root+`" start --all --filter should-start-on-boot=true`) {
		t.Errorf("%s %v", text, err)
	}
	link := filepath.Join(s.config, "default.target.wants", w.unitName())
	if got, err := filepath.EvalSymlinks(link); err != nil || filepath.Base(got) != w.unitName() {
		t.Errorf("%s %v", got, err)
	}
}

// One that cannot be written is told, and the container made all the same.
func TestUnitThatCannotBeWritten(t *testing.T) {
	w := newWorkshop(t)
	host := t.TempDir()
	must(t, os.WriteFile(host+"/file", nil, 0o600))
	must(t, os.WriteFile(host+"/alice", nil, 0o600))
	must(t, os.MkdirAll(w.Store.Path("hosts", record.MachineID()), 0o700))
	w.readyWith(&record.Container{Restart: record.RestartPolicy{Name: "always"}},
		systemd{booted: host, linger: host, config: host + "/file/units", user: "alice", self: "/rc"})
	if len(w.warnings) != 1 || !strings.Contains(w.warnings[0], "will not start after a reboot") {
		t.Errorf("%q", w.warnings)
	}
}

func TestNoPolicyNoWord(t *testing.T) {
	w := newWorkshop(t)
	w.readyForRestart(&record.Container{})
	if len(w.warnings) != 0 {
		t.Errorf("%q", w.warnings)
	}
}
