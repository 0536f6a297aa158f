package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// told is a report of a whole run, with invented figures.
func told() *report {
	r := newReport(options{runs: 3, images: 500, containers: 300, many: 300, plots: "docs/plots", dir: "/home/x/bench"})
	r.host = "Machine: 2 cores (CPU), HOST."
	add := func(row, tool string, times ...time.Duration) {
		r.add(&cell{row: row, tool: tool, times: times, args: []string{"rc", "--root", "/home/x/bench/rc-store", "run", image}})
	}
	add("start/default", rcTool, 10*m, 12*m, 9*m)
	add("start/default", podmanTool, 150*m)
	add("start/none", rcTool, 7*m)
	add("start/none", bwrapTool, 4*m)
	add("exec", rcTool, 5*m)
	add("exec", podmanTool, 60*m)
	add("present/nothing", rcTool, 10*m)
	add("present/images", rcTool, 12*m)
	r.set(parallelRow("default", 8), rcTool, 150)
	r.set(parallelRow("default", 8), podmanTool, 9)
	r.set(parallelRow("none", 8), rcTool, 220)
	r.set(parallelRow("none", 8), cloneTool, 450)
	r.set("memory/many", rcTool, 500)
	r.set("memory/many/total", rcTool, 150)
	r.set("loop", "starts", 1000)
	r.set("loop", "first", 10)
	r.set("loop", "last", 12.6)
	r.set("loop", bwrapTool+" first", 5)
	r.set("loop", bwrapTool+" last", 6)
	r.weights = []*weight{{idlers: idlers{row: "memory/many", tool: tool{name: rcTool}, number: 300}, kib: map[string]int{"rc-init": 153600}, count: map[string]int{"rc-init": 300}, started: 20 * m}}
	r.machines = []machine{{name: "a machine", took: 3 * time.Second, mib: 200, disk: 300}}
	r.places = []string{hostPlace, "rc, overlay"}
	r.set("files/create", hostPlace, 25)
	r.set("files/create", leastOf+hostPlace, 24)
	r.set("files/create", "rc, overlay", 50)
	r.note("loop", "a note")
	r.breaks("docker", errors.New("no\nkernel"))
	return r
}

func TestMarkdown(t *testing.T) {
	text := told().markdown()
	for _, want := range []string{
		"HOST", "| one start: podman : rc, default network | at least 12; further: 20 | 15.0 | yes |",
		"| one start: rc, default network : bubblewrap | at most 3; further: 2 | 2.50 | yes |",
		"| eight at a time, default network: rc's starts : podman's | at least 15 | 16.7 | yes |",
		"| `exec`: podman : rc | at least 15 | 12.0 | **no** |", "| `ps -a` of 300: podman : rc | at least 10 | – | not measured |",
		"300 | at most 0.75 MiB | 0.49 MiB | yes |", "| the same for all 300 | at most 240 MiB | 150 MiB | yes |",
		"500 images: change | at most 10 % | 20.0 % | **no** |", "last tenth : first tenth, over the same of bubblewrap | at most 1.10 | 1.05 | yes |", "each 5 of them: first tenth 5.00 ms, last 6.00 ms",
		"default network | 10.0 (9.00) | 150 (150) | – | 15.0 |", "costs a start of rc 3.00 ms", "| 8 at a time | 150 | 9.00 | 16.7 |",
		"| rc | default | 300 | 512 | 150.0 | 300 × rc-init 512 | 20.0 | – |", "| a machine | 3000 | 200 | 300 |", "| create a file of 4 KiB | 25.0 (24.0) |", "| create a file of 4 KiB | 2.00 |", "| a machine : a container of rc | 300 | – | – |",
		"- docker: no kernel", "- podman with runc where", "a note", "`rc run IMAGE`",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the report lacks %q", want)
		}
	}
	c := cell{tool: podmanTool, args: (&world{o: options{dir: "D"}}).podmanIn("store", "crun").line("run", image)}
	if got := shown(&c, "D"); got != "podman run IMAGE" {
		t.Error(got)
	}
	if strings.Contains(text, "/home/x") || strings.Contains(text, "layers") {
		t.Error("a path of this run, or a row without figures")
	}
	if part := newReport(options{only: "ps"}).markdown(); strings.Contains(part, "## Not measured") {
		t.Errorf("a part says what a whole run leaves out:\n%s", part)
	}
	if empty := newReport(options{}).markdown(); strings.Contains(empty, "## Goals") || strings.Contains(empty, "## Single") {
		t.Errorf("tables of what was not measured:\n%s", empty)
	}
}

func TestVerdicts(t *testing.T) {
	for _, c := range []struct {
		g    goal
		want string
	}{
		{goal{}, "not measured"}, {goal{value: 21, bound: 12, stretch: 20, least: true, known: true}, "yes, and the further one"},
		{goal{value: 13, bound: 12, stretch: 20, least: true, known: true}, "yes"}, {goal{value: 11, bound: 12, least: true, known: true}, "**no**"},
		{goal{value: 1.9, bound: 3, stretch: 2, known: true}, "yes, and the further one"}, {goal{value: 3.1, bound: 3, known: true}, "**no**"}, {goal{known: true}, "yes"},
	} {
		if got := c.g.verdict(); got != c.want {
			t.Errorf("%+v: %s", c.g, got)
		}
	}
}

// wellFormed reads XML to its end.
func wellFormed(text string) error {
	for d := xml.NewDecoder(strings.NewReader(text)); ; {
		if _, err := d.Token(); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func TestPlots(t *testing.T) {
	dir := t.TempDir()
	stale := filepath.Join(dir, "memory.svg")
	if err := os.WriteFile(stale, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r := told()
	r.weights = nil
	if err := r.plots(dir); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"start.svg", "parallel.svg"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || wellFormed(string(text)) != nil || !strings.Contains(string(text), `class="podman"`) {
			t.Errorf("%s: %v, %v", name, err, wellFormed(string(text)))
		}
	}
	if _, err := os.Stat(stale); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a plot without figures stays: %v", err)
	}
	text := svg("a <b> & c", []group{{"head", []bar{{"x", rcTool, 1, "1"}, {"none", bwrapTool, 0, ""}}}, {"empty", nil}})
	if wellFormed(text) != nil || strings.Contains(text, "empty") || strings.Contains(text, ">none<") || !strings.Contains(text, "prefers-color-scheme: dark") {
		t.Error(text)
	}
	if svg("nothing", nil) != "" {
		t.Error("a plot of nothing")
	}
}

func TestREADMEKeepsWhatIsNotOurs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "README.md")
	if err := os.WriteFile(path, []byte("before\n"+figuresBegin+"\nold\n"+figuresEnd+"\nafter\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // twice leaves the same
		if err := rewrite(path, told().figures()); err != nil {
			t.Fatal(err)
		}
	}
	text, _ := os.ReadFile(path)
	s := string(text)
	if !strings.HasPrefix(s, "before\n"+figuresBegin) || !strings.HasSuffix(s, figuresEnd+"\nafter\n") || strings.Contains(s, "old") || strings.Count(s, "docs/benchmarks.md](") != 1 {
		t.Error(s)
	}
	if !strings.Contains(s, "| `run --rm IMAGE true`, default network | 10.0 ms | 150 ms | – | – |") {
		t.Error(s)
	}
	if err := os.WriteFile(path, []byte("no marks"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := rewrite(path, "x"); err == nil {
		t.Error("no error without marks")
	}
	if readme, err := os.ReadFile("../../README.md"); err != nil || !strings.Contains(string(readme), figuresBegin) || !strings.Contains(string(readme), figuresEnd) {
		t.Errorf("rc's README has no place for figures: %v", err)
	}
}

// Whether the disk has a journal is read where the kernel says so, if it is an ext4.
func TestNoJournal(t *testing.T) {
	if noJournal("/proc") || noJournal(t.TempDir()+"/nothing") {
		t.Error("a file system of no disk, or none, is an ext4 without a journal")
	}
	tasks, _ := filepath.Glob("/sys/fs/ext4/*/journal_task")
	if len(tasks) == 0 {
		t.Skip("no ext4 here")
	}
	text, err := os.ReadFile("/proc/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		task, err := os.ReadFile("/sys/fs/ext4/" + filepath.Base(f[0]) + "/journal_task")
		if _, hidden := os.Stat(f[1]); hidden != nil {
			continue // another user's
		}
		if err == nil && f[2] == "ext4" && noJournal(f[1]) != (strings.TrimSpace(string(task)) == "<none>") {
			t.Errorf("%s on %s: %q", f[0], f[1], task)
		}
	}
}
