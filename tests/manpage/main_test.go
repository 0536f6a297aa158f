package main

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const man = "../../docs/man"

// programs is the folder of rc's programs.
func programs(t *testing.T) string {
	t.Helper()
	bin := os.Getenv("RC_BIN")
	if bin == "" {
		t.Skip("RC_BIN is not set to the folder of rc's programs; `make test` sets it")
	}
	return bin
}

// flagsOf gives what the OPTIONS of a page list.
func flagsOf(page string) []string {
	_, options, _ := strings.Cut(page, "\n.SH OPTIONS\n")
	options, _, _ = strings.Cut(options, "\n.SH ")
	var list []string
	for _, m := range regexp.MustCompile(`(?m)^\.TP\n((?:\\fB\\-\w\\fR, )?\\fB\\-\\-.*)$`).FindAllStringSubmatch(options, -1) {
		list = append(list, strings.NewReplacer(`\fB`, "", `\fI`, "", `\fR`, "", `\-`, "-").Replace(m[1]))
	}
	return list
}

// docs/man is what the programs say, flag by flag and word by word.
func TestPagesAgreeWithHelp(t *testing.T) {
	pages, err := generate(programs(t), filepath.Join(man, "src"))
	if err != nil {
		t.Fatal(err)
	}
	if len(pages) < 10 {
		t.Errorf("only %d pages", len(pages))
	}
	for name, want := range pages {
		text, err := os.ReadFile(filepath.Join(man, name))
		if err != nil {
			t.Errorf("%v: run make man", err)
			continue
		}
		have := string(text)
		if len(flagsOf(want)) == 0 {
			t.Errorf("%s lists no flag", name)
		}
		for _, f := range flagsOf(want) {
			if !slices.Contains(flagsOf(have), f) {
				t.Errorf("docs/man/%s lacks %s: run make man", name, f)
			}
		}
		for _, f := range flagsOf(have) {
			if !slices.Contains(flagsOf(want), f) {
				t.Errorf("docs/man/%s has %s, which --help has not: run make man", name, f)
			}
		}
		if have != want {
			t.Errorf("docs/man/%s is not what --help and docs/man/src say: run make man", name)
		}
	}
}

// Every page and every hand-written file is of a command that exists.
func TestNoStrayPages(t *testing.T) {
	_, commands, err := readHelp(programs(t))
	if err != nil {
		t.Fatal(err)
	}
	known := []string{"rc"}
	for _, c := range commands {
		known = append(known, c.page())
	}
	for _, pattern := range []string{"*.1", "src/*.txt"} {
		files, _ := filepath.Glob(filepath.Join(man, pattern))
		for _, f := range files {
			name := strings.TrimSuffix(filepath.Base(f), filepath.Ext(f))
			if !slices.Contains(known, name) {
				t.Errorf("%s is of no command", f)
			}
		}
	}
}

var (
	typed     = regexp.MustCompile(`\brc ([a-z]+|(?:--root|--storage-driver)[ =]\S+ [a-z]+)\b([^|;&#)]*)`)
	typedFlag = regexp.MustCompile(` (--[a-z][a-z0-9-]*)`)
)

// What README.md and the hand-written sections tell people to type exists: the
// command and each long flag on its line.
func TestExamplesExist(t *testing.T) {
	_, commands, err := readHelp(programs(t))
	if err != nil {
		t.Fatal(err)
	}
	flags := map[string][]string{}
	for _, c := range commands {
		for _, f := range c.flags {
			flags[c.name] = append(flags[c.name], f.name)
		}
	}
	files, _ := filepath.Glob(filepath.Join(man, "src/*.txt"))
	checked := 0
	for _, file := range append(files, "../../README.md") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for l := range strings.SplitSeq(string(text), "\n") {
			// Lines shown as they are, and what stands between backquotes.
			for i, part := range strings.Split(l, "`") {
				shown := strings.HasPrefix(l, "    ") || strings.HasSuffix(file, ".md") && (strings.HasPrefix(l, "rc ") || strings.HasPrefix(l, "$ rc "))
				if i%2 == 0 && !shown {
					continue
				}
				checked += checkTyped(t, file, part, flags)
			}
		}
	}
	if checked < 30 {
		t.Errorf("only %d examples were found", checked)
	}
}

func checkTyped(t *testing.T, file, text string, flags map[string][]string) int {
	calls := typed.FindAllStringSubmatch(text, -1)
	for _, m := range calls {
		words := strings.Fields(m[1])
		command := words[len(words)-1]
		have, ok := flags[command]
		if verb := strings.Fields(m[2]); !ok && len(verb) > 0 {
			command += " " + verb[0]
			have, ok = flags[command]
		}
		if !ok && command != "help" {
			t.Errorf("%s: there is no command rc %s: %s", file, command, text)
			continue
		}
		for _, f := range typedFlag.FindAllStringSubmatch(m[2], -1) {
			if !slices.Contains(have, f[1]) {
				t.Errorf("%s: rc %s has no %s: %s", file, command, f[1], text)
			}
		}
	}
	return len(calls)
}

// The pages are man(7) that groff and mandoc take without a warning.
func TestLint(t *testing.T) {
	pages, _ := filepath.Glob(filepath.Join(man, "*.1"))
	linters := map[string][]string{"groff": {"-man", "-ww", "-z"}, "mandoc": {"-Tlint", "-Wwarning"}}
	for _, name := range slices.Sorted(maps.Keys(linters)) {
		t.Run(name, func(t *testing.T) {
			if _, err := exec.LookPath(name); err != nil {
				t.Skipf("%s is not installed (apt-get install groff mandoc)", name)
			}
			for _, page := range pages {
				out, _ := exec.Command(name, append(slices.Clone(linters[name]), page)...).CombinedOutput()
				for l := range strings.Lines(string(out)) {
					// A date would have to be changed by hand with every text.
					if !strings.Contains(l, "missing date") {
						t.Errorf("%s: %s", name, l)
					}
				}
			}
		})
	}
}
