package engine

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rc-containers/rc/internal/record"
)

func webUnit(o *UnitOptions) *unitFile {
	c := &Entry{Container: record.Container{
		Name: "web", StopSignal: 3, StopAfter: 10 * time.Second, CreateFolder: "/home/a%b",
		CreateCommand: []string{"--detach=true", "--rm=true", "--name=old", "--restart=always", "--interactive=true", "--publish=8080:80",
			`--env=A=x y%z$q"`, "--volume=./d:/d", "alpine", "sh", "-c", "echo $A", "--rm"},
	}}
	return &unitFile{c: c, o: o, rc: "/opt/r c/rc", root: "/home/a/rc"}
}

// A unit that makes its container has its flags, but those that the unit replaces.
func TestUnitFileNew(t *testing.T) {
	seconds := 3
	text := webUnit(&UnitOptions{New: true, Restart: "always", RestartSec: 4, StopTimeout: &seconds, Environment: []string{"K=V W"}}).text("web.service")
	for _, line := range []string{
		`ExecStart="/opt/r c/rc" --root /home/a/rc run --rm --replace --name=web --stop-timeout=3 --cgroups=split --publish=8080:80 "--env=A=x y%%z$$q\"" --volume=./d:/d alpine sh -c "echo $$A" --rm`,
		"WorkingDirectory=/home/a%%b", "Type=notify", "Delegate=yes", "KillMode=mixed", "SuccessExitStatus=131", "TimeoutStopSec=63",
		"Restart=always", "RestartSec=4", `Environment="K=V W"`, "WantedBy=default.target",
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("no line %s in\n%s", line, text)
		}
	}
	verify(t, text)
}

// Without --new it starts the container that is there, in the foreground: what it
// writes goes to the journal.
func TestUnitFile(t *testing.T) {
	u := webUnit(&UnitOptions{Restart: "on-failure", NoHeader: true, After: []string{"db.service"}})
	u.ofHosts = true
	text := u.text("web.service")
	for _, line := range []string{`ExecStart="/opt/r c/rc" --root /home/a/rc start --attach web`, "TimeoutStopSec=70", "After=network-online.target db.service"} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("no line %s in\n%s", line, text)
		}
	}
	if strings.Contains(text, "WorkingDirectory") || strings.Contains(text, "#") || strings.Contains(text, "TimeoutStartSec") {
		t.Error(text)
	}
	u.c.StopAfter = -1
	if text := u.text("web.service"); !strings.Contains(text, "TimeoutStopSec=infinity\n") {
		t.Error(text)
	}
}

// verify lets systemd read the unit, with a program that is there.
func verify(t *testing.T, text string) {
	t.Helper()
	tool, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not there to verify the unit")
	}
	path := filepath.Join(t.TempDir(), "web.service")
	must(t, os.WriteFile(path, []byte(strings.ReplaceAll(text, `"/opt/r c/rc"`, "/bin/true")), 0o644))
	if out, err := exec.Command(tool, "verify", path).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s\n%s", err, out, text)
	}
}

// What cannot be a unit says why, and what can be is noted.
func TestUnitFileRefused(t *testing.T) {
	w := newWorkshop(t)
	for _, c := range []struct {
		o    UnitOptions
		want string
	}{{UnitOptions{Restart: "sometimes"}, "no such policy"}, {UnitOptions{Restart: "no"}, "no such container"}} {
		if _, _, _, err := w.UnitFile("nobody", &c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
}
