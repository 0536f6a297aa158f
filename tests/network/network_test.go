// Package network treats a user's networks badly: the keeper is killed under load,
// containers spoof, scan and exhaust, the host goes offline, questions come by the
// thousand and malformed. What containers say to each other goes on, names, ports and
// the way out come back, and nothing is left behind.
//
//	RC_BIN=$PWD/bin go test ./tests/network -run TestKeeperKilledUnderLoad -v
//
// RC_TEST_LONG=1 kills 50 times and fuzzes for five minutes (make test-network-long).
package network

import (
	"context"
	"encoding/json"
	"fmt"
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

const image = "localhost/network/peer:latest"

var user *caller.Caller

func TestMain(m *testing.M) {
	caller.Main(m, func(c *caller.Caller) (func(), error) {
		user = c
		// Of tests that could not: the folders are removed below them.
		return func() { _ = user.RC("rm", "-fa") }, load(user)
	})
}

// load builds the peer, static, and puts it into an image of its own. RC_TEST_PEER is
// one that was built elsewhere: the guest has no compiler.
func load(c *caller.Caller) error {
	path := os.Getenv("RC_TEST_PEER")
	if path == "" {
		path = filepath.Join(c.Dir, "peer")
		cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", path, "github.com/rc-containers/rc/tests/network/peer")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build the peer: %w: %s", err, out)
		}
	}
	body, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	layer := images.MakeLayer(images.Plain,
		images.Dir("dev", 0o755), images.Dir("etc", 0o755), images.Dir("proc", 0o555), images.Dir("sys", 0o555), images.Dir("root", 0o700),
		images.File("etc/passwd", 0o644, "root:x:0:0:root:/root:/peer\n"), images.File("etc/group", 0o644, "root:x:0:\n"),
		images.File("peer", 0o755, string(body)))
	config := images.Config{Entrypoint: []string{"/peer"}, Cmd: []string{"stand"}}
	return c.Load(image, images.Image{Config: config, Layers: []images.Layer{layer}}.Build())
}

func require(t *testing.T, programs ...string) {
	t.Helper()
	if why := caller.Unmet(); why != "" {
		t.Skip(why)
	}
	for _, p := range append(programs, "slirp4netns") {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("needs %s: %v", p, err)
		}
	}
}

// long says whether to take one's time.
func long() bool { return os.Getenv("RC_TEST_LONG") != "" }

// choose is short, or what RC_TEST_LONG asks for.
func choose[T any](short, thorough T) T {
	if long() {
		return thorough
	}
	return short
}

// must runs one command of rc's, which succeeds.
func must(t *testing.T, args ...string) string {
	t.Helper()
	r := user.RC(args...)
	if r.Code != 0 {
		t.Fatalf("rc %s: exit code %d: %s", strings.Join(args, " "), r.Code, r.Err)
	}
	return strings.TrimSpace(r.Out)
}

// network makes one, and removes it after the test.
func network(t *testing.T, name string, flags ...string) {
	t.Helper()
	must(t, append(append([]string{"network", "create"}, flags...), name)...)
	t.Cleanup(func() {
		if r := user.RC("network", "rm", "-f", name); r.Code != 0 {
			t.Errorf("rc network rm %s: %s", name, r.Err)
		}
	})
}

// peer starts a container that stands, and removes it after the test.
func peer(t *testing.T, name string, flags ...string) {
	t.Helper()
	must(t, append(append([]string{"run", "-d", "--name", name}, flags...), image)...)
	t.Cleanup(func() { remove(t, name) })
}

func remove(t *testing.T, name string) {
	t.Helper()
	if r := user.RC("rm", "-f", name); r.Code != 0 {
		t.Errorf("rc rm %s: %s", name, r.Err)
	}
}

// act lets the peer of a container do something.
func act(name string, args ...string) (string, error) {
	r := user.RC(append([]string{"exec", name, "/peer"}, args...)...)
	if r.Code != 0 {
		return strings.TrimSpace(r.Out), fmt.Errorf("exit code %d: %s", r.Code, strings.TrimSpace(r.Err))
	}
	return strings.TrimSpace(r.Out), nil
}

func mustAct(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := act(name, args...)
	if err != nil {
		t.Fatalf("%s: peer %s: %v", name, strings.Join(args, " "), err)
	}
	return out
}

// answer is peer's Answer.
type answer struct {
	Code string
	Data []string
}

// ask asks DNS from inside.
func ask(t *testing.T, from string, args ...string) answer {
	t.Helper()
	var a answer
	out := mustAct(t, from, append([]string{"ask"}, args...)...)
	if err := json.Unmarshal([]byte(out), &a); err != nil {
		t.Fatalf("%q: %v", out, err)
	}
	return a
}

// endpoint is the part of `rc inspect` about one network.
type endpoint struct {
	IPAddress, GlobalIPv6Address, Gateway, MacAddress string
}

func inspect(t *testing.T, name string) map[string]endpoint {
	t.Helper()
	var view []struct {
		NetworkSettings struct{ Networks map[string]endpoint }
	}
	out := must(t, "inspect", "--type", "container", name)
	if err := json.Unmarshal([]byte(out), &view); err != nil || len(view) != 1 {
		t.Fatalf("rc inspect %s: %v", name, err)
	}
	return view[0].NetworkSettings.Networks
}

// ip is a container's address on a network, which it has.
func ip(t *testing.T, name, network string) string {
	t.Helper()
	e, ok := inspect(t, name)[network]
	if !ok || e.IPAddress == "" {
		t.Fatalf("%s has no address on %s: %+v", name, network, inspect(t, name))
	}
	return e.IPAddress
}

// published is the first host address of a container's ports.
func published(t *testing.T, name, port string) string {
	t.Helper()
	first, _, _ := strings.Cut(must(t, "port", name, port), "\n")
	return first
}

func eventually(t *testing.T, within time.Duration, what string, ok func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	for !ok() {
		if time.Since(began) > within {
			t.Fatalf("not within %v: %s", within, what)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return time.Since(began)
}

// of finds the caller's processes by the name of their program.
func of(name string) []int {
	var out []int
	for _, p := range user.Ours() {
		if p.Name == name {
			out = append(out, p.PID)
		}
	}
	return out
}

// keeper is its pid; there is exactly one.
func keeper(t *testing.T) int {
	t.Helper()
	var pids []int
	for end := time.Now().Add(5 * time.Second); len(pids) != 1; time.Sleep(10 * time.Millisecond) {
		if pids = of("rc-net"); time.Now().After(end) {
			t.Fatalf("not one keeper: %+v", user.Ours())
		}
	}
	return pids[0]
}

// killKeeper returns when it is gone.
func killKeeper(t *testing.T) {
	t.Helper()
	pid := keeper(t)
	_ = unix.Kill(pid, unix.SIGKILL)
	eventually(t, 5*time.Second, "the keeper is gone", func() bool { _, there := caller.Look(pid); return !there })
}

// clean: without containers nothing is there but the keeper, perhaps.
func clean(t *testing.T) {
	t.Helper()
	if left := user.Residue(10*time.Second, true); len(left) > 0 {
		t.Errorf("left behind:\n  %s", strings.Join(left, "\n  "))
	}
}

// background is an rc that runs beside the test.
type background struct {
	cmd    *exec.Cmd
	cancel context.CancelFunc
	out    strings.Builder
	err    strings.Builder
}

func begin(args ...string) *background {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	b := &background{cmd: user.Command(ctx, args...), cancel: cancel}
	b.cmd.Stdout, b.cmd.Stderr = &b.out, &b.err
	if err := b.cmd.Start(); err != nil {
		b.err.WriteString(err.Error())
	}
	return b
}

func (b *background) wait() error {
	defer b.cancel()
	if err := b.cmd.Wait(); err != nil {
		return fmt.Errorf("%w: %s", err, b.err.String())
	}
	return nil
}
