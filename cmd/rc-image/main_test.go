package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/rc-containers/rc/internal/hint"
)

// The test program is rc-image itself when RC_TEST_MAIN is set.
func TestMain(m *testing.M) {
	if os.Getenv("RC_TEST_MAIN") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

type result struct {
	out, err string
	code     int
}

// rc runs rc-image with only the environment given.
func rc(t *testing.T, env []string, args ...string) result {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, args...)
	cmd.Env = append([]string{"RC_TEST_MAIN=1", "PATH=" + os.Getenv("PATH")}, env...)
	cmd.Dir = t.TempDir()
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return result{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

func TestHelpOfEveryVerb(t *testing.T) {
	if r := rc(t, nil, "--help"); r.code != 0 || !strings.Contains(r.out, "pull") {
		t.Errorf("%+v", r)
	}
	for _, v := range verbs {
		r := rc(t, nil, v.name, "--help")
		if r.code != 0 || r.err != "" {
			t.Errorf("%s --help: %+v", v.name, r)
		}
		for _, want := range []string{v.short + ".\n\nUsage: rc " + v.name, "\n\nExamples:\n  rc", "\n\nFlags:\n      --help"} {
			if !strings.Contains(r.out, want) {
				t.Errorf("%s --help lacks %q", v.name, want)
			}
		}
	}
}

// A wrong call is one line and Docker's 125.
func TestWrongCalls(t *testing.T) {
	for call, want := range map[string]string{
		"nosuch": "unknown command", "pull": "one image is wanted", "pull a b": "one image is wanted", "pull --nosuch a": "unknown flag: --nosuch",
		"pull -a alpine": "--all-tags is not supported", "push --all-tags x": "--all-tags is not supported", "save": "at least one image",
		"load x": "no argument", "import": "a file", "rmi": "at least one image", "login a b": "one server", "logout a b": "one server",
		"login -u me": "--password-stdin", "login --password-stdin": "needs --username", "login -u a -p b --password-stdin": "exclude each other",
		"seccomp": "--out FILE", "seccomp --out x --arch pdp11": "pdp11",
	} {
		r := rc(t, []string{"HOME=" + t.TempDir()}, strings.Fields(call)...)
		if r.code != hint.ExitRefused || r.out != "" || !strings.HasPrefix(r.err, "rc: ") || strings.Count(r.err, "\n") != 1 || !strings.Contains(r.err, want) {
			t.Errorf("%q: %+v, want 125 and %q", call, r, want)
		}
	}
}

func TestSeccompVerb(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "prog")
	if r := rc(t, nil, "seccomp", "--out", out, "--caps", "CAP_CHOWN,CAP_KILL"); r.code != 0 || r.out+r.err != "" {
		t.Errorf("%+v", r)
	}
	if info, err := os.Stat(out); err != nil || info.Size()%8 != 0 || info.Size() < 1000 {
		t.Errorf("the program: %v %v", info, err)
	}
	bad := filepath.Join(dir, "bad.json")
	if err := os.WriteFile(bad, []byte(`{"defaultAction":"NO"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"--profile", bad}, {"--profile", filepath.Join(dir, "none")}} {
		r := rc(t, nil, append([]string{"seccomp", "--out", filepath.Join(dir, "no")}, args...)...)
		if r.code != 125 || strings.Count(r.err, "\n") != 1 {
			t.Errorf("%v: %+v", args, r)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*no*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// Neither HOME nor XDG_RUNTIME_DIR, or one that a logout took away: the verbs
// work, with the home folder of the passwd database.
func TestWithoutHome(t *testing.T) {
	args := []string{"--map-users=auto", "--map-groups=auto", "--map-root-user", "--mount"}
	if out, err := exec.Command("unshare", append(args, "true")...).CombinedOutput(); err != nil {
		t.Skipf("needs unshare with subordinate ids: %v: %s", err, out)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	for _, env := range [][]string{nil, {"XDG_RUNTIME_DIR=/nonexistent/of/a/login"}} {
		cmd := exec.Command("unshare", append(args, exe, "pull", "--root", root, "127.0.0.1:1/x")...)
		cmd.Env = append([]string{"RC_TEST_MAIN=1", "PATH=" + os.Getenv("PATH")}, env...)
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), "connection refused") || strings.Count(string(out), "\n") != 1 {
			t.Errorf("%v: %v: %s", env, err, out)
		}
	}
}

func TestOutsideOfTheNamespace(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root is root outside too")
	}
	r := rc(t, []string{"HOME=" + t.TempDir()}, "pull", "alpine")
	if r.code != 125 || !strings.Contains(r.err, "use rc pull") {
		t.Errorf("%+v", r)
	}
}

func TestExitCodes(t *testing.T) {
	for want, err := range map[int]error{0: nil, 125: errors.New("x"), 1: hint.New("a", errors.New("b"), "").WithCode(1)} {
		if got := exitCode(err, false); got != want {
			t.Errorf("%v: %d, want %d", err, got, want)
		}
	}
	if exitCode(pflag.ErrHelp, false) != 0 || exitCode(errors.New("cut"), true) != 130 {
		t.Error("help or interrupt")
	}
}
