package spec

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func ptr[T any](v T) *T { return &v }

// Docker's table of entrypoint and command
// (docs.docker.com/reference/dockerfile, "Understand how CMD and ENTRYPOINT interact").
func TestCommand(t *testing.T) {
	for _, c := range []struct {
		imageEntry, imageCmd []string
		flag                 *string
		args, want           []string
	}{
		{nil, []string{"sh"}, nil, nil, []string{"sh"}},
		{nil, []string{"sh"}, nil, []string{"ls", "-l"}, []string{"ls", "-l"}},
		{[]string{"e", "1"}, []string{"c"}, nil, nil, []string{"e", "1", "c"}},
		{[]string{"e", "1"}, []string{"c"}, nil, []string{"x"}, []string{"e", "1", "x"}},
		{[]string{"e"}, []string{"c"}, ptr("f"), nil, []string{"f"}},
		{[]string{"e"}, []string{"c"}, ptr("f"), []string{"x"}, []string{"f", "x"}},
		{[]string{"e"}, []string{"c"}, ptr(""), []string{"x"}, []string{"x"}},
		{[]string{"e"}, []string{"c"}, ptr(""), nil, nil},
		{[]string{"/bin/sh", "-c", "exec top"}, nil, nil, nil, []string{"/bin/sh", "-c", "exec top"}},
		{nil, nil, nil, nil, nil},
		{nil, []string{"a\x00b"}, nil, nil, nil},
	} {
		in := input(&Options{Command: c.args, Entrypoint: c.flag})
		in.Image.Config.Entrypoint, in.Image.Config.Cmd = c.imageEntry, c.imageCmd
		p, err := Build(in)
		if c.want == nil {
			if err == nil {
				t.Errorf("%+v: %q", c, p.Spec.Process.Args)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		same(t, fmt.Sprintf("%+v", c), p.Spec.Process.Args, c.want)
	}
}

func TestWorkdir(t *testing.T) {
	if p := plan(t, Options{Workdir: "/a/../b/"}); p.Spec.Process.Cwd != "/b" {
		t.Error(p.Spec.Process.Cwd)
	}
	checkRefusal(t, Check(&Options{Workdir: "a"}), `--workdir "a": not an absolute path`)
	in := input(&Options{})
	in.Image.Config.WorkingDir = "srv"
	_, err := Build(in)
	checkRefusal(t, err, `the image's WORKDIR "srv"`)
}

func TestEnvironment(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "env")
	text := "\ufeff# comment\n\n  A=file \nLANG\nNOTSET\nB='q'\nHOME\r\nC=a=b\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	in := input(&Options{Command: []string{"sh"}, TTY: true, EnvFile: []string{file}, Env: []string{"B=flag", "EMPTY", "IMG", "X="}})
	in.Image.Config.Env = []string{"PATH=/opt", "IMG=1", "A=image", "nonsense", "=bad"}
	p := mustBuild(t, in)
	same(t, "env", p.Spec.Process.Env, []string{"PATH=/opt", "HOSTNAME=0123456789ab", "TERM=xterm", "A=file ", "LANG=C", "B=flag",
		"HOME=/home/me", "C=a=b", "EMPTY=", "X="})
	if !p.HomeSet {
		t.Error("HOME came from the file")
	}
	// -e NAME without a value in the caller takes a default away.
	p = plan(t, Options{Env: []string{"PATH"}})
	same(t, "env", p.Spec.Process.Env, []string{"HOSTNAME=0123456789ab"})
	p = plan(t, Options{Env: []string{"HOSTNAME=x", "TERM=vt100"}, TTY: true})
	same(t, "env", p.Spec.Process.Env, []string{defaultPath, "HOSTNAME=x", "TERM=vt100"})
	in = input(&Options{Command: []string{"sh"}})
	in.Image.Config.Env = []string{"A=\x00"}
	_, err := Build(in)
	checkRefusal(t, err, "a NUL byte")
}

func TestKeyValueFiles(t *testing.T) {
	dir := t.TempDir()
	for text, want := range map[string]string{
		"=x\n": "line 1 has no key", "A=1\nB C=2": `line 2: the key "B C" contains white space`, "A=\xff": "line 1 is not UTF-8",
	} {
		file := filepath.Join(dir, "f")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		checkRefusal(t, Check(&Options{EnvFile: []string{file}}), want)
		checkRefusal(t, Check(&Options{LabelFile: []string{file}}), want)
	}
	checkRefusal(t, Check(&Options{EnvFile: []string{"/nonexistent"}}), `--env-file "/nonexistent": no such file`)
	checkRefusal(t, Check(&Options{EnvFile: []string{dir}}), "is a directory")
	checkRefusal(t, Check(&Options{Env: []string{"=x"}}), `--env "=x": no name`)
	big := filepath.Join(dir, "big")
	if err := os.WriteFile(big, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(big, maxFile+1); err != nil {
		t.Fatal(err)
	}
	checkRefusal(t, Check(&Options{EnvFile: []string{big}}), "larger than 4 MiB")
}

func TestLabels(t *testing.T) {
	file := filepath.Join(t.TempDir(), "labels")
	if err := os.WriteFile(file, []byte("a=file\nb=file\nbare\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	in := input(&Options{Command: []string{"sh"}, LabelFile: []string{file}, Label: []string{"b=flag", "c"}, Annotation: []string{"k=v=w"}})
	in.Image.Config.Labels = map[string]string{"a": "image", "i": "image"}
	p := mustBuild(t, in)
	if got := fmt.Sprint(p.Labels); got != "map[a:file b:flag bare: c: i:image]" {
		t.Error(got)
	}
	if got := fmt.Sprint(p.Spec.Annotations); got != "map[k:v=w]" {
		t.Error(got)
	}
	checkRefusal(t, Check(&Options{Label: []string{"=v"}}), `--label "=v"`)
	checkRefusal(t, Check(&Options{Annotation: []string{"k"}}), `--annotation "k"`)
}

func TestHostname(t *testing.T) {
	own := hostName()
	for _, c := range []struct {
		o       Options
		want    string // in the spec
		envWant string
	}{
		{Options{}, "0123456789ab", "0123456789ab"},
		{Options{Hostname: "web.example"}, "web.example", "web.example"},
		{Options{Network: []string{"host"}}, own, own},
		{Options{Network: []string{"host"}, Hostname: "x"}, "x", "x"},
		{Options{UTS: "host"}, "", own},
	} {
		p := plan(t, c.o)
		if p.Spec.Hostname != c.want || !slices.Contains(p.Spec.Process.Env, "HOSTNAME="+c.envWant) {
			t.Errorf("%+v: %q, %q", c.o, p.Spec.Hostname, p.Spec.Process.Env)
		}
	}
	in := input(&Options{Command: []string{"sh"}, Network: []string{"container:db"}})
	in.Sandbox = &Sandbox{UIDMap: usual().UID, GIDMap: usual().GID, Hostname: "dbhost"}
	if p := mustBuild(t, in); p.Spec.Hostname != "dbhost" {
		t.Error(p.Spec.Hostname)
	}
	for want, o := range map[string]*Options{
		"leave out --hostname or --uts=host":         {Hostname: "x", UTS: "host"},
		"leave out --hostname or --uts=container:db": {Hostname: "x", UTS: "container:db"},
		"has that one's host name":                   {Hostname: "x", Network: []string{"container:db"}},
		`--hostname "a b"`:                           {Hostname: "a b"},
		`--hostname "a\nb"`:                          {Hostname: "a\nb"},
		"at most 64":                                 {Hostname: strings.Repeat("a.", 33) + "a"},
	} {
		checkRefusal(t, Check(o), want)
	}
}

func TestSignals(t *testing.T) {
	for s, want := range map[string]int{"SIGTERM": 15, "term": 15, "9": 9, "SIGRTMIN": 34, "RTMIN+3": 37, "SIGRTMAX-1": 63, "sigquit": 3,
		"SIGUSR1": 10, "SIGSYS": 31, "SIGWINCH": 28, "64": 64, "SIGCHLD": 17, "SIGPOLL": 29} {
		if n, ok := ParseSignal(s); !ok || n != want {
			t.Errorf("%s: %d %t", s, n, ok)
		}
	}
	for _, s := range []string{"", "0", "65", "-1", "SIG", "SIGFOO", "RTMIN-1", "RTMAX+1", "RTMIN+31", "RTMIN+", "RTMINx"} {
		if n, ok := ParseSignal(s); ok {
			t.Errorf("%s: %d", s, n)
		}
	}
}

func TestStop(t *testing.T) {
	in := input(&Options{Command: []string{"sh"}, StopTimeout: ptr(0)})
	in.Image.Config.StopSignal = "SIGQUIT"
	if p := mustBuild(t, in); p.StopSignal != 3 || p.StopAfter != 0 {
		t.Error(p.StopSignal, p.StopAfter)
	}
	in.Options.StopSignal = "37"
	if p := mustBuild(t, in); p.StopSignal != 37 {
		t.Error(p.StopSignal)
	}
	if p := plan(t, Options{StopTimeout: ptr(-1)}); p.StopAfter >= 0 {
		t.Error(p.StopAfter)
	}
	if p := plan(t, Options{StopTimeout: ptr(3)}); p.StopAfter != 3*time.Second {
		t.Error(p.StopAfter)
	}
	checkRefusal(t, Check(&Options{StopSignal: "SIGNOPE"}), `--stop-signal "SIGNOPE": no such signal`)
	checkRefusal(t, Check(&Options{StopTimeout: ptr(-2)}), `--stop-timeout "-2"`)
	in = input(&Options{Command: []string{"sh"}})
	in.Image.Config.StopSignal = "x"
	_, err := Build(in)
	checkRefusal(t, err, `the image's STOPSIGNAL "x"`)
}

func TestUlimits(t *testing.T) {
	var nofile unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &nofile); err != nil {
		t.Fatal(err)
	}
	p := plan(t, Options{Ulimit: []string{"core=0", "nofile=64:128", "cpu=10:20", "core=0:0"}})
	if got := fmt.Sprint(p.Spec.Process.Rlimits); got != "[{RLIMIT_CORE 0 0} {RLIMIT_NOFILE 128 64} {RLIMIT_CPU 20 10}]" {
		t.Error(got)
	}
	if nofile.Max != unlimited {
		above := fmt.Sprintf("nofile=64:%d", nofile.Max+1)
		checkRefusal(t, Check(&Options{Ulimit: []string{above}}), fmt.Sprintf("your own hard limit is %d", nofile.Max))
		checkRefusal(t, Check(&Options{Ulimit: []string{"nofile=-1"}}), "your own hard limit is")
	}
	if l, _, err := parseUlimit("core=-1"); err != nil || l.Hard != unlimited || l.Soft != unlimited {
		t.Error(l, err)
	}
	for value, want := range map[string]string{
		"nofile": "no limit is given", "nofiles=1": "did you mean nofile?", "xyzzy=1": "the names are core, cpu,", "nofile=x": `"x" is not a number`,
		"nofile=2:1": "the soft limit 2 is above the hard limit 1", "nofile=-1:5": "soft limit unlimited", "nofile=1:2:3": "is not a number",
		"nofile=": `"" is not a number`, "nofile=-2": `"-2" is not a number`,
	} {
		checkRefusal(t, Check(&Options{Ulimit: []string{value}}), want)
	}
}
