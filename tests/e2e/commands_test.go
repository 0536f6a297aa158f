package e2e

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// commands that scripts have besides testscript's own (exec, stdout, stderr,
// cmp, exists, ...).
var commands = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	"needs":    cmdNeeds,
	"rc":       cmdRC,
	"exits":    cmdExits,
	"retry":    cmdRetry,
	"pty":      cmdPty,
	"one-line": cmdOneLine,

	"as-user":         program0("as-user"),
	"as-user-without": program0("as-user-without"),
	"one-line-or-ok":  cmdOneLineOrOK,
	"nothing-left":    cmdNothingLeft,
	"snapshot":        cmdSnapshot,
	"unchanged":       cmdUnchanged,
	"random-file":     cmdRandomFile,
	"start":           cmdStart,
	"signal":          cmdSignal,
	"end":             cmdEnd,
	"serve":           cmdServe,
	"asked":           cmdAsked,
	"archive":         cmdArchive,
}

// limit is how long one command may take: a hang is a failure of that command,
// not of the whole run.
const limit = 60 * time.Second

func state(ts *testscript.TestScript) *scriptState { return ts.Value(stateKey{}).(*scriptState) }

// needs NAME... skips the script where the host lacks one, with the reason.
func cmdNeeds(ts *testscript.TestScript, neg bool, args []string) {
	for _, need := range args {
		if needs[need] == nil {
			ts.Fatalf("unknown need %q", need)
		}
		if why := hostHas(need); why != "" {
			state(ts).t.Skip("needs " + need + ": " + why)
		}
	}
}

// rc ARGS... must succeed; "! rc" must fail. <FILE, >FILE and 2>FILE redirect.
func cmdRC(ts *testscript.TestScript, neg bool, args []string) {
	code := runCommand(ts, append([]string{"rc"}, args...))
	if neg == (code == 0) {
		ts.Fatalf("exit code %d", code)
	}
}

// exits CODE COMMAND ARGS... wants that very code; 128+N for a signal N.
func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	if code := runCommand(ts, args[1:]); (code == want) == neg {
		ts.Fatalf("exit code %d, want %d", code, want)
	}
}

// runCommand runs it with the script's environment and leaves its output where
// `stdout` and `stderr` look.
func runCommand(ts *testscript.TestScript, args []string) int {
	var stdin io.Reader
	stdout, stderr := ts.Stdout(), ts.Stderr()
	var errout bytes.Buffer
	var toOut, toErr io.Writer = stdout, io.MultiWriter(&errout, stderr)
	var argv []string
	for _, a := range args {
		var err error
		switch {
		case strings.HasPrefix(a, "2>"):
			toErr, err = os.Create(ts.MkAbs(a[2:]))
		case strings.HasPrefix(a, ">"):
			toOut, err = os.Create(ts.MkAbs(a[1:]))
		case strings.HasPrefix(a, "<"):
			stdin, err = os.Open(ts.MkAbs(a[1:]))
		default:
			argv = append(argv, a)
		}
		ts.Check(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := command(ctx, ts, argv)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, toOut, toErr
	err := cmd.Run()
	for _, w := range []any{stdin, toOut, toErr} {
		if f, ok := w.(*os.File); ok {
			_ = f.Close()
		}
	}
	state(ts).stderr = errout.String()
	if ctx.Err() != nil {
		ts.Fatalf("still running after %v", limit)
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		ts.Fatalf("%v", err)
	}
	return exitCode(cmd.ProcessState)
}

// command prepares argv in the script's folder and environment.
func command(ctx context.Context, ts *testscript.TestScript, argv []string) *exec.Cmd {
	switch argv[0] {
	case "rc":
		argv = append([]string{filepath.Join(world.bin, "rc")}, argv[1:]...)
	case "as-user":
		argv = asUser(ts, argv[1:])
	case "as-user-without":
		argv = without(ts, argv[1], asUser(ts, argv[2:]))
	}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = environment(ts)
	cmd.WaitDelay = 2 * time.Second // a process left with our pipe must not hang the run
	return cmd
}

// environment is the script's. testscript keeps its list to itself, so these are
// the names that scripts set; an empty one is not in the environment at all.
func environment(ts *testscript.TestScript) []string {
	var env []string
	for _, name := range []string{"HOME", "XDG_RUNTIME_DIR", "PATH", "TERM", "LANG", "TMPDIR", "RC_ROOT", "XDG_DATA_HOME",
		"CONTAINERS_REGISTRIES_CONF", "REGISTRY_AUTH_FILE", "DOCKER_CONFIG", "RC_STORAGE_DRIVER", "RC_TEST_WITHOUT", "FOO", "SECRET",
		"TMUX_TMPDIR", "SMALL", "NOXATTR"} {
		if v := ts.Getenv(name); v != "" {
			env = append(env, name+"="+v)
		}
	}
	return env
}

func exitCode(s *os.ProcessState) int {
	if w := s.Sys().(syscall.WaitStatus); w.Signaled() {
		return 128 + int(w.Signal())
	}
	return s.ExitCode()
}

// retry SECONDS COMMAND ARGS... repeats it until it succeeds.
func cmdRetry(ts *testscript.TestScript, neg bool, args []string) {
	seconds, err := strconv.Atoi(args[0])
	ts.Check(err)
	deadline := time.Now().Add(time.Duration(seconds) * time.Second)
	for {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		cmd := command(ctx, ts, args[1:])
		out, err := cmd.CombinedOutput()
		cancel()
		if (err == nil) != neg {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("not within %d s: %v\n%s", seconds, err, out)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// one-line FILE|stderr [REGEXP]: a refusal is exactly one line, beginning "rc: ".
func cmdOneLine(ts *testscript.TestScript, neg bool, args []string) {
	refusal(ts, ts.ReadFile("stderr"))
}

// progress are the lines of a pull that the refusal may follow.
var progress = regexp.MustCompile(`^(Using default tag: |\S+: Pulling from |Copying |Resuming |Writing |Digest: |Status: |docker\.io/|127\.0\.0\.1:)`)

func refusal(ts *testscript.TestScript, text string) {
	var lines []string
	for _, line := range strings.SplitAfter(text, "\n") {
		if line != "" && !progress.MatchString(line) {
			lines = append(lines, line)
		}
	}
	if len(lines) != 1 || !strings.HasSuffix(lines[0], "\n") || !strings.HasPrefix(lines[0], "rc: ") || !strings.HasSuffix(text, lines[0]) {
		ts.Fatalf("want one line that begins with \"rc: \", got %q", lines)
	}
	if strings.Contains(text, "%!") || strings.Contains(text, "<nil>") || strings.Contains(text, "goroutine ") {
		ts.Fatalf("not meant for people: %q", text)
	}
}

// one-line-or-ok COMMAND ARGS...: it may work or be refused, but a refusal is rc's
// own (125, or 1 from an image command) and one line. For what both Docker and
// podman settle differently; what must not happen is asserted after it.
func cmdOneLineOrOK(ts *testscript.TestScript, neg bool, args []string) {
	switch code := runCommand(ts, args); code {
	case 0:
	case 1, 125, 126, 127:
		refusal(ts, state(ts).stderr)
	default:
		ts.Fatalf("exit code %d", code)
	}
}

// nothing-left: no container record, process, mount or cgroup that was not there
// when the script began. Teardown may take a moment.
func cmdNothingLeft(ts *testscript.TestScript, neg bool, args []string) {
	var left []string
	for range 60 {
		left = takeResidue(ts.Getenv("ROOT"), ts.Getenv("XDG_RUNTIME_DIR")).since(state(ts).before, exceptKeepers)
		if len(left) == 0 {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	ts.Fatalf("left behind:\n  %s", strings.Join(left, "\n  "))
}

// snapshot remembers what the store holds; unchanged compares.
func cmdSnapshot(ts *testscript.TestScript, neg bool, args []string) {
	state(ts).saved = settledStore(ts.Getenv("ROOT"))
}

// settledStore is what the store holds once shims whose rc has returned have deleted
// their containers' files.
func settledStore(root string) []string {
	for range 60 {
		if left, _ := os.ReadDir(filepath.Join(root, "trash")); len(left) == 0 {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	return storeListing(root)
}

func cmdUnchanged(ts *testscript.TestScript, neg bool, args []string) {
	now := settledStore(ts.Getenv("ROOT"))
	var diff []string
	for _, f := range now {
		if !slices.Contains(state(ts).saved, f) {
			diff = append(diff, "+"+f)
		}
	}
	for _, f := range state(ts).saved {
		if !slices.Contains(now, f) {
			diff = append(diff, "-"+f)
		}
	}
	if len(diff) > 0 && !neg || len(diff) == 0 && neg {
		ts.Fatalf("the store changed: %q", diff)
	}
}

// random-file NAME BYTES
func cmdRandomFile(ts *testscript.TestScript, neg bool, args []string) {
	n, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	random, err := os.Open("/dev/urandom")
	ts.Check(err)
	defer func() { _ = random.Close() }()
	f, err := os.Create(ts.MkAbs(args[0]))
	ts.Check(err)
	_, err = io.CopyN(f, random, n)
	ts.Check(err)
	ts.Check(f.Close())
}
