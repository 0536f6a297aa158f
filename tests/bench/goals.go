package main

import (
	"fmt"
	"math"
	"strings"
)

// goal is one thing that rc promises of its figures.
type goal struct {
	what    string
	value   float64
	bound   float64
	least   bool    // value is to be at least bound, else at most
	stretch float64 // 0: none
	unit    string
	known   bool
}

func (g goal) reached(bound float64) bool {
	if g.least {
		return g.value >= bound
	}
	return g.value <= bound
}

func (g goal) verdict() string {
	switch {
	case !g.known:
		return "not measured"
	case g.stretch != 0 && g.reached(g.stretch):
		return "yes, and the further one"
	case g.reached(g.bound):
		return "yes"
	}
	return "**no**"
}

func (g goal) wanted() string {
	sign := "at most"
	if g.least {
		sign = "at least"
	}
	text := fmt.Sprintf("%s %s%s", sign, plain(g.bound), g.unit)
	if g.stretch != 0 {
		text += fmt.Sprintf("; further: %s", plain(g.stretch))
	}
	return text
}

func plain(f float64) string { return strings.TrimSuffix(fmt.Sprintf("%.2f", f), ".00") }

// aims are the promises, with what this run has to say about them.
func (r *report) aims() []goal {
	ratio := func(what string, slow, fast float64, bound, stretch float64, least bool) goal {
		g := goal{what: what, bound: bound, stretch: stretch, least: least, known: slow != 0 && fast != 0}
		if g.known {
			g.value = slow / fast
		}
		return g
	}
	upTo := func(what string, value, bound float64, unit string) goal {
		return goal{what: what, value: value, bound: bound, unit: unit, known: value != 0}
	}
	change := func(what, from, row string) goal {
		base, with := r.get(from, rcTool), r.get(row, rcTool)
		g := goal{what: what, bound: 10, unit: " %", known: base != 0 && with != 0}
		if g.known {
			g.value = math.Abs(with/base-1) * 100
		}
		return g
	}
	start := r.get("start/default", rcTool)
	eight := parallelRow("default", 8)
	all := []goal{
		ratio("one start: podman : rc, default network", r.get("start/default", podmanTool), start, 12, 20, true),
		ratio("one start: rc, default network : bubblewrap", start, r.get("start/none", bwrapTool), 3, 2, false),
		ratio("eight at a time, default network: rc's starts : podman's", r.get(eight, rcTool), r.get(eight, podmanTool), 15, 0, true),
		ratio("`exec`: podman : rc", r.get("exec", podmanTool), r.get("exec", rcTool), 15, 0, true),
		ratio(fmt.Sprintf("`ps -a` of %d: podman : rc", r.o.containers), r.get("ps/many", podmanTool), r.get("ps/many", rcTool), 10, 0, true),
		upTo("helpers' memory of an idle container, default network, of "+fmt.Sprint(r.o.many), r.get("memory/many", rcTool)/1024, 0.75, " MiB"),
		upTo(fmt.Sprintf("the same for all %d", r.o.many), r.get("memory/many/total", rcTool), 0.8*float64(r.o.many), " MiB"),
		change(fmt.Sprintf("a start beside %d images: change", r.o.images), "present/nothing", "present/images"),
		change(fmt.Sprintf("a start beside %d stopped containers: change", r.o.containers), "present/nothing", "present/containers"),
		change(fmt.Sprintf("a start beside %d running containers: change", r.o.many), "running/before", "running/start"),
	}
	if first := r.get("loop", "first"); first != 0 {
		what, value := "last tenth : first tenth", r.get("loop", "last")/first
		if before, after := r.get("loop", bwrapTool+" first"), r.get("loop", bwrapTool+" last"); before != 0 && after != 0 {
			// Not what the machine itself did meanwhile. What rc left in the kernel, which would
			// slow down both, is the next goal's.
			what, value = what+", over the same of bubblewrap", value*before/after
		}
		all = append(all, goal{what: fmt.Sprintf("%.0f starts in a row: %s", r.get("loop", "starts"), what), value: value, bound: 1.1, known: true},
			goal{what: "what they leave behind", value: r.get("loop", "left"), known: true})
	}
	return all
}

// goals writes what was reached. Nothing is written when nothing is known.
func (r *report) goals(b *strings.Builder) {
	known := false
	for _, g := range r.aims() {
		known = known || g.known
	}
	if !known {
		return
	}
	b.WriteString("\n## Goals\n\n| | goal | this run | reached |\n|---|---|---:|---|\n")
	for _, g := range r.aims() {
		if !g.known && r.o.only != "" {
			continue
		}
		value := "–"
		if g.known {
			value = short(g.value) + g.unit
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", g.what, g.wanted(), value, g.verdict())
	}
	b.WriteString("\nWhat is not reached, and why: [floor.md](floor.md).\n")
	r.floor(b)
}

// floor says how far the rates are from the kernel's own, and whether they grow with the
// cores as that one does.
func (r *report) floor(b *strings.Builder) {
	rate := func(network, tool string, width int) float64 { return r.get(parallelRow(network, width), tool) }
	if rate("none", rcTool, 8) == 0 || rate("none", cloneTool, 8) == 0 || rate("default", rcTool, 8) == 0 {
		return
	}
	fmt.Fprintf(b, "\nEight at a time rc starts %s a second with the default network and %s without; the same work without rc, in C, %s, a bare loop of clones %s, bubblewrap %s.\n",
		short(rate("default", rcTool, 8)), short(rate("none", rcTool, 8)), r.entry(parallelRow("none", 8), floorTool), short(rate("none", cloneTool, 8)), short(rate("none", bwrapTool, 8)))
	fmt.Fprintf(b, "From one at a time to eight the rates grow %s times (rc, default), %s (rc, none), %s (the bare loop).\n",
		over(rate("default", rcTool, 8), rate("default", rcTool, 1)), over(rate("none", rcTool, 8), rate("none", rcTool, 1)), over(rate("none", cloneTool, 8), rate("none", cloneTool, 1)))
}
