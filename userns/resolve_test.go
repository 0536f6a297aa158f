package userns

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/host"
)

// fakeHost is a host with the given files, seen by uid and by group 100.
func fakeHost(t *testing.T, uid int, files map[string]string) *host.System {
	t.Helper()
	root := t.TempDir()
	for path, text := range files {
		mode := os.FileMode(0o644)
		if strings.Contains(path, "/bin/") {
			mode = 0o755
		}
		if err := os.MkdirAll(filepath.Dir(root+path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(root+path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	return &host.System{Root: root, UID: uid, GID: 100, Env: func(string) string { return "" },
		Run:       func(string, ...string) (string, error) { return "", errors.New("not here") },
		TryUserNS: func() error { return nil }}
}

func TestResolve(t *testing.T) {
	ranges := map[string]string{
		"/etc/passwd": "alice:x:1000:100::/home/alice:/bin/sh\n",
		"/etc/subuid": "alice:100000:65536\n1000:300000:10\n",
		"/etc/subgid": "alice:100000:65536\n",
	}
	if onHost(t) {
		m, err := resolve(fakeHost(t, 0, map[string]string{
			"/etc/subuid": "0:100000:65536\n", "/etc/subgid": "0:200000:5\n",
		}))
		if err != nil || m.SingleID || !slices.Equal(m.UID, []IDMap{{0, 0, 1}, {1, 100000, 65536}}) ||
			!slices.Equal(m.GID, []IDMap{{0, 100, 1}, {1, 200000, 5}}) {
			t.Errorf("root: %+v, %v", m, err)
		}
	}
	for name, c := range map[string]struct {
		s    *host.System
		want string
	}{
		"no ranges":     {fakeHost(t, 1000, nil), "no range for 1000 in /etc/subuid and /etc/subgid"},
		"not installed": {fakeHost(t, 1000, ranges), "newuidmap: not installed"},
	} {
		m, err := resolve(c.s)
		if err != nil || !m.SingleID || !slices.Equal(m.UID, []IDMap{{0, 1000, 1}}) || !slices.Equal(m.GID, []IDMap{{0, 100, 1}}) {
			t.Errorf("%s: %+v, %v", name, m, err)
			continue
		}
		var h *hint.Error
		if !errors.As(m.Why, &h) || !strings.Contains(h.Error(), c.want) || h.Fix == "" {
			t.Errorf("%s: why is %v, want %q and a fix", name, m.Why, c.want)
		}
	}
}

func TestLayOutKeepsToTheOuterNamespace(t *testing.T) {
	ranges := []host.IDRange{{Start: 100000, Size: 65536}, {Start: 500, Size: 10}}
	whole := []IDMap{{0, 0, 1<<32 - 1}}
	if got := layOut(1000, ranges, whole); !slices.Equal(got, []IDMap{{0, 1000, 1}, {1, 100000, 65536}, {65537, 500, 10}}) {
		t.Errorf("on the host: %v", got)
	}
	// In a container with 65536 ids, as Docker's userns-remap gives.
	if got := layOut(1000, ranges, []IDMap{{0, 100000, 65536}}); !slices.Equal(got, []IDMap{{0, 1000, 1}, {1, 500, 10}}) {
		t.Errorf("in a container: %v", got)
	}
	if got := layOut(0, ranges[:1], []IDMap{{0, 1000, 1}}); len(got) != 1 {
		t.Errorf("in single-id mode: %v", got)
	}
}

func TestDiagnoseTellsTheCausesApart(t *testing.T) {
	tool := map[string]string{"/usr/bin/newuidmap": "#!/bin/sh\n", "/proc/self/uid_map": "0 0 1\n"}
	with := func(extra ...string) map[string]string {
		files := map[string]string{}
		for k, v := range tool {
			files[k] = v
		}
		for i := 0; i < len(extra); i += 2 {
			files[extra[i]] = extra[i+1]
		}
		return files
	}
	said := func(text string) error {
		return &host.CommandError{Path: "newuidmap", State: "exit status 1", Said: text}
	}
	const eperm = "newuidmap: write to uid_map failed: Operation not permitted"
	for name, c := range map[string]struct {
		uid       int
		files     map[string]string
		err       error
		want, fix string
	}{
		"not installed": {1000, map[string]string{"/etc/os-release": "ID=debian\n"}, unix.ENOENT, "not installed", "sudo apt-get install uidmap"},
		"no set-uid":    {1000, tool, said(eperm), "neither the set-uid bit nor a file capability", "chmod u+s"},
		"no_new_privs":  {1000, with("/proc/self/status", "NoNewPrivs:\t1\n"), said(eperm), "no_new_privs", "NoNewPrivileges=no"},
		"too small": {0, tool, said("newuidmap: uid range [1-65537) -> [100000-165536) not allowed"),
			"smaller than asked for", "65536"},
		"no name":   {0, tool, said("newuidmap: Cannot determine your user name."), "no entry in the host's user database", "passwd"},
		"newgrp":    {0, tool, said("newuidmap: Target 12 is owned by a different user: uid:1000 pw_uid:1000 st_uid:1000, gid:27 pw_gid:1000 st_gid:27"), "login group", "newgrp"},
		"sysctl":    {0, with("/proc/sys/user/max_user_namespaces", "0\n"), said(eperm), "max_user_namespaces=0", "sysctl"},
		"apparmor":  {0, with("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1\n", "/proc/self/attr/current", "unconfined\n"), said(eperm), "AppArmor", "contrib/apparmor"},
		"traced":    {0, with("/proc/self/status", "TracerPid:\t77\n"), said(eperm), "process 77 traces this one", "without strace"},
		"no caps":   {0, tool, said("newuidmap: Could not set caps"), "could not use its privilege", "CAP_SETUID"},
		"something": {0, tool, said("out of cheese\nredo from start"), "out of cheese redo from start", "by hand"},
	} {
		err := diagnose(fakeHost(t, c.uid, c.files), "newuidmap", c.err)
		var h *hint.Error
		if !errors.As(err, &h) || !strings.Contains(err.Error(), c.want) || !strings.Contains(h.Fix, c.fix) {
			t.Errorf("%s: %v, want %q and %q", name, err, c.want, c.fix)
		}
		if strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %q is more than one line", name, err)
		}
	}
}

// The real newuidmap, asked for what is nobody's: its refusal is recognised and
// nothing of the program is left.
func TestRealToolRefusesOthersRange(t *testing.T) {
	needRanges(t)
	if os.Getuid() == 0 {
		t.Skip("root may map any range")
	}
	p, _ := program(t, "exit")
	p.Plan = Plan{Unshare: unix.CLONE_NEWUSER}
	p.MapIDs = &Mapping{
		UID: []IDMap{{0, uint32(os.Getuid()), 1}, {1, 3000000000, 65536}},
		GID: []IDMap{{0, uint32(os.Getgid()), 1}, {1, 3000000000, 65536}},
	}
	process, err := Start(p)
	if err == nil {
		_, _ = process.Wait()
		t.Fatal("mapped a range of nobody's")
	}
	if !strings.Contains(err.Error(), "newuidmap") || !strings.Contains(err.Error(), "smaller than asked for") {
		t.Error(err)
	}
	if _, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); err != unix.ECHILD {
		t.Errorf("a child is left: %v", err)
	}
}

func TestNoNewPrivsIsNamed(t *testing.T) {
	needRanges(t)
	if os.Getuid() == 0 {
		t.Skip("root needs no set-uid program")
	}
	p, out := program(t, "resolve")
	if got := run(t, p, out); !strings.Contains(got, "single true") || !strings.Contains(got, "no_new_privs") {
		t.Errorf("got %q", got)
	}
}
