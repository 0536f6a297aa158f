package shim

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/stage/start"
)

func TestUnescape(t *testing.T) {
	for in, want := range map[string]string{
		"/plain": "/plain", `/a\040b`: "/a b", `/t\011\012`: "/t\t\n", `/back\134slash`: `/back\slash`, `/quo"te\040`: `/quo"te `,
		"/é\\040": "/é ", `/hash\043`: "/hash#",
	} {
		if got := unescape(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

// What is listed are cgroup file systems that can be seen now.
func TestCgroupMounts(t *testing.T) {
	list := cgroupMounts()
	for _, at := range list {
		var st unix.Statfs_t
		if err := unix.Statfs(at, &st); err != nil || st.Type != unix.CGROUP2_SUPER_MAGIC && st.Type != unix.CGROUP_SUPER_MAGIC {
			t.Errorf("%s is none: %v %#x", at, err, st.Type)
		}
	}
	if len(list) == 0 {
		t.Skip("this host shows no cgroup file system")
	}
}

// The cases in which nothing of cgroups is below, and the one that is refused.
func TestWithoutCgroupsDecides(t *testing.T) {
	mounts := cgroupMounts()
	if len(mounts) == 0 {
		t.Skip("this host shows no cgroup file system")
	}
	at := mounts[0]
	s := &shim{cfg: &start.Config{Spec: &specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{}}, Linux: &specs.Linux{}}}}
	open := func() *os.File {
		f, err := os.Open("/")
		must(t, err)
		t.Cleanup(func() { f.Close() })
		return f
	}
	for _, real := range []string{"", "/usr", at + "x"} {
		tree := open()
		got, err := s.withoutCgroups(tree, real, &specs.Mount{Source: real, Options: []string{"rbind"}})
		if err != nil || got != tree || len(s.cfg.Spec.Linux.MaskedPaths) > 0 {
			t.Errorf("%q: %v %v", real, err, s.cfg.Spec.Linux.MaskedPaths)
		}
	}
	for _, real := range []string{at, at + "/user.slice"} {
		tree := open()
		_, err := s.withoutCgroups(tree, real, &specs.Mount{Source: real, Options: []string{"rbind"}})
		if err == nil || !strings.Contains(err.Error(), "host's cgroups are not shown") {
			t.Errorf("%q: %v", real, err)
		}
		if _, err := tree.Stat(); !errors.Is(err, os.ErrClosed) {
			t.Errorf("%q: the tree stays open", real)
		}
	}
	// Without CAP_SYS_ADMIN a mask cannot be undone, so one is enough.
	if _, err := s.withoutCgroups(open(), "/", &specs.Mount{Source: "/", Destination: "/host", Options: []string{"rbind"}}); err != nil {
		t.Error(err)
	}
	if got := s.cfg.Spec.Linux.MaskedPaths; !slices.Contains(got, "/host"+at) {
		t.Errorf("%q", got)
	}
}

// A container with every capability, that bound the host's /sys, cannot get at
// the cgroups below it: not by a path, not by unmounting what covers them.
func TestRealCgroupsAreCovered(t *testing.T) {
	if !slices.Contains(cgroupMounts(), "/sys/fs/cgroup") {
		t.Skip("this host has no cgroup file system on /sys/fs/cgroup")
	}
	c := newContainer(t, "sh", "-c", "ls /host/fs/cgroup; busybox umount -l /host/fs/cgroup 2>/dev/null && echo took it off; ls /host/fs/cgroup; echo end")
	all := []string{"CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE", "CAP_CHOWN", "CAP_SETUID", "CAP_SETGID"}
	c.cfg.Spec.Process.Capabilities = &specs.LinuxCapabilities{Bounding: all, Effective: all, Permitted: all}
	c.cfg.Spec.Mounts = append(c.cfg.Spec.Mounts, bind("/sys", "/host"))
	code, out, errs := c.run()
	if code != 0 || out != "end\n" {
		t.Errorf("%d %q %q", code, out, errs)
	}
	c.ended()
}

// rc-cover clones what it is told, and follows no link on the way.
func TestCoverRefuses(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Symlink("/etc", dir+"/link"))
	for _, path := range []string{dir + "/link", dir + "/link/ssl", dir + "/missing"} {
		code, m := told(t, Cover, &start.CoverConfig{Path: path})
		if code != 1 || m.Kind != start.KindFailed || m.Fail == nil {
			t.Errorf("%s: %d %+v", path, code, m)
		}
	}
	ours, theirs, err := stage.Pair()
	must(t, err)
	defer theirs.Close()
	ours.Close()
	if code := Cover(theirs); code != 1 {
		t.Errorf("nobody spoke: %d", code)
	}
}
