package quadlet

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// generate makes what a folder of testdata says for a user; DIR stands for the folder
// in what comes back.
func generateFolder(t *testing.T, dir string) (*Result, string) {
	t.Helper()
	abs, err := filepath.Abs(dir)
	if err != nil {
		t.Fatal(err)
	}
	r := Generate(Options{User: true, Program: "/usr/bin/rc", Dirs: []Dir{{Path: abs}}})
	return r, strings.ReplaceAll(print(r), abs, "DIR")
}

func print(r *Result) string {
	var b strings.Builder
	for _, u := range r.Units {
		fmt.Fprintf(&b, "==> %s failed=%v\n%s\n", u.Name, u.Failed, u.Text)
		for _, l := range u.Links {
			fmt.Fprintf(&b, "link %s -> %s\n", l.Name, l.Target)
		}
	}
	for _, err := range r.Problems {
		fmt.Fprintln(&b, "problem "+err.Error())
	}
	for _, n := range r.Notes {
		fmt.Fprintln(&b, "note "+n)
	}
	return b.String()
}

// Every folder of testdata against what it made when somebody last looked at it:
// go test ./internal/quadlet -update
func TestGolden(t *testing.T) {
	entries, err := os.ReadDir("testdata")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		dir := filepath.Join("testdata", e.Name())
		t.Run(filepath.Base(dir), func(t *testing.T) {
			_, got := generateFolder(t, dir)
			golden := dir + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("%s; got:\n%s", firstDifference(got, string(want)), got)
			}
		})
	}
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return fmt.Sprintf("line %d:\n got %s\nwant %s", i+1, g[i], w[i])
		}
	}
	return fmt.Sprintf("%d lines, want %d", len(g), len(w))
}

// Every fault is one line that names its file, and nearly all name the line, too.
func TestProblemsNamePlaces(t *testing.T) {
	for _, dir := range []string{"refused", "broken"} {
		r, _ := generateFolder(t, "testdata/"+dir)
		if len(r.Problems) < 10 {
			t.Errorf("%s: %d problems only", dir, len(r.Problems))
		}
		for _, err := range r.Problems {
			text := err.Error()
			if strings.Contains(text, "\n") || !strings.Contains(text, "/testdata/"+dir+"/") || !strings.Contains(text, "; ") {
				t.Errorf("%s: this names no file, or nothing to do: %s", dir, text)
			}
		}
	}
}

// A key that is refused is a fault, in a section of any kind; with a value that says
// what is so anyway it is none.
func TestEveryRefusedKey(t *testing.T) {
	for _, k := range kinds {
		for _, key := range k.keys {
			if key.as != refused {
				continue
			}
			if key.why == "" || key.fix == "" {
				t.Errorf("%s %s: no word why, or what to do", k.ext, key.name)
			}
			r := generateText(t, "a"+k.ext, fmt.Sprintf("[%s]\nImage=x\n%s=something\n", k.section, key.name))
			if !r.Units[0].Failed || !strings.Contains(print(r), k.ext+":3: "+show(entry{key: key.name, value: "something"})+": ") {
				t.Errorf("%s %s: %s", k.ext, key.name, print(r))
			}
			if key.fine == "" {
				continue
			}
			value := key.fine
			r = generateText(t, "a"+k.ext, fmt.Sprintf("[%s]\nImage=x\n%s=%s\n", k.section, key.name, value))
			if strings.Contains(print(r), key.name+"=") {
				t.Errorf("%s %s=%s says what is so anyway: %s", k.ext, key.name, value, print(r))
			}
		}
	}
}

// generateText makes the units of one file.
func generateText(t testing.TB, name, text string) *Result {
	t.Helper()
	dir := t.TempDir()
	write1(t, filepath.Join(dir, name), text)
	return Generate(Options{User: true, Program: "/usr/bin/rc", Dirs: []Dir{{Path: dir}}})
}

func write1(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
