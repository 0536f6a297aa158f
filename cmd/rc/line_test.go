package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
)

// The test binary is also rc itself: what a shell sees of a command line is its
// exit code and its output.
const asRC = "RC_TEST_AS_RC"

func TestMain(m *testing.M) {
	if os.Getenv(asRC) != "" {
		main()
		os.Exit(99) // main always exits
	}
	os.Exit(m.Run())
}

type outcome struct {
	code           int
	stdout, stderr string
}

// rc runs a command line on a state folder of the test's own.
func rc(t *testing.T, args ...string) outcome {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", args...)
	env := []string{asRC + "=1", "PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "RC_ROOT=" + os.Getenv("RC_ROOT"), "XDG_RUNTIME_DIR=" + t.TempDir()}
	var out, errs bytes.Buffer
	cmd.Env, cmd.Stdout, cmd.Stderr = env, &out, &errs
	err := cmd.Run()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		t.Fatal(err)
	}
	return outcome{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

// TestBadLines: one line on stderr that names the culprit and what to do, the
// exit code, nothing on stdout.
func TestBadLines(t *testing.T) {
	t.Setenv("RC_ROOT", t.TempDir())
	for line, want := range map[string]string{
		"frobnicate":                   `rc: rc "frobnicate": no such command; see ` + "`rc --help`",
		"rnu":                          `rc: rc "rnu": no such command, did you mean run?; see ` + "`rc --help`",
		"help frobnicate":              "no such command",
		"--frob":                       "unknown flag: --frob; see `rc --help`",
		"-x":                           "unknown shorthand flag",
		"run --frob alpine":            "rc run: unknown flag: --frob; see `rc run --help`",
		"run":                          "rc run: no image is named; see `rc run --help`",
		"run --memory":                 "flag needs an argument: --memory",
		"run --cpu-shares many alpine": `invalid argument "many" for "-c, --cpu-shares" flag`,
		"run --rm=perhaps alpine":      "invalid argument",
		"run --detach-keys ctrl-1 x":   "--detach-keys ctrl-1",
		"run --network nowhere alpine": "nowhere",
		"run --pull sometimes alpine":  "sometimes",
		"--storage-driver zfs ps":      "storage driver zfs: no such driver; choose one of",
		"--root /proc/x ps":            "make the state folder /proc/x",
		"ps extra":                     `rc ps: it takes no argument, but "extra" was given; see ` + "`rc ps --help`",
		"ps --format yaml":             "--format yaml: no such format; choose table, json or a template",
		"images a b":                   `it takes no argument, but "b" was given`,
		"images --format yaml":         "choose table, json or a template",
		"rm":                           "rc rm: no container is named",
		"inspect":                      "rc inspect: nothing is named",
		"inspect --type pod x":         "--type pod: no such type; choose container, image, volume or network",
		"info x":                       "it takes no argument",
		"info --format yaml":           "choose table, json or a template",
		"version x":                    "it takes no argument",
		"tag one":                      "it takes an image and a name, 1 were given",
	} {
		o := rc(t, strings.Fields(line)...)
		if o.code != 125 || strings.Count(o.stderr, "\n") != 1 || !strings.HasPrefix(o.stderr, "rc: ") || o.stdout != "" {
			t.Errorf("rc %s: %+v", line, o)
		}
		if !strings.Contains(o.stderr, want) {
			t.Errorf("rc %s says %q, not %q", line, o.stderr, want)
		}
	}
}

// What is looked for and not there is exit code 1, for each of several.
func TestMissingThings(t *testing.T) {
	t.Setenv("RC_ROOT", t.TempDir())
	for line, complaints := range map[string]int{
		"rm nope": 1, "rm nope none": 2, "rm -f nope": 0, "inspect nope": 1, "inspect --type container nope": 1,
	} {
		o := rc(t, strings.Fields(line)...)
		want := 1
		if complaints == 0 {
			want = 0
		}
		if o.code != want || strings.Count(o.stderr, "\n") != complaints {
			t.Errorf("rc %s: %+v", line, o)
		}
	}
	if o := rc(t, "inspect", "nope"); o.stdout != "[]\n" { // as Docker: a script reads a list in any case
		t.Errorf("%+v", o)
	}
	if o := rc(t, "images", "nope"); o.code != 0 || o.stderr != "" {
		t.Errorf("%+v", o)
	}
}

// Help is for everybody: without a home, a state folder or a kernel feature.
func TestHelp(t *testing.T) {
	t.Setenv("RC_ROOT", "/proc/never")
	overview := rc(t)
	for _, line := range [][]string{{"--help"}, {"-h"}, {"help"}} {
		if o := rc(t, line...); o != overview {
			t.Errorf("%v: %+v", line, o)
		}
	}
	if overview.code != 0 || overview.stderr != "" {
		t.Errorf("%+v", overview)
	}
	for _, c := range commands() {
		if !strings.Contains(overview.stdout, "\n  "+c.name+" ") || !strings.Contains(overview.stdout, c.short+"\n") {
			t.Errorf("the overview lacks %s", c.name)
		}
		if c.image {
			continue // rc-image tells
		}
		help := rc(t, append(strings.Fields(c.name), "--help")...)
		if help.code != 0 || help.stderr != "" || !strings.HasPrefix(help.stdout, c.short+".\n\nUsage: rc "+c.name) {
			t.Errorf("%s --help: %+v", c.name, help)
		}
		if again := rc(t, append([]string{"help"}, strings.Fields(c.name)...)...); again != help {
			t.Errorf("help %s: %+v", c.name, again)
		}
	}
	for _, line := range [][]string{{"version"}, {"--version"}, {"-v"}} {
		if o := rc(t, line...); o.code != 0 || !strings.HasPrefix(o.stdout, "rc ") || strings.Count(o.stdout, "\n") != 1 {
			t.Errorf("%v: %+v", line, o)
		}
	}
}

// Every flag that is not hidden explains itself on one line, in one voice.
func TestEveryFlagIsExplained(t *testing.T) {
	check := func(where string, fs *pflag.FlagSet) {
		text := fs.FlagUsages()
		fs.VisitAll(func(f *pflag.Flag) {
			if f.Usage == "" || strings.Contains(f.Usage, "\n") || strings.HasSuffix(f.Usage, ".") {
				t.Errorf("%s --%s: %q", where, f.Name, f.Usage)
			}
			if !f.Hidden && !strings.Contains(text, "--"+f.Name) {
				t.Errorf("%s --help lacks --%s", where, f.Name)
			}
		})
	}
	fs := newFlags("rc")
	(&global{}).bind(fs)
	check("rc", fs)
	for _, c := range commands() {
		if c.flags != nil {
			fs := newFlags(c.name)
			c.flags(fs)
			check("rc "+c.name, fs)
		}
		if c.short == "" || strings.HasSuffix(c.short, ".") {
			t.Errorf("%s: %q", c.name, c.short)
		}
	}
}

func TestNearest(t *testing.T) {
	for word, want := range map[string]string{
		"rnu": "run", "rn": "run", "runn": "run", "ruN": "run", "pll": "pull", "puull": "pull", "pusj": "push", "pls": "ps",
		"sp": "ps", "imgaes": "images", "image": "images", "lod": "load", "inpect": "inspect", "infos": "info",
		// Not near anything: a wrong guess is worse than none.
		"xx": "", "zz": "", "q": "", "": "", "container": "", "puxx": "", "lgoni": "", "mr2": "",
	} {
		got := strings.TrimSuffix(strings.TrimPrefix(nearest(word), ", did you mean "), "?")
		if got != want {
			t.Errorf("%q: suggests %q, want %q", word, got, want)
		}
	}
}

// A server's or an image's text must not paint the terminal.
func TestOneLine(t *testing.T) {
	for in, want := range map[string]string{
		"a\nb": "a b", "a\r\n\tb": "a b", "\x1b[31mred": "[31mred", "bell\a": "bell", "a\x00b": "a b", "del\x7fete": "del ete",
		"c1\u009b31mred": "c1 31mred", "fine é 漢": "fine é 漢", "bad\xffutf": "bad\ufffdutf", "rtl\u202eevil": "rtl evil",
	} {
		if got := oneLine(errors.New(in)); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

// capture collects what f prints.
func capture(t *testing.T, f func()) string {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	old := os.Stdout
	os.Stdout = w
	text := make(chan string)
	go func() { b, _ := io.ReadAll(r); text <- string(b) }()
	f()
	os.Stdout = old
	w.Close()
	return <-text
}

// The caller's own limits can be met anywhere; whoever names a fix is not corrected.
func TestAdvise(t *testing.T) {
	files := hint.New("socketpair", unix.EMFILE, "")
	if got := advise(files).Error(); !strings.HasSuffix(got, "too many open files; raise the number of open files: ulimit -n") {
		t.Error(got)
	}
	if got := advise(files); !errors.Is(got, unix.EMFILE) || exitCode(got) != hint.ExitRefused {
		t.Errorf("%v lost its errno or code", got)
	}
	for _, same := range []error{hint.New("x", unix.EMFILE, "do this"), hint.New("x", unix.ENOENT, ""), errors.New("plain")} {
		if got := advise(same); got != same {
			t.Errorf("%v became %v", same, got)
		}
	}
}
