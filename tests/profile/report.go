package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// result is one command, traced many times.
type result struct {
	name    string // of its files
	title   string
	command string
	runs    []*run
	plain   []float64 // without tracing, as its starter sees it, microseconds
}

const introduction = `# Where the time of a start goes

Made by %s. Each section shows one command, traced %d times (and once before, unseen): the run that
is nearest to the middle of all is drawn and taken to pieces, so its times add up. In the pictures rc is done at the red line.

Machine: %s.

A trace of any command of your own is the same:

    rc --trace=FILE run --rm alpine true        or RC_TRACE=FILE

FILE is for [ui.perfetto.dev](https://ui.perfetto.dev) or chrome://tracing: one clock for rc, the shim, init (or exec) and the
keeper. A mark is one line, ` + "`defer trace.Begin(\"…\").End()`" + ` (internal/trace), costs a look at a pointer while nobody traces, and
0.1 µs while somebody does. Grey is waiting for another process. What no process says is the kernel's (it makes a process,
opens namespaces, wakes somebody), Go's runtime's before main, or the payload's.

How to use it: change something, run ` + "`make profile`" + `, and read the difference of this file. The budget of system calls,
files and bytes (tests/budget) says the same in counts, on a busy machine, too.
`

// report is docs/profile.md.
func report(made, machine string, rounds int, results []*result) string {
	var b strings.Builder
	fmt.Fprintf(&b, introduction, made, rounds, machine)
	for _, r := range results {
		t := typical(r.runs)
		fmt.Fprintf(&b, "\n## %s\n\n`%s`: %.1f ms until rc has nothing left to do (median of all %.1f, least %.1f). Without tracing,\nand with the end of rc and its starter's fork and wait: %.1f (median), %.1f (least).\n\n![%s](plots/profile-%s.svg)\n",
			r.title, r.command, t.took/1000, median(r.runs, took)/1000, slices.MinFunc(r.runs, func(a, b *run) int { return sign(a.took - b.took) }).took/1000,
			middle(r.plain)/1000, slices.Min(r.plain)/1000, r.title, r.name)
		pieces := t.pieces()
		b.WriteString(shares(pieces))
		b.WriteString(steps(pieces))
		b.WriteString(all(t, medians(r.runs)))
	}
	return b.String()
}

// shares sums the pieces up by process.
func shares(pieces []piece) string {
	sums, total := map[string]float64{}, 0.0
	for _, p := range pieces {
		sums[p.who] += p.to - p.from
		total += p.to - p.from
	}
	order := slices.SortedFunc(maps.Keys(sums), func(a, b string) int { return sign(sums[b] - sums[a]) })
	var b strings.Builder
	b.WriteString("\n| on whom it waits | ms | |\n|---|---:|---:|\n")
	for _, who := range order {
		name := who
		if who == nobody {
			name = "kernel, Go before main, payload"
		}
		fmt.Fprintf(&b, "| %s | %.2f | %.0f %% |\n", name, sums[who]/1000, 100*sums[who]/total)
	}
	return b.String()
}

// worth is what a line of its own is worth, in microseconds: half of a tenth of a
// millisecond. Shorter pieces that follow each other are one line.
const worth = 50

// steps lists the pieces in their order.
func steps(pieces []piece) string {
	var b strings.Builder
	b.WriteString("\nWhat the end waits for, in its order:\n\n| at ms | ms | who | at what |\n|---:|---:|---|---|\n")
	line := func(from, to float64, who, what string) {
		fmt.Fprintf(&b, "| %.2f | %.2f | %s | %s |\n", from/1000, (to-from)/1000, who, what)
	}
	for i := 0; i < len(pieces); {
		p := pieces[i]
		if p.to-p.from >= worth {
			line(p.from, p.to, p.who, p.what)
			i++
			continue
		}
		j, names := i, []string{}
		for j < len(pieces) && pieces[j].who == p.who && pieces[j].to-pieces[j].from < worth {
			if !slices.Contains(names, pieces[j].what) {
				names = append(names, pieces[j].what)
			}
			j++
		}
		line(p.from, pieces[j-1].to, p.who, strings.Join(names, "; "))
		i = j
	}
	return b.String()
}

// all lists every span of the run, with the median of all runs beside it.
func all(t *run, middle map[string]float64) string {
	var b strings.Builder
	b.WriteString("\n<details><summary>Every span</summary>\n\n| at ms | ms | median | who | |\n|---:|---:|---:|---|---|\n")
	for _, s := range numbered(t.spans) {
		name := strings.Repeat("· ", s.depth) + s.name
		switch {
		case s.waits:
			name += " (waits)"
		case s.lane != 0:
			name += " (beside)"
		}
		fmt.Fprintf(&b, "| %.2f | %.2f | %.2f | %s | %s |\n", s.from/1000, (s.to-s.from)/1000, middle[s.key]/1000, s.process, name)
	}
	b.WriteString("\n</details>\n")
	return b.String()
}
