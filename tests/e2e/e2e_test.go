// Package e2e runs rc as a user types it. Each file of testdata is one script
// (testscript's language, github.com/rogpeppe/go-internal/testscript, and the
// commands of commands_test.go) with a home, a store and a runtime folder of its own.
//
//	RC_BIN=$PWD/bin go test ./tests/e2e -run TestPlain/exit-codes
//
// `make test` runs all of it; a plain `go test ./...` skips it and says so.
package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// Three passes, because they need three kinds of caller.
//
// TestPlain: an ordinary user without a cgroup of its own.
func TestPlain(t *testing.T) { runScripts(t, "plain") }

// TestCgroup: inside a delegated cgroup v2 subtree (tests/rig/cgroup2-exec).
func TestCgroup(t *testing.T) {
	if os.Getenv("RC_BIN") != "" && hostHas("cgroup2") != "" {
		t.Skip(hostHas("cgroup2"))
	}
	runScripts(t, "cgroup")
}

// TestRoot: rc as root, and what only root can set up for a user.
func TestRoot(t *testing.T) {
	if os.Getenv("RC_BIN") != "" && os.Getuid() != 0 {
		t.Skip("needs root: sudo make test")
	}
	runScripts(t, "root")
}

// world is what all scripts of a run share.
var world *World

func TestMain(m *testing.M) {
	os.Exit(testMain(m))
}

func testMain(m *testing.M) int {
	if os.Getenv("RC_BIN") == "" {
		return m.Run() // everything skips
	}
	w, err := newWorld()
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	world = w
	code := m.Run()
	if err := w.close(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, "e2e: after all scripts:", err)
		return 1
	}
	return code
}

func runScripts(t *testing.T, set string) {
	if world == nil {
		t.Skip("end-to-end tests: RC_BIN is not set to the folder of rc's programs; `make test` sets it")
	}
	testscript.RunT(serial{t}, testscript.Params{
		Dir:                filepath.Join("testdata", set),
		WorkdirRoot:        world.dir,
		RequireUniqueNames: true,
		Cmds:               commands,
		Setup:              setup,
		Condition:          condition,
	})
}

// serial runs scripts one after the other: what is left behind is seen by
// comparing the user's processes before and after.
type serial struct{ *testing.T }

func (serial) Parallel()     {}
func (serial) Verbose() bool { return testing.Verbose() }
func (s serial) Run(name string, f func(testscript.T)) {
	s.T.Run(name, func(t *testing.T) {
		start := time.Now()
		f(serial{t})
		t.Logf("took %.1f s", time.Since(start).Seconds())
	})
}

// condition knows [rc-overlay] and [rc-fuse]: the driver can be tried here.
func condition(name string) (bool, error) {
	switch name {
	case "rc-overlay":
		return hostHas("overlay") == "", nil
	case "rc-fuse":
		return hostHas("fuse") == "", nil
	}
	return false, fmt.Errorf("unknown condition %q", name)
}

// scriptState is what commands of one script remember.
type scriptState struct {
	t      testscript.T
	before residue
	saved  []string // of `snapshot`
	stderr string   // of the last command

	background map[string]*background
}

type stateKey struct{}

var scripts int

func setup(env *testscript.Env) error {
	scripts++
	s := &scriptState{t: env.T(), background: map[string]*background{}}
	env.Values[stateKey{}] = s
	home := filepath.Join(env.WorkDir, "home")
	// Sockets have 107 bytes for their path (unix(7)), so this one is short.
	run := filepath.Join(world.dir, strconv.Itoa(scripts))
	for _, dir := range []string{home, run} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
	}
	config := filepath.Join(home, ".config", "containers")
	if err := os.MkdirAll(config, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(config, "registries.conf"), []byte(world.registriesConf()), 0o600); err != nil {
		return err
	}
	env.Setenv("HOME", home)
	env.Setenv("XDG_RUNTIME_DIR", run)
	env.Setenv("PATH", world.bin+":"+os.Getenv("PATH"))
	env.Setenv("BIN", world.bin)
	env.Setenv("TERM", "xterm")
	env.Setenv("LANG", "C.UTF-8")
	env.Setenv("REGISTRY", world.registry.Addr)
	env.Setenv("AUTHREGISTRY", world.guarded.Addr)
	env.Setenv("BAD", world.badAddr)
	env.Setenv("BADDIGEST", world.all["test/big"].Digest())
	env.Setenv("PROBE", world.probe)
	env.Setenv("ROOT", filepath.Join(home, ".local/share/rc"))
	env.Setenv("UID", strconv.Itoa(os.Getuid()))
	env.Setenv("GID", strconv.Itoa(os.Getgid()))
	env.Setenv("SMALL", os.Getenv("RC_FS_SMALL"))
	env.Setenv("NOXATTR", os.Getenv("RC_FS_NOXATTR"))
	// A whole run can be made with another root file system driver, or with
	// every fallback for older kernels forced.
	for _, name := range []string{"RC_STORAGE_DRIVER", "RC_TEST_WITHOUT"} {
		if v := os.Getenv(name); v != "" {
			env.Setenv(name, v)
		}
	}
	env.Defer(func() {
		removeContainers(env)
		removeTree(filepath.Join(home, ".local"))
	})
	s.before = takeResidue(env.Getenv("ROOT"), run)
	return nil
}

// removeContainers ends what a failed script left running, so that the next
// script does not find it.
func removeContainers(env *testscript.Env) {
	cmd := exec.Command("sh", "-c", `ids=$(rc ps -aq) && [ -z "$ids" ] || rc rm -f $ids`)
	for _, name := range []string{"HOME", "PATH", "XDG_RUNTIME_DIR"} {
		cmd.Env = append(cmd.Env, name+"="+env.Getenv(name))
	}
	_ = cmd.Run() // a store that is not there has nothing to end
}
