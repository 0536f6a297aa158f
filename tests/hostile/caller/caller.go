// Package caller is one user of rc in tests: a home, a store and a runtime folder
// of their own, every command with a bound, and a look at what was left behind.
package caller

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/rc-containers/rc/tests/images"
)

// Limit is how long one command may take before it counts as hung.
const Limit = 40 * time.Second

// Caller is that user. Extra is added to the environment of its commands.
type Caller struct {
	Dir   string // everything below; also the mark of the host that no container may see
	Home  string
	Run   string // XDG_RUNTIME_DIR
	Root  string // the state root
	Bin   string
	Extra []string

	before map[int]bool
}

// Unmet says why this host cannot run the tests, "" when it can.
func Unmet() string {
	if os.Getenv("RC_BIN") == "" {
		return "RC_BIN is not set to the folder of rc's programs; `make test` sets it"
	}
	out, err := exec.Command("unshare", "--map-root-user", "--map-auto", "true").CombinedOutput()
	if err != nil {
		return "needs user namespaces and subordinate ids: unshare --map-auto: " + strings.TrimSpace(string(out))
	}
	return ""
}

// New makes the folders. The processes of now are not its.
func New() (*Caller, error) {
	// Not os.TempDir: sockets have 107 bytes for their path (unix(7)).
	dir, err := os.MkdirTemp("/tmp", "rh")
	if err != nil {
		return nil, err
	}
	c := &Caller{Dir: dir, Home: filepath.Join(dir, "home"), Run: filepath.Join(dir, "run"),
		Root: filepath.Join(dir, "home/.local/share/rc"), Bin: os.Getenv("RC_BIN"), before: PIDs()}
	return c, errors.Join(os.Mkdir(c.Home, 0o700), os.Mkdir(c.Run, 0o700))
}

// Result is how a command ended.
type Result struct {
	Out, Err string
	Code     int // 128+n for a signal; -1 when it had to be killed at the limit
}

// Command prepares rc with these arguments, in the caller's environment.
func (c *Caller) Command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(c.Bin, "rc"), args...)
	cmd.Dir = c.Dir
	cmd.Env = append([]string{"HOME=" + c.Home, "XDG_RUNTIME_DIR=" + c.Run, "LANG=C.UTF-8", "TERM=xterm",
		"PATH=" + c.Bin + ":" + os.Getenv("PATH")}, c.Extra...)
	for _, name := range []string{"RC_STORAGE_DRIVER", "RC_TEST_WITHOUT"} {
		if v, ok := os.LookupEnv(name); ok && !slices.ContainsFunc(c.Extra, func(kv string) bool { return strings.HasPrefix(kv, name+"=") }) {
			cmd.Env = append(cmd.Env, name+"="+v)
		}
	}
	cmd.WaitDelay = 2 * time.Second // a container that goes on holds no pipe of ours, but a bug might
	return cmd
}

// RC runs one command to its end.
func (c *Caller) RC(args ...string) Result {
	ctx, cancel := context.WithTimeout(context.Background(), Limit)
	defer cancel()
	return Finish(ctx, c.Command(ctx, args...))
}

// Finish runs a prepared command to its end.
func Finish(ctx context.Context, cmd *exec.Cmd) Result {
	var out, errs bytes.Buffer
	if cmd.Stdout == nil {
		cmd.Stdout = &out
	}
	if cmd.Stderr == nil {
		cmd.Stderr = &errs
	}
	err := cmd.Run()
	r := Result{Out: out.String(), Err: errs.String(), Code: ExitCode(cmd.ProcessState)}
	if ctx.Err() != nil {
		r.Code, r.Err = -1, r.Err+fmt.Sprintf("still running after %v", Limit)
	} else if err != nil && cmd.ProcessState == nil {
		r.Code, r.Err = -1, err.Error()
	}
	return r
}

// ExitCode is a shell's: 128+n for a signal.
func ExitCode(s *os.ProcessState) int {
	if s == nil {
		return -1
	}
	if w, ok := s.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		return 128 + int(w.Signal())
	}
	return s.ExitCode()
}

// Load puts an image into the store, without a registry.
func (c *Caller) Load(ref string, a *images.Artifact) error {
	file := filepath.Join(c.Dir, "image.tar")
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer os.Remove(file)
	if err := errors.Join(a.WriteOCIArchive(f, ref), f.Close()); err != nil {
		return err
	}
	if r := c.RC("load", "-q", "-i", file); r.Code != 0 {
		return fmt.Errorf("rc load: %d %s", r.Code, r.Err)
	}
	return nil
}

// Close waits for the keeper to leave, removes the folders and says what is left.
func (c *Caller) Close() error {
	left := c.Residue(10*time.Second, false)
	if err := os.RemoveAll(c.Dir); err != nil {
		_ = exec.Command("unshare", "--map-root-user", "--map-auto", "rm", "-rf", c.Dir).Run()
	}
	if len(left) > 0 {
		return fmt.Errorf("left behind:\n  %s", strings.Join(left, "\n  "))
	}
	return nil
}
