// Package hostile does what a hostile image or a broken-in payload would do, from
// inside a container that has every flag which helps it, and sees it refused: the
// acts that DESIGN.md marks as tried, and the field's CVEs.
//
//	RC_BIN=$PWD/bin go test ./tests/hostile -run TestKeyring
//
// Each act is real: where that can be shown, it is first done where it must work.
package hostile

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rc-containers/rc/tests/hostile/caller"
	"github.com/rc-containers/rc/tests/images"
)

const (
	image  = "localhost/host/base:latest"
	secret = "hunter2-of-the-caller"
)

var (
	host *caller.Caller
	base images.Layer
)

func TestMain(m *testing.M) { caller.Main(m, prepare) }

func prepare(c *caller.Caller) (after func(), err error) {
	host = c
	host.Extra = []string{"SECRET=" + secret}
	if base, err = host.Base(); err != nil {
		return nil, err
	}
	return nil, host.Load(image, images.Image{Config: caller.Config(), Layers: []images.Layer{base}}.Build())
}

func require(t *testing.T, programs ...string) {
	t.Helper()
	if why := caller.Unmet(); why != "" {
		t.Skip(why)
	}
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("needs %s: %v", p, err)
		}
	}
}

// mighty are the flags that help an attacker most, short of --privileged.
var mighty = []string{"--cap-add", "ALL", "--security-opt", "seccomp=unconfined"}

// flags makes one list of several.
func flags(lists ...[]string) []string { return slices.Concat(lists...) }

// inside runs an act in a container of the base image. It must have tried at
// least one thing, and got nothing.
func inside(t *testing.T, runFlags []string, act ...string) string {
	t.Helper()
	r := host.RC(flags([]string{"run", "--rm"}, runFlags, []string{image}, act)...)
	verdict(t, r, strings.Join(runFlags, " "))
	return r.Out
}

func verdict(t *testing.T, r caller.Result, what string) {
	t.Helper()
	for line := range strings.Lines(r.Out) {
		if strings.HasPrefix(line, "BREACH") {
			t.Errorf("%s: %s", what, line)
		}
	}
	if r.Code != 0 && r.Code != 3 {
		t.Errorf("%s: exit code %d: %s%s", what, r.Code, r.Err, tail(r.Out))
	}
	if r.Code == 0 && !strings.Contains(r.Out, "held ") {
		t.Errorf("%s: nothing was tried: %q %q", what, r.Out, r.Err)
	}
}

func tail(s string) string { return s[max(0, len(s)-2000):] }

// works shows on the host that an act is one: there it must succeed.
func works(t *testing.T, act ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), caller.Limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, host.Attack(), act...)
	cmd.Env = append(os.Environ(), host.Extra...)
	if r := caller.Finish(ctx, cmd); r.Code != 3 {
		t.Errorf("control: %v does not even work on the host: exit code %d\n%s%s", act, r.Code, tail(r.Out), r.Err)
	}
}

// detached starts a container that lives until the test ends.
func detached(t *testing.T, name string, runFlags []string, act ...string) {
	t.Helper()
	r := host.RC(flags([]string{"run", "-d", "--name", name}, runFlags, []string{image}, act)...)
	if r.Code != 0 {
		t.Fatalf("rc run -d --name %s: %d %s", name, r.Code, r.Err)
	}
	t.Cleanup(func() {
		if r := host.RC("rm", "-f", name); r.Code != 0 {
			t.Errorf("rc rm -f %s: %d %s", name, r.Code, r.Err)
		}
	})
}

// build loads an image made of the base and something nasty.
func build(t *testing.T, ref string, change func(*images.Config), entries ...images.Entry) string {
	t.Helper()
	i := images.Image{Config: caller.Config(), Layers: []images.Layer{base}}
	if len(entries) > 0 {
		i.Layers = append(i.Layers, images.MakeLayer(images.Plain, entries...))
	}
	if change != nil {
		change(&i.Config)
	}
	ref = "localhost/evil/" + ref + ":latest"
	if err := host.Load(ref, i.Build()); err != nil {
		t.Fatal(err)
	}
	return ref
}

// read is a file of the host's; "" when it is not there.
func read(name string) string {
	data, _ := os.ReadFile(name)
	return string(data)
}

// folder makes one for a test below the caller's.
func folder(t *testing.T, name string) string {
	t.Helper()
	dir := filepath.Join(host.Dir, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// eventually polls a condition.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}
