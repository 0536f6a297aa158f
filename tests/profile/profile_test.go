package main

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A start, cut down: 1 ms before the trace begins, 10 ms of command. pid 1 is rc, 2 the
// shim, 3 init.
const text = `{"otherData":{"origin_ns":2000000},"traceEvents":[
{"ph":"M","name":"process_name","pid":1,"tid":0,"args":{"name":"rc"}},
{"ph":"M","name":"process_name","pid":2,"tid":0,"args":{"name":"shim"}},
{"ph":"M","name":"process_name","pid":3,"tid":0,"args":{"name":"init"}},
{"ph":"X","name":"read the global flags","pid":1,"tid":0,"ts":0,"dur":100},
{"ph":"X","name":"the command","pid":1,"tid":0,"ts":100,"dur":9900},
{"ph":"X","name":"start the shim","pid":1,"tid":0,"ts":500,"dur":500},
{"ph":"X","name":"fork and execve","pid":1,"tid":1,"ts":100,"dur":200},
{"ph":"X","name":"created","cat":"wait","pid":1,"tid":0,"ts":1000,"dur":8000},
{"ph":"X","name":"take the configuration","pid":2,"tid":0,"ts":2000,"dur":300},
{"ph":"X","name":"mount","pid":2,"tid":0,"ts":2300,"dur":700},
{"ph":"X","name":"Ready of init","cat":"wait","pid":2,"tid":0,"ts":3000,"dur":5000},
{"ph":"X","name":"start init","pid":2,"tid":1,"ts":2900,"dur":600},
{"ph":"X","name":"take the configuration","pid":3,"tid":0,"ts":4000,"dur":1000},
{"ph":"X","name":"mounts","pid":3,"tid":0,"ts":5000,"dur":2000},
{"ph":"X","name":"/proc <&>","pid":3,"tid":0,"ts":5500,"dur":500},
{"ph":"X","name":"tell","pid":2,"tid":0,"ts":8000,"dur":3000},
{"ph":"i","name":"a moment","pid":2,"tid":0,"ts":8000,"s":"p"}
]}`

func sample(t *testing.T) *run {
	t.Helper()
	path := filepath.Join(t.TempDir(), "t.json")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := read(path, 1000000)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRead(t *testing.T) {
	r := sample(t)
	if r.took != 11000 || len(r.spans) != 13 {
		t.Fatalf("%v µs, %d spans", r.took, len(r.spans))
	}
	for _, s := range r.spans {
		want := map[string]int{"start the shim": 1, "created": 1, "/proc <&>": 1}[s.name]
		if s.depth != want {
			t.Errorf("%s lies in %d spans", s.name, s.depth)
		}
	}
	for name, bad := range map[string]string{"no JSON": "{", "no command": `{"traceEvents":[]}`} {
		path := filepath.Join(t.TempDir(), "t.json")
		if err := os.WriteFile(path, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := read(path, 0); err == nil {
			t.Errorf("%s is no error", name)
		}
	}
	if _, err := read(filepath.Join(t.TempDir(), "none"), 0); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

// The pieces are the whole time, and each is whose turn it is.
func TestPieces(t *testing.T) {
	r := sample(t)
	got := r.pieces()
	want := []piece{
		{0, 1000, nobody, "fork, execve and Go's start of rc"},
		{1000, 1100, "rc", "read the global flags"},
		{1100, 1300, "rc", "fork and execve"},
		{1300, 1500, "rc", "the command"},
		{1500, 2000, "rc", "start the shim"},
		{2000, 3000, nobody, "execve and Go's start of shim"},
		{3000, 3300, "shim", "take the configuration"},
		{3300, 4000, "shim", "mount"},
		{4000, 4500, "shim", "start init"},
		{4500, 5000, nobody, "execve and Go's start of init"},
		{5000, 6000, "init", "take the configuration"},
		{6000, 6500, "init", "mounts"},
		{6500, 7000, "init", "/proc <&>"},
		{7000, 8000, "init", "mounts"},
		{8000, 9000, nobody, "shim waits: Ready of init"},
		{9000, 11000, "shim", "tell"},
	}
	if len(got) != len(want) {
		t.Fatalf("%+v", got)
	}
	sum := 0.0
	for i, p := range got {
		sum += p.to - p.from
		if p.who != want[i].who || p.what != want[i].what || math.Abs(p.from-want[i].from) > 0.01 || math.Abs(p.to-want[i].to) > 0.01 {
			t.Errorf("%+v, want %+v", p, want[i])
		}
	}
	if math.Abs(sum-r.took) > 0.01 {
		t.Errorf("they sum up to %v of %v", sum, r.took)
	}
}

func TestCrumbsStayWithWhatWasBefore(t *testing.T) {
	r := &run{took: 100, spans: []span{{process: "rc", name: whole, from: 0, to: 100}, {process: "init", name: "short", from: 50, to: 60}}}
	if got := r.pieces(); len(got) != 1 || got[0].to != 100 {
		t.Errorf("%+v", got)
	}
}

// One run like the others, though none is in the middle of everything.
func TestTypical(t *testing.T) {
	make := func(took, a float64) *run {
		return &run{took: took, spans: []span{{process: "rc", name: "a", from: 0, to: a}, {process: "rc", name: "a", from: a, to: took}}}
	}
	runs := []*run{make(10, 1), make(30, 2), make(11, 2), make(12, 3), make(9, 2)}
	if got := typical(runs); got != runs[2] {
		t.Errorf("%+v", got)
	}
	if m := medians(runs); m["rc\x00a\x001"] != 2 || m["rc\x00a\x002"] != 9 {
		t.Errorf("%v", m)
	}
}

func TestReport(t *testing.T) {
	dir := t.TempDir()
	r := &result{name: "none", title: "One <start>", command: "rc run x", runs: []*run{sample(t)}, plain: []float64{10500}}
	if err := write(dir, "a test", "this machine", 1, []*result{r}); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(dir, "profile.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Made by a test.", "Machine: this machine.", "`rc run x`: 11.0 ms", "10.5 (median)", "plots/profile-none.svg",
		"| init | 3.00 | 27 % |", "| 2.00 | 1.00 | – | execve and Go's start of shim |", "| 6.50 | 0.50 | 0.50 | init | · /proc <&> |",
		"start init (beside)", "created (waits)",
	} {
		if !strings.Contains(string(page), want) {
			t.Errorf("no %q in:\n%s", want, page)
		}
	}
	picture, err := os.Open(filepath.Join(dir, "plots/profile-none.svg"))
	if err != nil {
		t.Fatal(err)
	}
	defer picture.Close()
	bars := 0
	for d := xml.NewDecoder(picture); ; {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "rect" {
			bars++
		}
	}
	if bars != 13 {
		t.Errorf("%d bars", bars)
	}
}

func TestShortPiecesShareALine(t *testing.T) {
	got := steps([]piece{{0, 20, "init", "a"}, {20, 40, "init", "b"}, {40, 60, "init", "a"}, {60, 80, "rc", "c"}, {80, 300, "rc", "d"}})
	for _, want := range []string{"| 0.00 | 0.06 | init | a; b |\n", "| 0.06 | 0.02 | rc | c |\n", "| 0.08 | 0.22 | rc | d |\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in %s", want, got)
		}
	}
}
