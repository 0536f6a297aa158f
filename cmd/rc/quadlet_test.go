package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rc-containers/rc/internal/quadlet"
)

// Every command line of the units in internal/quadlet's testdata is one that rc takes:
// no flag is generated that rc does not have, or refuses.
func TestQuadletLinesAreOurs(t *testing.T) {
	files, err := filepath.Glob("../../internal/quadlet/testdata/*.golden")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	seen := map[string]int{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
			value = strings.TrimPrefix(value, "-")
			if !strings.HasPrefix(key, "Exec") || !strings.HasPrefix(value, "/usr/bin/rc ") {
				continue
			}
			list, err := quadlet.Words(value)
			if err != nil {
				t.Fatal(err)
			}
			seen[checkLine(t, list[1:])]++
		}
	}
	for _, verb := range []string{"run", "volume create", "rm", "exec", "kill", "quadlet", "tag", "image inspect"} {
		if seen[verb] == 0 {
			t.Errorf("no unit has rc %s", verb)
		}
	}
}

// checkLine parses a command line as dispatch does, and returns the verb.
func checkLine(t *testing.T, args []string) string {
	t.Helper()
	var g global
	fs := newFlags("rc")
	g.bind(fs)
	if err := fs.Parse(args); err != nil {
		t.Errorf("%q: %v", args, err)
		return ""
	}
	c, rest := find(fs.Args())
	if c == nil {
		t.Errorf("%q: no such command", args)
		return ""
	}
	if c.image { // rc-image parses it
		return c.name
	}
	flags := newFlags(c.name)
	flags.SetInterspersed(!c.command)
	if c.flags != nil {
		c.flags(flags)
	}
	if err := flags.Parse(rest); err != nil {
		t.Errorf("%q: %v", args, err)
	}
	return c.name
}

func TestQuadletDryRun(t *testing.T) {
	t.Setenv("RC_ROOT", t.TempDir())
	dir := t.TempDir()
	file := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	file("a.container", "[Container]\nImage=alpine\n[Install]\nWantedBy=default.target\n")
	o := rc(t, "quadlet", "--dry-run", "--user", dir)
	if o.code != 0 || o.stderr != "" || !strings.HasPrefix(o.stdout, "---a.service---\n# Made by rc-quadlet of "+dir+"/a.container") ||
		!strings.Contains(o.stdout, "# link default.target.wants/a.service -> ../a.service\n") || !strings.Contains(o.stdout, "---rc-network-online.service---") {
		t.Errorf("%+v", o)
	}
	if o := rc(t, "quadlet", "--dry-run", "--system", dir); o.code != 0 || !strings.Contains(o.stdout, "After=network-online.target") {
		t.Errorf("%+v", o)
	}
	file("b.container", "[Container]\nImage=alpine\nPod=\x1b[31mred\n")
	file("c.container", "[Container]\nImage=alpine\nPod=x.pod\n")
	o = rc(t, "quadlet", "--dry-run", "--user", dir)
	if o.code != 1 || strings.Count(o.stderr, "\n") != 2 || !strings.Contains(o.stderr, "rc: "+dir+"/c.container:3: Pod=x.pod: rc has no pods yet; put them on one network") ||
		strings.Contains(o.stderr+o.stdout, "\x1b") {
		t.Errorf("%+v", o)
	}
	for line, want := range map[string]string{
		"quadlet":                           "rc quadlet: it makes no units by itself; rc quadlet --dry-run shows them",
		"quadlet --dry-run --user --system": "--user and --system are given; leave out one of them",
		"quadlet --dry-run /nowhere":        "read /nowhere: ",
	} {
		if o := rc(t, strings.Fields(line)...); o.code == 0 || o.stdout != "" || !strings.Contains(o.stderr, want) || strings.Count(o.stderr, "\n") != 1 {
			t.Errorf("%s: %+v, want %q", line, o, want)
		}
	}
}

// The start of a faulty file's unit.
func TestQuadletFail(t *testing.T) {
	t.Setenv("RC_ROOT", t.TempDir())
	o := rc(t, "quadlet", "--fail", "/a:1: b\x1b[0m", "/a:2: c")
	if o.code != exitConfig || o.stdout != "" || o.stderr != "/a:1: b [0m\n/a:2: c\n" {
		t.Errorf("%+v", o)
	}
}
