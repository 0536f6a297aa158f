package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const m = time.Millisecond

// trial is a world without a user, a rig or stores.
func trial(t *testing.T, o options) *world {
	t.Helper()
	if o.dir == "" {
		o.dir = t.TempDir()
	}
	if err := o.complete(); err != nil {
		t.Fatal(err)
	}
	return &world{o: o, env: os.Environ(), uid: uint32(os.Getuid()), begin: time.Now(), run: t.TempDir(), standing: map[string]bool{}}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		times  []time.Duration
		median time.Duration
	}{{nil, 0}, {[]time.Duration{5 * m}, 5 * m}, {[]time.Duration{9 * m, 1 * m, 5 * m}, 5 * m}, {[]time.Duration{4 * m, 1 * m, 2 * m, 100 * m}, 3 * m}} {
		if got := median(c.times); got != c.median {
			t.Errorf("%v: median %v", c.times, got)
		}
	}
	if median([]float64{9, 1, 4}) != 4 || median([]float64{1, 4}) != 2.5 || median[float64](nil) != 0 {
		t.Error("median of plain numbers")
	}
}

func TestPartsNeverReplaceAWholeRun(t *testing.T) {
	for _, o := range []options{{only: "start", tree: "T"}, {quick: true, tree: "T"}} {
		if err := o.complete(); err != nil || o.out != "" || o.plots != "" || o.readme != "" {
			t.Errorf("%+v, %v", o, err)
		}
	}
	o := options{tree: "T"}
	if err := o.complete(); err != nil || o.out != "T/docs/benchmarks.md" || o.plots != "T/docs/plots" || o.readme != "T/README.md" {
		t.Errorf("%+v, %v", o, err)
	}
	if err := (&options{only: "("}).complete(); err == nil {
		t.Error("no error for a pattern that is none")
	}
}

func TestChosen(t *testing.T) {
	for _, c := range []struct {
		only, name string
		want       bool
	}{
		{"", "start/none/rc", true}, {"start/none", "start/none/rc", true}, {"start/.*/podman", "start/host/podman", true},
		{"start/.*/podman", "start/host/rc", false}, {"exec|ps", "ps/many/rc", true}, {"none", "start/none/rc", false},
		// The name of a row is not the beginning of others.
		{"ps", "ps/rc", true}, {"ps", "ps/many/rc", false}, {"start/layers-1", "start/layers-10/rc", false}, {"start/none$", "start/none/rc", true},
	} {
		if got := trial(t, options{only: c.only}).chosen(c.name); got != c.want {
			t.Errorf("-only %q, %s: %v", c.only, c.name, got)
		}
	}
	w := trial(t, options{only: "start/none/podman$"})
	if !w.o.anyChosen([]string{"exec", "start/none"}) || w.o.anyChosen([]string{"start/host"}) {
		t.Error("a pattern that names a tool")
	}
	var list bytes.Buffer
	if err := (&options{}).list(&list); err != nil {
		t.Error(err)
	}
	for _, row := range []string{"start/default", "parallel/none/32", "loop", "memory/many", "files", "vm", "network"} {
		if !strings.Contains(list.String(), row+"\n") {
			t.Errorf("-list lacks %s", row)
		}
	}
	for only, want := range map[string]string{"vm": "vm\n", "ps": "ps\n", "cold|vm": "cold\nvm\n", "memory/none/podman": "memory/none\n", "strat": ""} {
		list.Reset()
		if err := trial(t, options{only: only}).o.list(&list); list.String() != want || (err == nil) != (want != "") {
			t.Errorf("-list -only %s: %q, %v", only, list.String(), err)
		}
	}
}

func TestMeasureGoesOnBesideFailures(t *testing.T) {
	w, r := trial(t, options{only: "good|bad|late"}), newReport(options{})
	tries, order := 0, ""
	cells := []*cell{
		{row: "good", tool: rcTool, args: []string{"true"}, before: func() error { order += "b"; return nil }, after: func() error { order += "a"; return nil }},
		{row: "bad", tool: rcTool, args: []string{"sh", "-c", "echo no such image >&2; exit 125"}},
		{row: "late", tool: rcTool, run: func() (time.Duration, error) {
			if tries++; tries > 2 {
				return 0, errors.New("tired")
			}
			return 7 * m, nil
		}},
		{row: "unchosen", tool: rcTool, args: []string{"false"}},
	}
	w.measure(r, cells, 6)
	if c := r.find("good", rcTool); c == nil || len(c.times) != 6 || r.get("good", rcTool) <= 0 || order != strings.Repeat("ba", 7) {
		t.Errorf("%+v, %s", c, order)
	}
	if r.find("bad", rcTool) != nil || r.find("unchosen", rcTool) != nil {
		t.Error("a row that did not work has figures")
	}
	if r.get("late", rcTool) != 7 || tries != 2+patience {
		t.Errorf("%v, %d tries", r.get("late", rcTool), tries)
	}
	broken := strings.Join(r.broken, "\n")
	if !strings.Contains(broken, "no such image") || !strings.Contains(broken, "failure 1 of 3: tired") || strings.Contains(broken, "unchosen") {
		t.Error(broken)
	}
}

func TestFirstByte(t *testing.T) {
	w := trial(t, options{})
	took, err := w.firstByte([]string{"sh", "-c", "echo x; sleep 0.2"})()
	if err != nil || took >= 200*m {
		t.Errorf("%v, %v", took, err)
	}
	if _, err := w.firstByte([]string{"true"})(); err == nil {
		t.Error("no error without a byte")
	}
}

func TestTimedSaysWhatTheCommandSaid(t *testing.T) {
	w := trial(t, options{})
	_, err := w.timed([]string{"sh", "-c", "echo no such image >&2; exit 125"})
	if err == nil || !strings.Contains(err.Error(), "no such image") || !strings.Contains(err.Error(), "125") {
		t.Errorf("%v", err)
	}
	if d, err := w.timed([]string{"sleep", "0.05"}); err != nil || d < 50*m {
		t.Errorf("%v, %v", d, err)
	}
}

func TestOutOfTime(t *testing.T) {
	w, r := trial(t, options{total: time.Nanosecond}), newReport(options{})
	w.measure(r, []*cell{{row: "good", tool: rcTool, args: []string{"true"}}}, 6)
	if r.find("good", rcTool) != nil || len(r.broken) == 0 || !strings.Contains(r.broken[0], "out of time") {
		t.Errorf("%v", r.broken)
	}
}

func TestAbreast(t *testing.T) {
	w := trial(t, options{slot: 50 * m})
	if err := os.Mkdir(w.o.dir+"/bin", 0o755); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-buildvcs=false", "-o", w.o.dir+"/bin/repeat", "./repeat")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	l := &lane{args: []string{"true"}, starts: map[int]int{}, took: map[int]time.Duration{}}
	if err := w.abreast(l, 3); err != nil || l.starts[3] < 3 || l.took[3] < 50*m {
		t.Errorf("%+v, %v", l, err)
	}
	l.args = []string{"sh", "-c", "echo database is locked >&2; exit 1"}
	if err := w.abreast(l, 2); err == nil || !strings.Contains(err.Error(), "database is locked") || l.starts[2] != 0 {
		t.Errorf("%+v, %v", l, err)
	}
}

func TestLoopFindsWhatIsLeft(t *testing.T) {
	w, r := trial(t, options{loop: 20}), newReport(options{})
	w.uid = 987654321 // nobody, who starts nothing meanwhile
	if err := w.loop(r, []string{"true"}); err != nil || r.get("loop", "starts") != 20 || r.get("loop", "left") != 0 || r.get("loop", "last") <= 0 {
		t.Errorf("%v, %v, %v", err, r.values, r.notes)
	}
	before := inventory{"mounts": 3, "namespaces": 9}
	if left := before.lacks(inventory{"mounts": 4, "namespaces": 8, "process rc-init": 1}); len(left) != 2 || left[0] != "1 process rc-init (before: 0)" {
		t.Errorf("%q", left)
	}
	if err := w.loop(r, []string{"false"}); err == nil {
		t.Error("no error when a start fails")
	}
}

func TestUsageCountsBlocksOnce(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/a", make([]byte, 64<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	before := usage(dir)
	if err := os.Link(dir+"/a", dir+"/b"); err != nil {
		t.Fatal(err)
	}
	if before < 64<<10 || usage(dir) != before {
		t.Errorf("%d, then %d with a second name", before, usage(dir))
	}
	if usage(filepath.Join(dir, "nothing")) != 0 {
		t.Error("a folder that is not there")
	}
}

// A machine on which rc does not work gets no page of figures of the others.
func TestWithoutRC(t *testing.T) {
	w := trial(t, options{})
	if err := w.ready(tool{rcTool, []string{"false"}, nil}); err == nil || w.without == nil || !strings.Contains(w.without.Error(), "rc does not work here") {
		t.Errorf("%v, %v", err, w.without)
	}
	w = trial(t, options{})
	if err := w.ready(tool{podmanTool, []string{"false"}, nil}); err == nil || w.without != nil {
		t.Errorf("podman alone: %v, %v", err, w.without)
	}
}
