// Package upgrade replaces rc's programs under running containers, as a package
// manager does: new files under the old names. What an older rc started, the newer
// one lists, stops, executes in, follows, updates, restarts and removes.
//
//	RC_BIN=$PWD/bin go test ./tests/upgrade -v
package upgrade

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/tests/hostile/caller"
	"github.com/rc-containers/rc/tests/images"
)

const image, probed = "localhost/upgrade/base:latest", "localhost/upgrade/probed:latest"

const module = "github.com/rc-containers/rc"

// build makes the programs of another version, except rc-image, which no older
// process talks to.
func build(t *testing.T, dir, version string) {
	t.Helper()
	for program, flags := range map[string][]string{"rc": {"CGO_ENABLED=0", ""}, "rc-init": {"CGO_ENABLED=1", " -linkmode external -extldflags -static"}, "rc-net": {"CGO_ENABLED=1", " -linkmode external -extldflags -static"}} {
		cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-tags", "osusergo,netgo",
			"-ldflags", "-s -w -X "+module+"/internal/version.Version="+version+flags[1], "-o", filepath.Join(dir, program), module+"/cmd/"+program)
		cmd.Env = append(os.Environ(), flags[0])
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v: %s", program, err, out)
		}
	}
}

// install puts files under the names of others by rename, so that who runs the old
// ones keeps them.
func install(t *testing.T, from, to string, names ...string) {
	t.Helper()
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(from, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(to, "."+name), data, 0o755)
		}
		if err == nil {
			err = os.Rename(filepath.Join(to, "."+name), filepath.Join(to, name))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

type world struct {
	*testing.T
	*caller.Caller
}

func (w *world) must(want string, args ...string) {
	w.Helper()
	r := w.RC(args...)
	// Said where no systemd runs (what a restart policy becomes after a reboot), and
	// where there is no cgroup (how a pause is done).
	said := r.Err != "" && !strings.Contains(r.Err, "--restart") && !strings.Contains(r.Err, "no cgroup to freeze")
	if r.Code != 0 || said || want != "" && !strings.Contains(r.Out, want) {
		w.Errorf("rc %v: exit code %d, %q %q; want %q", args, r.Code, r.Out, r.Err, want)
	}
}

func (w *world) status(name string) string {
	list, err := w.Ps()
	if err != nil {
		w.Fatal(err)
	}
	for _, l := range list {
		if l.Names == name {
			return l.Status
		}
	}
	return ""
}

func (w *world) until(what string, ok func() bool) {
	w.Helper()
	for end := time.Now().Add(15 * time.Second); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			w.Fatalf("not within 15 s: %s (%v)", what, w.Ours())
		}
	}
}

func setUp(t *testing.T) *world {
	t.Helper()
	user := caller.For(t)
	ours := user.Bin
	user.Bin = filepath.Join(user.Dir, "bin")
	if err := os.Mkdir(user.Bin, 0o755); err != nil {
		t.Fatal(err)
	}
	build(t, user.Bin, "older")
	install(t, ours, user.Bin, "rc-image")
	base, err := user.Base()
	if err != nil {
		t.Fatal(err)
	}
	for name, config := range map[string]images.Config{image: caller.Config(), probed: caller.Probed()} {
		if err := user.Load(name, images.Image{Config: config, Layers: []images.Layer{base}}.Build()); err != nil {
			t.Fatal(err)
		}
	}
	return &world{t, user}
}

func TestUpgrade(t *testing.T) {
	w := setUp(t)
	network := "none"
	if _, err := exec.LookPath("slirp4netns"); err == nil {
		network = "slirp4netns"
	}
	run := func(name string, flags ...string) {
		args := append([]string{"run", "-d", "--name", name, "--network", network}, flags...)
		w.must("", append(args, image, "sleep", "1000")...)
	}
	for _, name := range []string{"listed", "stopped", "entered", "killed", "removed", "paused"} {
		run(name)
	}
	run("again", "--restart", "always")
	w.must("", "run", "-d", "--name", "well", "--network", "none", "--health-interval", "1s", probed, "sleep", "1000")
	w.must("", "run", "-d", "--name", "ended", "--network", "none", image, "echo", "last words")
	w.must("", "create", "--name", "made", "--network", "none", image, "echo", "hello")
	time.Sleep(8 * time.Second) // the shims settle
	run("fresh", "--restart", "always")

	install(t, os.Getenv("RC_BIN"), w.Bin, "rc", "rc-init", "rc-net", "rc-image")
	old := w.RC("version")
	if strings.Contains(old.Out, "older") {
		t.Fatal("the programs were not replaced")
	}
	w.compare(run)
	list, _ := w.Ps()
	for _, l := range list {
		w.must("", "rm", "-f", "-v", l.ID)
	}
	if left := w.Residue(8*time.Second, true); len(left) > 0 {
		t.Errorf("left behind:\n  %s", strings.Join(left, "\n  "))
	}
}

// compare is what a user does after the upgrade.
func (w *world) compare(run func(string, ...string)) {
	for _, name := range []string{"listed", "well", "again", "fresh"} {
		if s := w.status(name); !strings.HasPrefix(s, "Up") {
			w.Errorf("%s is shown as %q", name, s)
		}
	}
	w.must("", "inspect", "listed")
	for _, name := range []string{"entered", "fresh"} {
		w.must("inside\n", "exec", name, "/attack", "echo", "inside")
	}
	w.must("last words\n", "logs", "ended")
	w.must("", "top", "entered")
	w.must("", "rename", "listed", "renamed")
	w.must("", "pause", "paused")
	w.must("", "unpause", "paused")
	w.must("", "stop", "-t", "0", "stopped")
	w.must("", "start", "stopped")
	w.must("hello\n", "start", "-a", "made")
	w.must("", "restart", "-t", "0", "entered")
	w.must("inside\n", "exec", "entered", "/attack", "echo", "inside")
	w.must("", "kill", "killed")
	w.must("137\n", "wait", "killed")
	w.must("", "rm", "-f", "removed")
	run("newcomer")

	// The older shim restarts its container by policy, with its own helpers.
	for _, name := range []string{"again", "fresh"} {
		pid := w.PID(name)
		_ = unix.Kill(pid, unix.SIGKILL)
		w.until(name+" is up again", func() bool {
			now := w.PID(name)
			return now > 0 && now != pid && strings.HasPrefix(w.status(name), "Up")
		})
		w.must("inside\n", "exec", name, "/attack", "echo", "inside")
	}
	w.must("", "update", "--restart", "no", "again")
	_ = unix.Kill(w.PID("again"), unix.SIGKILL)
	w.until("update reaches the older shim", func() bool { return strings.HasPrefix(w.status("again"), "Exited") })
	w.until("its health check goes on", func() bool { return strings.Contains(w.status("well"), "(healthy)") })
	w.attach()
}

// attach: a newer rc attached to an older shim gets the exit code.
func (w *world) attach() {
	ctx, cancel := context.WithTimeout(context.Background(), caller.Limit)
	defer cancel()
	done := make(chan caller.Result, 1)
	go func() { done <- caller.Finish(ctx, w.Command(ctx, "attach", "--no-stdin", "fresh")) }()
	time.Sleep(500 * time.Millisecond)
	w.must("", "stop", "-t", "0", "fresh")
	if r := <-done; r.Code != 137 && r.Code != 2 { // 2: Go ends so by SIGTERM, if that is quicker than SIGKILL
		w.Errorf("attach ended with %+v", r)
	}
}
