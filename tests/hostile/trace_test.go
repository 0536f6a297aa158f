package hostile

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rc-containers/rc/tests/images"
)

// Every process of ours that lives beside a container, and the caller's own: from
// inside --pid=host with every capability, none lets itself be traced, read,
// joined, or its program be written to.
func TestTraceFromHostPIDs(t *testing.T) {
	require(t, "slirp4netns")
	// A process of the caller's that is not ours.
	victim := exec.Command(host.Attack(), "sleep", "60")
	victim.Args[0] = "victim"
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = victim.Process.Kill(); _ = victim.Wait() })
	works(t, "trace", "victim") // the caller may, of course
	detached(t, "neighbour", []string{"-p", "127.0.0.1::80"}, "sleep")
	names := []string{"rc-shim", "rc-net", "slirp4netns", "victim", "rc"}
	for name, f := range map[string][]string{
		"capable":    flags(mighty, []string{"--pid", "host", "--network", "none"}),
		"privileged": {"--privileged", "--pid", "host", "--network", "host"},
		"host-ids":   {"--privileged", "--pid", "host", "--network", "none", "--userns", "host"},
		"app":        flags(mighty, []string{"--pid", "host", "--network", "none", "-u", "app"}),
	} {
		t.Run(name, func(t *testing.T) {
			out := inside(t, f, flags([]string{"trace"}, names)...)
			for _, n := range names {
				if n != "rc" && !strings.Contains(out, "met "+n+" ") {
					t.Errorf("there was no %s to trace: the test shows nothing", n)
				}
			}
			inside(t, f, flags([]string{"overwrite"}, names)...)
		})
	}
}

// fuse-overlayfs serves the root file system from outside.
func TestTraceFuseOverlayfs(t *testing.T) {
	require(t, "fuse-overlayfs")
	if _, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0); err != nil {
		t.Skip("needs /dev/fuse: " + err.Error())
	}
	f := flags(mighty, []string{"--pid", "host", "--network", "none"})
	host.Extra = append(host.Extra, "RC_STORAGE_DRIVER=fuse-overlayfs")
	defer func() { host.Extra = host.Extra[:len(host.Extra)-1] }()
	detached(t, "fuse", []string{"--network", "none"}, "sleep")
	out := inside(t, f, "trace", "fuse-overlayfs", "rc-shim")
	if !strings.Contains(out, "met fuse-overlayfs ") {
		t.Error("there was no fuse-overlayfs to trace")
	}
	inside(t, f, "overwrite", "fuse-overlayfs", "rc-shim")
}

// A container that shares its pid and user namespace watches neighbours start: it
// sees the runtime's init before it becomes the payload, and gets nothing of it.
func TestTraceStartingNeighbour(t *testing.T) {
	require(t)
	for name, join := range map[string][]string{
		"pid":     {"--pid", "container:spy", "--network", "none"},
		"all":     {"--pid", "container:spy", "--network", "container:spy", "--ipc", "container:spy", "--uts", "container:spy"},
		"init":    {"--pid", "container:spy", "--network", "none", "--init"},
		"workdir": {"--pid", "container:spy", "--network", "none", "-v", host.Dir + ":/shared", "-w", "/proc/self/root"},
	} {
		t.Run(name, func(t *testing.T) {
			detached(t, "spy", flags(mighty, []string{"--ipc", "shareable", "--network", "none"}), "race", "2", host.Dir, secret)
			// The spy ends after its time, and with it who lives in its pid namespace.
			for end := time.Now().Add(1500 * time.Millisecond); time.Now().Before(end); {
				r := host.RC(flags([]string{"run", "--rm"}, join, []string{image, "true"})...)
				if r.Code != 0 && time.Now().Before(end) {
					t.Fatalf("exit code %d: %s", r.Code, r.Err)
				}
			}
			out := logOf(t, "spy", "met ")
			if strings.Contains(out, "BREACH") || !strings.Contains(out, "held exe of a starting neighbour") || strings.Contains(out, " 0 of them") {
				t.Errorf("the spy saw: %s", out)
			}
		})
	}
}

// logOf waits until a container's output holds text. It reads the log file: the
// act's own words, whatever rc thinks of them.
func logOf(t *testing.T, name, text string) string {
	t.Helper()
	var out string
	eventually(t, name+" says "+text, func() bool {
		r := host.RC("inspect", name)
		_, rest, _ := strings.Cut(r.Out, `"Id": "`)
		id, _, _ := strings.Cut(rest, `"`)
		out = read(filepath.Join(host.Root, "containers", id, "log"))
		return strings.Contains(out, text)
	})
	return out
}

// programs are the hashes of rc's own files.
func programs(t *testing.T) map[string]string {
	t.Helper()
	sums := map[string]string{}
	for _, name := range []string{"rc", "rc-init", "rc-net", "rc-image"} {
		data, err := os.ReadFile(filepath.Join(host.Bin, name))
		if err != nil {
			t.Fatal(err)
		}
		sums[name] = fmt.Sprintf("%x", sha256.Sum256(data))
	}
	return sums
}

// The image brings the runtime to execute itself (CVE-2019-5736): by an entry
// point that is a link to /proc/self/exe, or a script that names it. A container
// in the same pid namespace catches the program and tries to write to it. The
// programs belong to the caller, which is the container's root: nothing but the
// mount stands between.
func TestOverwriteThroughSelfExe(t *testing.T) {
	require(t)
	before := programs(t)
	// The caller's own copy, so that it is writable as it is for who runs `make`.
	own := folder(t, "bin")
	for name := range before {
		data, err := os.ReadFile(filepath.Join(host.Bin, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(own, name), data, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	bin := host.Bin
	host.Bin = own
	defer func() { host.Bin = bin }()
	link := build(t, "selfexe", func(c *images.Config) { c.Entrypoint, c.Cmd = []string{"/run"}, []string{"rc-boot"} },
		images.Symlink("run", "/proc/self/exe"))
	script := build(t, "selfscript", func(c *images.Config) { c.Entrypoint, c.Cmd = []string{"/run"}, nil },
		images.File("run", 0o755, "#!/proc/self/exe\n"), images.Symlink("lib", "/proc/self/exe"))
	detached(t, "catcher", flags(mighty, []string{"--network", "none"}), "catch-exe", "4", "rc-init")
	for end := time.Now().Add(2500 * time.Millisecond); time.Now().Before(end); {
		for _, ref := range []string{link, script} {
			for _, f := range [][]string{{}, {"--init"}, {"--entrypoint", "/proc/1/exe"}} {
				host.RC(flags([]string{"run", "--rm", "--pid", "container:catcher", "--network", "none"}, f, []string{ref})...)
			}
		}
	}
	// --init leaves the runtime as PID 1, from the same program.
	inside(t, flags(mighty, []string{"--init", "--network", "none"}), "overwrite", "rc-boot", "rc-init")
	inside(t, flags(mighty, []string{"--init", "--network", "none"}), "trace", "rc-boot", "rc-init")
	out := logOf(t, "catcher", "caught ")
	if strings.Contains(out, "BREACH") || strings.Contains(out, "caught 0") || !strings.Contains(out, "held write to the runtime's program") {
		t.Errorf("the catcher saw: %s", out)
	}
	for name, sum := range programs(t) {
		if sum != before[name] {
			t.Errorf("%s was changed", name)
		}
	}
}
