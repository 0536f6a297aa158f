package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
)

// whole is the span of rc that lies around all of a command but the reading of its flags
// (cmd/rc/trace.go).
const whole = "the command"

// span is one of a trace. Times are microseconds since the command was started.
type span struct {
	process  string
	lane     int // 0 is the process's way to the goal, others what it does beside
	name     string
	from, to float64
	waits    bool // for another process
	depth    int  // how many spans of its lane it lies in
}

// run is one command that was traced.
type run struct {
	spans []span
	took  float64 // until rc had nothing left to do but to write the trace
}

// read reads what rc --trace wrote. Its times become those since started, which is
// nanoseconds of CLOCK_MONOTONIC: when the starter began.
func read(path string, started int64) (*run, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var f struct {
		OtherData struct {
			Origin int64 `json:"origin_ns"`
		} `json:"otherData"`
		TraceEvents []struct {
			PH, Name, Cat string
			PID, TID      int
			TS, Dur       float64
			Args          struct{ Name string }
		} `json:"traceEvents"`
	}
	if err := json.Unmarshal(text, &f); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	r := &run{}
	shift := float64(f.OtherData.Origin-started) / 1000
	names := map[int]string{}
	for _, e := range f.TraceEvents {
		switch {
		case e.PH == "M" && e.Name == "process_name":
			names[e.PID] = e.Args.Name
		case e.PH == "X":
			s := span{process: names[e.PID], lane: e.TID, name: e.Name, from: e.TS + shift, to: e.TS + e.Dur + shift, waits: e.Cat == "wait"}
			r.spans = append(r.spans, s)
			if s.name == whole {
				r.took = s.to
			}
		}
	}
	if r.took == 0 {
		return nil, fmt.Errorf("%s: no span of %q in it", path, whole)
	}
	r.nest()
	return r, nil
}

// nest sorts the spans and gives each its depth.
func (r *run) nest() {
	slices.SortStableFunc(r.spans, func(a, b span) int {
		if a.from != b.from {
			return sign(a.from - b.from)
		}
		return sign(b.to - a.to)
	})
	for i := range r.spans {
		s := &r.spans[i]
		for _, o := range r.spans[:i] {
			if o.process == s.process && o.lane == s.lane && o.to >= s.to {
				s.depth++
			}
		}
	}
}

func sign(x float64) int {
	switch {
	case x < 0:
		return -1
	case x > 0:
		return 1
	}
	return 0
}

// piece is a stretch of time and what it went into.
type piece struct {
	from, to  float64
	who, what string
}

// chain is who is nearer to the goal: where several work, the time is that one's,
// because the others will wait for it.
var chain = []string{"init", "exec", "keeper", "shim", "rc"}

// nobody is who is at work where no process of rc's says that it is: the kernel, which
// makes a process or wakes one, Go's runtime before main, or the payload.
const nobody = "–"

// crumb is what is too short to change who is at work, in microseconds.
const crumb = 15

// pieces cuts the whole time into stretches, so that they add up to it.
func (r *run) pieces() []piece {
	cuts := []float64{0, r.took}
	for _, s := range r.spans {
		for _, t := range []float64{s.from, s.to} {
			if t > 0 && t < r.took {
				cuts = append(cuts, t)
			}
		}
	}
	slices.Sort(cuts)
	var list []piece
	for i := range len(cuts) - 1 {
		if cuts[i] == cuts[i+1] {
			continue
		}
		who, what := r.at((cuts[i] + cuts[i+1]) / 2)
		if n := len(list); n > 0 && (list[n-1].who == who && list[n-1].what == what || cuts[i+1]-cuts[i] < crumb) {
			list[n-1].to = cuts[i+1]
			continue
		}
		list = append(list, piece{cuts[i], cuts[i+1], who, what})
	}
	return list
}

// at says who is at work at a moment, and at what.
func (r *run) at(t float64) (who, what string) {
	waiting := ""
	for _, process := range chain {
		var deepest, beside, wait *span
		for i := range r.spans {
			s := &r.spans[i]
			switch {
			case s.process != process || t < s.from || t >= s.to:
			case s.waits:
				wait = s
			case s.lane == 0:
				deepest = s // the list is in order: an inner one comes later
			default:
				beside = s
			}
		}
		switch {
		case deepest != nil && wait == nil && (deepest.name != whole || beside == nil):
			return process, deepest.name
		case beside != nil:
			return process, beside.name
		case wait != nil && waiting == "":
			waiting = process + " waits: " + wait.name
		}
	}
	return nobody, r.between(t, waiting)
}

// between names a stretch in which nobody says anything, by what comes after it.
func (r *run) between(t float64, waiting string) string {
	var next *span
	for i := range r.spans {
		if s := &r.spans[i]; s.from >= t && (next == nil || s.from < next.from) {
			next = s
		}
	}
	switch {
	case next == nil:
		return "the end"
	case next.name == "read the global flags":
		return "fork, execve and Go's start of rc"
	case next.name == "take the configuration":
		return "execve and Go's start of " + next.process
	case waiting != "":
		return waiting
	}
	return "until " + next.process + ": " + next.name
}

// typical is the run that is nearest to the middle of all, span by span: a real one,
// whose times add up, as those of a table of medians would not.
func typical(runs []*run) *run {
	all := medians(runs)
	best, least := runs[0], -1.0
	for _, r := range runs {
		sum := 0.0
		for _, s := range numbered(r.spans) {
			if m, ok := all[s.key]; ok {
				sum += abs(s.to - s.from - m)
			}
		}
		sum += abs(r.took - median(runs, took))
		if least < 0 || sum < least {
			best, least = r, sum
		}
	}
	return best
}

type keyed struct {
	span
	key string
}

// numbered gives each span a name that is its own: the second "write an event" of a
// shim is another than the first.
func numbered(spans []span) []keyed {
	seen := map[string]int{}
	list := make([]keyed, len(spans))
	for i, s := range spans {
		key := strings.Join([]string{s.process, s.name}, "\x00")
		seen[key]++
		list[i] = keyed{s, fmt.Sprintf("%s\x00%d", key, seen[key])}
	}
	return list
}

// medians is how long each span took in the middle of all runs.
func medians(runs []*run) map[string]float64 {
	all := map[string][]float64{}
	for _, r := range runs {
		for _, s := range numbered(r.spans) {
			all[s.key] = append(all[s.key], s.to-s.from)
		}
	}
	out := map[string]float64{}
	for key, list := range all {
		out[key] = middle(list)
	}
	return out
}

func took(r *run) float64 { return r.took }

func median(runs []*run, of func(*run) float64) float64 {
	list := make([]float64, len(runs))
	for i, r := range runs {
		list[i] = of(r)
	}
	return middle(list)
}

func middle(list []float64) float64 { return slices.Sorted(slices.Values(list))[len(list)/2] }

func abs(x float64) float64 {
	if x < 0 {
		return -x
	}
	return x
}
