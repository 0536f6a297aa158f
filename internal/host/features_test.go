package host

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
)

func TestIDMapTool(t *testing.T) {
	wants(t, fake(t, map[string]string{"/etc/os-release": "ID=ubuntu\nID_LIKE=debian\n"}).IDMapTool("newuidmap"),
		"not installed", "sudo apt-get install uidmap")
	plain := map[string]string{"/usr/bin/newuidmap": ""}
	wants(t, fake(t, plain).IDMapTool("newuidmap"), "neither the set-uid bit nor a file capability", "chmod u+s")
	plain["/proc/self/status"] = "Name:\trc\nNoNewPrivs:\t1\n"
	wants(t, fake(t, plain).IDMapTool("newuidmap"), "no_new_privs", "NoNewPrivileges=no")
	root := fake(t, plain)
	root.UID = 0
	if f := root.IDMapTool("newuidmap"); !f.OK || f.Evidence != root.Root+"/usr/bin/newuidmap" {
		t.Errorf("root: %+v", f)
	}
	set := fake(t, map[string]string{"/usr/bin/newgidmap": ""})
	path := set.Root + "/usr/bin/newgidmap"
	if os.Getuid() == 0 {
		if err := os.Chown(path, 1234, -1); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Chmod(path, 0o4755); err != nil {
		t.Fatal(err)
	}
	if f := set.IDMapTool("newgidmap"); !strings.Contains(f.Evidence, "nosuid") {
		wants(t, f, "not to root", "chown root")
	}
}

// The nosuid case on a real mount, which this test makes by running itself in
// a user and a mount namespace.
func TestNosuidMountIsNamed(t *testing.T) {
	const inside = "RC_HOST_TEST_INSIDE"
	if os.Getenv(inside) == "" {
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestNosuidMountIsNamed$")
		cmd.Env = append(os.Environ(), inside+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}}
		out, err := cmd.CombinedOutput()
		var failed *exec.ExitError
		if err != nil && !errors.As(err, &failed) {
			t.Skipf("needs user namespaces: %v", err)
		}
		if err != nil {
			t.Errorf("%v: %s", err, out)
		}
		return
	}
	s := fake(t, nil)
	if err := unix.Mount("none", s.Root, "tmpfs", unix.MS_NOSUID, "mode=755"); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(s.Root, unix.MNT_DETACH)
	tool := s.Root + "/newuidmap"
	if err := os.WriteFile(tool, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	if cause, fix := s.powerless(tool); !strings.Contains(cause, "mounted nosuid") || !strings.Contains(fix, "remount,suid") {
		t.Errorf("%q, %q", cause, fix)
	}
}

func TestInstall(t *testing.T) {
	p := Package{Debian: "deb", Fedora: "rpm", Alpine: "apk"}
	for release, want := range map[string]string{
		"ID=debian\n":                           "sudo apt-get install deb",
		"ID=\"rocky\"\nID_LIKE=\"rhel fedora\"": "sudo dnf install rpm",
		"NAME=x\nID=alpine":                     "sudo apk add apk",
		"ID=arch":                               "install the package deb", // none named for it
		"":                                      "install the package deb",
	} {
		if got := fake(t, map[string]string{"/etc/os-release": release}).Install(p); got != want {
			t.Errorf("%q: %q, want %q", release, got, want)
		}
	}
}

func TestLookPath(t *testing.T) {
	s := fake(t, map[string]string{"/opt/bin/tool": "", "/usr/bin/tool": "", "/sbin/other": "", "/usr/bin/tooltip/x": ""})
	s.Env = func(string) string { return "opt/bin:.::/opt/bin" }
	if got := s.LookPath("tool"); got != s.Root+"/opt/bin/tool" {
		t.Error(got)
	}
	for _, name := range []string{"other", "tooltip", "nothing"} { // not executable, a folder, missing
		if got := s.LookPath(name); got != "" && name != "other" {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestKernel(t *testing.T) {
	for release, ok := range map[string]bool{"5.14.0-70.el9": true, "6.1.0-18-amd64": true, "10.0": true, "5.13.19": false, "4.19.0": false} {
		if f := fake(t, map[string]string{"/proc/sys/kernel/osrelease": release}).Kernel(); f.OK != ok || (f.Fix == "") != ok {
			t.Errorf("%s: %+v", release, f)
		}
	}
	wants(t, fake(t, nil).Kernel(), "cannot read the release", "mount /proc")
}

func TestDevicesAndPrograms(t *testing.T) {
	bare := fake(t, map[string]string{"/etc/os-release": "ID=fedora"})
	wants(t, bare.Fuse(), "no such file", "modprobe fuse")
	wants(t, bare.Tun(), "no such file", "--network=none")
	wants(t, bare.FuseOverlayfs(), "not installed", "sudo dnf install fuse-overlayfs")
	wants(t, bare.Slirp4netns(), "not installed", "sudo dnf install slirp4netns; --network=none")
	full := fake(t, map[string]string{"/dev/fuse": "", "/dev/net/tun": "", "/usr/bin/slirp4netns": "", "/usr/bin/fuse-overlayfs": ""})
	for _, f := range []Finding{full.Fuse(), full.Tun(), full.FuseOverlayfs(), full.Slirp4netns()} {
		if !f.OK || f.Fix != "" {
			t.Errorf("%+v", f)
		}
	}
	if os.Getuid() != 0 {
		if err := os.Chmod(full.Root+"/dev/fuse", 0); err != nil {
			t.Fatal(err)
		}
		wants(t, full.Fuse(), "permission denied", "chmod 0666 /dev/fuse")
	}
}

func TestSeccompAndLandlock(t *testing.T) {
	wants(t, fake(t, nil).Seccomp(), "no seccomp", "CONFIG_SECCOMP_FILTER")
	if f := fake(t, map[string]string{"/proc/sys/kernel/seccomp/actions_avail": "kill allow"}).Seccomp(); !f.OK {
		t.Errorf("%+v", f)
	}
	if f := Here().Landlock(); f.OK == (f.Fix != "") || f.Evidence == "" {
		t.Errorf("%+v", f)
	}
}

func TestKeys(t *testing.T) {
	with := func(users string) *System {
		return fake(t, map[string]string{"/proc/sys/kernel/keys/maxkeys": "200\n", "/proc/key-users": users})
	}
	if f := with("    0:    90 89/89 85/1000000 1500/25000000\n 1000:     3 3/3 3/200 60/20000\n").Keys(); !f.OK || !strings.HasPrefix(f.Evidence, "3 of") {
		t.Errorf("%+v", f)
	}
	wants(t, with(" 1000: 199 199/199 199/200 60/20000\n").Keys(), "199 of kernel.keys.maxkeys=200", "sysctl -w kernel.keys.maxkeys")
	for _, s := range []*System{with(""), with("1000:\n1000: a b c d\n"), fake(t, nil)} {
		if f := s.Keys(); !f.OK {
			t.Errorf("%+v", f)
		}
	}
}

func TestRuntimeDir(t *testing.T) {
	s := fake(t, map[string]string{"/run/user/file": ""})
	s.UID = os.Getuid()
	dir := ""
	s.Env = func(name string) string { return dir }
	wants(t, s.RuntimeDir(), "not set", "linger")
	dir = "/run/user/1000"
	wants(t, s.RuntimeDir(), "no such file", "linger")
	if err := os.Mkdir(s.Root+dir, 0o755); err != nil {
		t.Fatal(err)
	}
	wants(t, s.RuntimeDir(), "mode 0700", "")
	if err := os.Chmod(s.Root+dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if f := s.RuntimeDir(); !f.OK || f.Evidence != dir {
		t.Errorf("%+v", f)
	}
	s.UID++
	wants(t, s.RuntimeDir(), "not a folder of yours", "")
}

func TestFindingAsError(t *testing.T) {
	if err := (Finding{OK: true}).Err("start"); err != nil {
		t.Error(err)
	}
	err := Finding{Name: "x", Evidence: "gone", Fix: "put it back"}.Err("start")
	var h *hint.Error
	if !errors.As(err, &h) || err.Error() != "start: gone; put it back" {
		t.Error(err)
	}
}

// Every probe of the real host answers, and one that fails names a fix.
func TestAllOnThisHost(t *testing.T) {
	names := map[string]bool{}
	for _, f := range Here().All() {
		t.Logf("%-18s %-5v %s; %s", f.Name, f.OK, f.Evidence, f.Fix)
		if f.Name == "" || f.Evidence == "" || names[f.Name] || !f.OK && f.Fix == "" || f.OK && f.Fix != "" {
			t.Errorf("%+v", f)
		}
		names[f.Name] = true
	}
}

func TestOutput(t *testing.T) {
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho \"$1 $LC_ALL $SECRET\"; echo one >&2; echo two >&2; exit $2\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SECRET", "swordfish")
	if out, err := Output(script, "hello", "0"); err != nil || out != "hello C \n" {
		t.Errorf("%q, %v", out, err)
	}
	_, err := Output(script, "hello", "3")
	var failed *CommandError
	if !errors.As(err, &failed) || failed.State != "exit status 3" || err.Error() != "one two" {
		t.Errorf("%v", err)
	}
	if _, err := Output("/nonexistent"); !errors.Is(err, unix.ENOENT) {
		t.Error(err)
	}
	if _, err := Output("/bin/false"); err == nil || err.Error() != "/bin/false: exit status 1" {
		t.Error(err)
	}
}
