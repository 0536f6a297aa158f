package hostile

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rc-containers/rc/tests/hostile/caller"
	"github.com/rc-containers/rc/tests/images"
)

// levels are how much a container may do to what comes into it.
var levels = map[string][]string{
	"default": nil, "capable": mighty, "privileged": {"--privileged"}, "app": {"-u", "app"},
	"auto": {"--userns", "auto"}, "keep-id": {"--userns", "keep-id"},
}

// The container's processes watch for the runtime's helper that joins them, and get
// nothing of it before it is the command: no memory, program, descriptor or folder
// (CVE-2016-9962).
func TestTraceExec(t *testing.T) {
	require(t)
	for name, f := range levels {
		t.Run(name, func(t *testing.T) {
			if why := unmapped(name); why != "" {
				t.Skip(why)
			}
			detached(t, "spy", flags(f, []string{"--network", "none"}), "race", "3", host.Dir, secret)
			began := time.Now()
			for n := 0; n < 4 || n < 12 && time.Since(began) < 2*time.Second; n++ { // a busy machine makes fewer before the spy leaves
				how := [][]string{{}, {"--privileged"}, {"-u", "app"}, {"-w", "/tmp"}}[n%4]
				r := host.RC(flags([]string{"exec"}, how, []string{"spy", "/attack", "true"})...)
				if r.Code != 0 {
					t.Fatalf("exit code %d: %s", r.Code, r.Err)
				}
			}
			out := logOf(t, "spy", "met ")
			if strings.Contains(out, "BREACH") || strings.Contains(out, "met 0 ") {
				t.Errorf("the spy saw: %s", out)
			}
		})
	}
}

// unmapped says why auto and keep-id cannot be had here.
func unmapped(name string) string {
	if name != "auto" && name != "keep-id" {
		return ""
	}
	r := host.RC("run", "--rm", "--network", "none", "--userns", name, image, "true")
	if r.Code == 0 {
		return ""
	}
	return "--userns=" + name + " cannot be had here: " + r.Err
}

// What an exec inherits: descriptors 0 to 2, the container's environment and an
// empty keyring; whatever the caller left open.
func TestExecLeaks(t *testing.T) {
	require(t)
	var leaked []*os.File
	for _, name := range []string{host.Dir, "/"} {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		leaked = append(leaked, f)
	}
	serials := userKey(t)
	for name, f := range levels {
		t.Run(name, func(t *testing.T) {
			if why := unmapped(name); why != "" {
				t.Skip(why)
			}
			detached(t, "leaky", flags(f, []string{"--network", "none"}), "sleep")
			for how, more := range map[string][]string{"plain": {}, "input": {"-i"}, "privileged": {"--privileged"}, "terminal": {"-t"}} {
				ctx, cancel := context.WithTimeout(context.Background(), caller.Limit)
				cmd := host.Command(ctx, flags([]string{"exec"}, more, []string{"leaky", "/attack", "leaks", secret, host.Dir})...)
				cmd.ExtraFiles = leaked
				verdict(t, caller.Finish(ctx, cmd), name+" "+how)
				cancel()
				verdict(t, onThisThread(flags([]string{"exec"}, more, []string{"leaky", "/attack", "keyring", keyName, secret}, serials)...), name+" "+how+" keys")
			}
		})
	}
}

// A working directory of an exec that names a descriptor of the helper's, or was
// made a link to one (CVE-2024-21626).
func TestExecWorkdirOfDescriptors(t *testing.T) {
	require(t)
	for name, f := range map[string][]string{"default": nil, "privileged": {"--privileged"}} {
		t.Run(name, func(t *testing.T) {
			detached(t, "adrift", flags(f, []string{"--network", "none"}), "sleep")
			for fd := 3; fd < 16; fd++ {
				for _, dir := range []string{fmt.Sprintf("/proc/self/fd/%d", fd), fmt.Sprintf("/proc/self/fd/%d/../../..", fd), "/proc/self/cwd/.."} {
					r := host.RC("exec", "-w", dir, "adrift", "/attack", "cwd", host.Dir)
					civil(t, r)
					breaches(t, r)
				}
			}
		})
	}
}

// An exec of the runtime's own program, by a link of the image's, leaves nothing
// that could be written to (CVE-2019-5736): see TestOverwriteThroughSelfExe.
func TestOverwriteThroughExec(t *testing.T) {
	require(t)
	before := programs(t)
	ref := build(t, "execself", nil, images.Symlink("run", "/proc/self/exe"), images.File("script", 0o755, "#!/proc/self/exe\n"))
	r := host.RC(flags([]string{"run", "-d", "--name", "trap", "--network", "none"}, mighty, []string{ref, "catch-exe", "4", "rc-init"})...)
	if r.Code != 0 {
		t.Fatalf("%d %s", r.Code, r.Err)
	}
	t.Cleanup(func() { host.RC("rm", "-f", "trap") })
	for end := time.Now().Add(2500 * time.Millisecond); time.Now().Before(end); {
		host.RC("exec", "trap", "/run", "rc-exec")
		host.RC("exec", "--privileged", "trap", "/script")
		host.RC("exec", "trap", "/proc/self/exe", "rc-shim")
	}
	out := logOf(t, "trap", "caught ")
	if strings.Contains(out, "BREACH") || strings.Contains(out, "caught 0") || !strings.Contains(out, "held make the runtime's mount writable") {
		t.Errorf("the catcher saw: %s", out)
	}
	for name, sum := range programs(t) {
		if sum != before[name] {
			t.Errorf("%s was changed", name)
		}
	}
}

// A container that kills what comes in: each exec ends, is told as what it is, and
// the container can be ended.
func TestExecIsKilled(t *testing.T) {
	require(t)
	detached(t, "killer", []string{"--network", "none"}, "molest", "KILL")
	for range 5 {
		r := host.RC("exec", "killer", "/attack", "sleep", "5")
		if r.Code <= 0 || r.Code == 3 || strings.Contains(r.Err, "panic") {
			t.Errorf("exit code %d: %s", r.Code, r.Err)
		}
	}
	if r := host.RC("exec", "-d", "killer", "/attack", "sleep"); r.Code < 0 {
		t.Errorf("exec -d hangs: %s", r.Err)
	}
	if r := host.RC("stop", "-t", "1", "killer"); r.Code != 0 {
		t.Errorf("rc stop: %d %s", r.Code, r.Err)
	}
}

// Health checks are the image's: one that floods, one that leaves children, one
// whose words are long in JSON. The container obeys its user all the while.
func TestHostileProbes(t *testing.T) {
	require(t)
	dir := folder(t, "probes")
	beats := filepath.Join(dir, "beats")
	for name, test := range map[string][]string{
		"flood": {"CMD", "/attack", "flood"}, "leaver": {"CMD", "/attack", "flood", "/out/beats"},
		"zeros": {"CMD", "/attack", "zeros", "4096"}, "missing": {"CMD", "/" + strings.Repeat("x", 60_000)},
		"lines": {"CMD-SHELL", "\n\x1b]0;\x07"},
	} {
		t.Run(name, func(t *testing.T) {
			ref := build(t, "probe-"+name, func(c *images.Config) { c.Healthcheck = map[string][]string{"Test": test} })
			r := host.RC("run", "-d", "--name", "ill", "--network", "none", "-v", dir+":/out", "--health-interval", "50ms", "--health-timeout", "300ms", "--health-retries", "1", ref, "sleep")
			if r.Code != 0 {
				t.Fatalf("%d %s", r.Code, r.Err)
			}
			t.Cleanup(func() { host.RC("rm", "-f", "ill") })
			time.Sleep(1500 * time.Millisecond)
			for _, verb := range []string{"pause", "unpause", "inspect", "ps"} {
				args := []string{verb, "ill"}
				if verb == "ps" {
					args = args[:1]
				}
				if r := host.RC(args...); r.Code != 0 {
					t.Errorf("rc %s: %d %s", verb, r.Code, r.Err)
				}
			}
			waited := make(chan caller.Result, 1)
			go func() { waited <- host.RC("wait", "ill") }()
			if r := host.RC("stop", "-t", "0", "ill"); r.Code != 0 {
				t.Errorf("rc stop: %d %s", r.Code, r.Err)
			}
			if r := <-waited; r.Code != 0 || strings.TrimSpace(r.Out) == "" { // 137, or 2 of a Go program that is process 1
				t.Errorf("rc wait: %d %q %s", r.Code, r.Out, r.Err)
			}
			before := len(read(beats))
			time.Sleep(200 * time.Millisecond)
			if after := len(read(beats)); after != before {
				t.Error("what a probe left behind outlives the container")
			}
		})
	}
}
