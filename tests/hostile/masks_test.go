package hostile

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Masks and read-only paths hold against a container without CAP_SYS_ADMIN, also
// one that makes itself root of a user namespace of its own.
func TestMasks(t *testing.T) {
	require(t)
	var lacking []string // every capability but the one that undoes mounts
	lacking = append(lacking, "--cap-add", "ALL", "--cap-drop", "SYS_ADMIN")
	for name, f := range map[string][]string{
		"default":    {},
		"unfiltered": {"--security-opt", "seccomp=unconfined"},
		"lacking":    flags(lacking, []string{"--security-opt", "seccomp=unconfined"}),
		"app":        {"--security-opt", "seccomp=unconfined", "-u", "app"},
		"init":       {"--security-opt", "seccomp=unconfined", "--init"},
		"auto":       {"--security-opt", "seccomp=unconfined", "--userns", "auto"},
	} {
		t.Run(name, func(t *testing.T) {
			out := inside(t, flags([]string{"--network", "none"}, f), "masks")
			if name != "default" && !strings.Contains(out, "in a new user namespace") {
				t.Logf("no user namespace in there: %s", tail(out))
			}
		})
	}
}

// With everything that the command line can give, the host's kernel, settings and
// devices are still not the container's.
func TestHostFacts(t *testing.T) {
	require(t)
	for name, f := range map[string][]string{
		"default":    {"--network", "none"},
		"capable":    flags(mighty, []string{"--network", "none", "--security-opt", "unmask=ALL"}),
		"privileged": {"--privileged", "--network", "none"},
		"host":       {"--privileged", "--network", "host", "--pid", "host", "--ipc", "host", "--uts", "host", "--userns", "host"},
		"sys":        {"--privileged", "--network", "none", "-v", "/sys:/sys", "-v", "/proc:/hostproc"},
	} {
		t.Run(name, func(t *testing.T) {
			inside(t, f, "host-facts")
			inside(t, f, "devices")
		})
	}
	dir := folder(t, "nodes")
	inside(t, flags(mighty, []string{"--network", "none", "-v", dir + ":/nodes", "--tmpfs", "/t:rw,dev,suid"}), "devices", "/nodes", "/t")
}

// No way leads out of the root: chroot, file handles, /proc links, the working
// directory. The host's side is a path that no container is given.
func TestEscape(t *testing.T) {
	require(t)
	if r := exec.Command(host.Attack(), "cwd", host.Dir); r.Run() == nil {
		t.Error("control: the host's own working directory does not show the host")
	}
	for name, f := range map[string][]string{
		"default":    {"--network", "none"},
		"capable":    flags(mighty, []string{"--network", "none"}),
		"privileged": {"--privileged", "--network", "none"},
		"pid-host":   {"--privileged", "--network", "none", "--pid", "host"},
		"host-ids":   {"--privileged", "--network", "none", "--userns", "host"},
		"read-only":  {"--privileged", "--network", "none", "--read-only", "--tmpfs", "/jail"},
		"volume":     {"--privileged", "--network", "none", "-v", folder(t, "shared") + ":/host"},
	} {
		t.Run(name, func(t *testing.T) {
			inside(t, f, "escape", host.Dir)
			inside(t, f, "cwd", host.Dir)
		})
	}
}

// A set-uid program of the host's root, in a folder that is bound in, runs as who
// executes it: that root has no id in here. (The caller's own set-uid programs work
// in a bind mount, as they do with Docker: they lead to the container's root.)
func TestSetUIDOfTheHost(t *testing.T) {
	require(t)
	program := ""
	for _, name := range []string{"/usr/bin/passwd", "/bin/su", "/usr/bin/chfn", "/usr/bin/newuidmap", "/bin/mount"} {
		if st, err := os.Stat(name); err == nil && st.Mode()&os.ModeSetuid != 0 {
			program = name
			break
		}
	}
	if program == "" {
		t.Skip("needs a set-uid program of root's on the host")
	}
	works(t, "suid", "/", program)
	for name, f := range map[string][]string{
		"default": {}, "privileged": {"--privileged"}, "auto": {"--privileged", "--userns", "auto"}, "suid": {"--mount", "type=tmpfs,target=/t"},
	} {
		t.Run(name, func(t *testing.T) {
			out := inside(t, flags([]string{"--network", "none", "-v", "/:/host"}, f), "suid", "/host", program)
			if !strings.Contains(out, "as ourselves") {
				t.Logf("it could not be executed at all: %s", out)
			}
		})
	}
}
