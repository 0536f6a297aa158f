package spec

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/userns"
)

// What is a system container, by the flag and the command.
func TestSystemdOrNot(t *testing.T) {
	always := SystemdAlways
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{Command: []string{"/sbin/init"}}, SystemdFound},
		{Options{Command: []string{"/usr/sbin/init", "--log-level=debug"}, Systemd: "true"}, SystemdFound},
		{Options{Command: []string{"/usr/local/sbin/init"}}, SystemdFound},
		{Options{Command: []string{"/usr/lib/systemd/systemd"}}, SystemdFound},
		{Options{Command: []string{"systemd"}}, SystemdFound},
		{Options{Command: []string{"init"}}, ""},
		{Options{Command: []string{"/bin/init"}}, ""},
		{Options{Command: []string{"sh", "-c", "/sbin/init"}}, ""},
		{Options{Command: []string{"/sbin/init"}, Systemd: "false"}, ""},
		{Options{Command: []string{"/sbin/init"}, Init: true}, ""}, // it is not process 1
		{Options{Command: []string{"/sbin/init"}, PID: "host"}, ""},
		{Options{Command: []string{"sh"}, Systemd: "always"}, always},
		{Options{Command: []string{"/sbin/init"}, Systemd: "always"}, always},
	} {
		if p := plan(t, c.o); p.Systemd != c.want || p.Spec.Process.Terminal != (c.want != "") {
			t.Errorf("%+v: %q, terminal %v", c.o, p.Systemd, p.Spec.Process.Terminal)
		}
	}
	// Of an image, where nothing is typed; and an entrypoint in front of it.
	in := input(&Options{})
	in.Image.Config.Cmd = []string{"/sbin/init"}
	if p := mustBuild(t, in); p.Systemd != SystemdFound {
		t.Errorf("the image's command: %q", p.Systemd)
	}
	in.Image.Config.Entrypoint = []string{"/entry"}
	if p := mustBuild(t, in); p.Systemd != "" {
		t.Errorf("an entrypoint: %q", p.Systemd)
	}
}

func TestSystemdRefusals(t *testing.T) {
	checkRefusal(t, Check(&Options{Systemd: "maybe"}), `--systemd "maybe": no such choice; choose true, false or always`)
	checkRefusal(t, Check(&Options{Systemd: "always", Init: true}), "leave out --init")
	checkRefusal(t, Check(&Options{Systemd: "always", PID: "host"}), "leave out --pid=host")
	checkRefusal(t, Check(&Options{Systemd: "always", PID: "container:x"}), "leave out --pid=container:x")
}

// What systemd finds: its own cgroup to write to, a /sys that is not, folders in
// memory, and a shutdown signal that it understands.
func TestSystemdPlan(t *testing.T) {
	p := plan(t, Options{Command: []string{"/sbin/init"}})
	if got := mountText(p, "/sys/fs/cgroup"); strings.Contains(got, "ro") && !strings.Contains(got, "cgroup2") {
		t.Errorf("/sys/fs/cgroup: %s", got)
	}
	if m := findMount(p, "/sys/fs/cgroup"); m == nil || slices.Contains(m.Options, "ro") {
		t.Errorf("/sys/fs/cgroup: %+v", m)
	}
	if m := findMount(p, "/sys"); m == nil || !slices.Contains(m.Options, "ro") {
		t.Errorf("/sys: %+v", m)
	}
	for _, dir := range []string{"/run", "/run/lock", "/tmp", "/var/log/journal"} {
		if m := findMount(p, dir); m == nil || m.Type != "tmpfs" || slices.Contains(m.Options, "ro") || !slices.Contains(m.Options, "nosuid") {
			t.Errorf("%s: %+v", dir, m)
		}
	}
	if p.StopSignal != 37 || p.StopAfter != 90*time.Second {
		t.Errorf("it is stopped by %d in %v", p.StopSignal, p.StopAfter)
	}
	if got := caps(p); got != strings.Replace(fourteen, "MKNOD", "SYS_BOOT MKNOD", 1) || !slices.Contains(p.Seccomp.Caps, "CAP_SYS_BOOT") {
		t.Errorf("capabilities: %s", got)
	}
	for _, e := range []string{"container=rc", "TERM=dumb", "container_uuid=01234567-89ab-cdef-0123-456789abcdef"} {
		if !slices.Contains(p.Spec.Process.Env, e) {
			t.Errorf("no %s in %q", e, p.Spec.Process.Env)
		}
	}
	ordinary := plan(t, Options{})
	if ordinary.StopSignal != 15 || findMount(ordinary, "/run") != nil || strings.Contains(strings.Join(ordinary.Spec.Process.Env, " "), "container=") {
		t.Errorf("an ordinary container: %+v", ordinary)
	}
}

// What the user, or the image, says goes before.
func TestSystemdGivesWay(t *testing.T) {
	five := 5
	p := plan(t, Options{Command: []string{"/sbin/init"}, StopSignal: "SIGPWR", StopTimeout: &five, TTY: true, CapDrop: []string{"SYS_BOOT"},
		Env: []string{"container=podman"}, Tmpfs: []string{"/run:size=1m"}, Volume: []string{"logs:/var/log/journal"}})
	if p.StopSignal != 30 || p.StopAfter != 5*time.Second || strings.Contains(caps(p), "SYS_BOOT") {
		t.Errorf("%d %v %s", p.StopSignal, p.StopAfter, caps(p))
	}
	if env := p.Spec.Process.Env; !slices.Contains(env, "container=podman") || !slices.Contains(env, "TERM=xterm") || slices.Contains(env, "TERM=dumb") {
		t.Errorf("%q", env)
	}
	if m := findMount(p, "/var/log/journal"); m == nil || m.Type != "bind" {
		t.Errorf("/var/log/journal: %+v", m)
	}
	if m := findMount(p, "/run"); m == nil || !slices.Contains(m.Options, "size=1m") || findMount(p, "/run/lock") != nil {
		t.Errorf("/run: %+v", m)
	}
	in := input(&Options{Command: []string{"/sbin/init"}, CapDrop: []string{"ALL"}})
	in.Image.Config = record.ImageConfig{StopSignal: "SIGINT"}
	if p := mustBuild(t, in); p.StopSignal != 2 || caps(p) != "" {
		t.Errorf("%d %q", p.StopSignal, caps(p))
	}
}

// With other ids, on the host's network, and with all rights.
func TestSystemdElsewhere(t *testing.T) {
	p := plan(t, Options{Command: []string{"/sbin/init"}, Userns: "keep-id:uid=1000,gid=1000"})
	if u := p.Spec.Process.User; u.UID != 0 || u.Username != "0" {
		t.Errorf("keep-id: systemd runs as %+v", u)
	}
	if outside, ok := userns.Lookup(p.UIDMap, 0); !ok || outside == 0 {
		t.Errorf("keep-id: root is %d", outside)
	}
	p = plan(t, Options{Command: []string{"/sbin/init"}, Network: []string{"host"}})
	if m := findMount(p, "/sys/fs/cgroup"); m == nil || m.Type != "cgroup2" || slices.Contains(m.Options, "ro") {
		t.Errorf("host network: %+v", m)
	}
	p = plan(t, Options{Command: []string{"/sbin/init"}, Privileged: true})
	if m := findMount(p, "/sys"); m == nil || !slices.Contains(m.Options, "ro") {
		t.Errorf("privileged: %+v", m)
	}
}
