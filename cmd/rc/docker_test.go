package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// docs/docker.md says of every verb and flag of `docker container` what rc does
// with it. This holds its rows against the commands: a row "done" or "different"
// names a flag that --help shows, a row "refused" one whose use is refused with a
// line that names it, and no visible flag of ours goes without a row.
func TestDockerTable(t *testing.T) {
	t.Setenv("RC_ROOT", t.TempDir())
	text, err := os.ReadFile("../../docs/docker.md")
	if err != nil {
		t.Fatal(err)
	}
	heading, row := regexp.MustCompile("^### `docker ([a-z ]+)`"), regexp.MustCompile("^\\| `([^`]+)` \\| (done|different|refused|rc's own) \\|(.*)\\|$")
	verb, rows := "", map[string]map[string]bool{}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if m := heading.FindStringSubmatch(line); m != nil {
			verb = m[1]
			rows[verb] = map[string]bool{}
		}
		m := row.FindStringSubmatch(line)
		if m == nil {
			if strings.HasPrefix(line, "| `") {
				t.Errorf("%s: this row cannot be read: %s", verb, line)
			}
			continue
		}
		for flag := range strings.SplitSeq(m[1], ", ") {
			rows[verb][flag] = true
			checkRow(t, verb, flag, m[2], m[3])
		}
	}
	checkOwn(t, rows)
}

func flagsOf(t *testing.T, verb string) *pflag.FlagSet {
	t.Helper()
	c, _ := find(strings.Fields(verb))
	if c == nil || c.image {
		return nil
	}
	fs := newFlags(c.name)
	if c.flags != nil {
		c.flags(fs)
	}
	return fs
}

func lookUp(fs *pflag.FlagSet, flag string) *pflag.Flag {
	if name, long := strings.CutPrefix(flag, "--"); long {
		return fs.Lookup(name)
	}
	return fs.ShorthandLookup(flag[1:])
}

func checkRow(t *testing.T, verb, flag, status, remark string) {
	t.Helper()
	fs := flagsOf(t, verb)
	if fs == nil {
		if c, _ := find(strings.Fields(verb)); c == nil && status != "refused" {
			t.Errorf("%s: there is no such command", verb)
		}
		return
	}
	f := lookUp(fs, flag)
	switch {
	case f == nil && status == "refused":
		t.Errorf("%s %s: unknown to rc: a flag of Docker's is refused by name", verb, flag)
	case f == nil:
		t.Errorf("%s %s: %s, and rc does not have it", verb, flag, status)
	case status == "refused":
		args := append(strings.Fields(verb), flag)
		if f.NoOptDefVal == "" {
			args = append(args, "1")
		}
		o := rc(t, append(args, "x", "y")...)
		if o.code == 0 || !strings.Contains(o.stderr, strings.TrimLeft(flag, "-")) || strings.Count(o.stderr, "\n") != 1 {
			t.Errorf("%s %s: it should be refused by name: %+v", verb, flag, o)
		}
	case status != "done" && strings.TrimSpace(remark) == "":
		t.Errorf("%s %s: %s, and no word why", verb, flag, status)
	}
}

func checkOwn(t *testing.T, rows map[string]map[string]bool) {
	t.Helper()
	for verb, flags := range rows {
		fs := flagsOf(t, verb)
		if fs == nil {
			continue
		}
		fs.VisitAll(func(f *pflag.Flag) {
			if !f.Hidden && !flags["--"+f.Name] {
				t.Errorf("%s --%s: docs/docker.md has no word of it", verb, f.Name)
			}
		})
	}
}
