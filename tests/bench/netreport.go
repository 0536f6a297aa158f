package main

import (
	"fmt"
	"strings"
)

// path finds one that was measured, nil when it was not.
func (r *report) path(kind, tool, network string) *path {
	for _, p := range r.paths {
		if p.kind == kind && p.tool == tool && p.network == network && len(p.looks) > 0 {
			return p
		}
	}
	return nil
}

// network writes a table for each kind of path, and the ratios that rc is held to.
func (r *report) network(b *strings.Builder) {
	if len(r.paths) == 0 {
		return
	}
	fmt.Fprintf(b, "\n## Network, %d rounds\n\nMedians; one stream of %v each way, %v of one byte there and back, %v of connections, 8 at a time.\n"+
		"CPU: of the user's processes, client and server included, for each GiB moved.\n", r.o.rounds, r.o.each, r.o.each, r.o.each)
	for _, kind := range []string{between, out, in} {
		fmt.Fprintf(b, "\n### %s\n\n| path | send Gbit/s | receive Gbit/s | connections/s | round trip µs | CPU s/GiB |\n|---|---:|---:|---:|---:|---:|\n", kind)
		for _, p := range r.paths {
			if p.kind == kind && len(p.looks) > 0 {
				fmt.Fprintf(b, "| %s | %.1f | %.1f | %.0f | %.0f | %.2f |\n", p.name,
					p.median(sending), p.median(receiving), p.median(connecting), p.median(returning), p.median(processing))
			}
		}
	}
	b.WriteString("\n### Ratios of medians: above 1, rc is better\n\n| rc's bridge to | send | receive | connections/s | round trip | CPU |\n|---|---:|---:|---:|---:|---:|\n")
	for _, kind := range []string{between, out, in} {
		us := r.path(kind, "rc", "bridge")
		for _, p := range r.paths {
			if us != nil && p != us && p.kind == kind && len(p.looks) > 0 {
				fmt.Fprintf(b, "| %s: %s | %s |\n", strings.ToLower(first(kind)), p.name, strings.Join(ratiosOf(us, p), " | "))
			}
		}
	}
}

// first is a kind in short: Container, Out, In.
func first(kind string) string {
	short, _, _ := strings.Cut(kind, ":")
	return short
}

func ratiosOf(us, them *path) []string {
	var all []string
	for _, figure := range []func(look) float64{sending, receiving, connecting} {
		all = append(all, quotient(us.median(figure), them.median(figure)))
	}
	for _, figure := range []func(look) float64{returning, processing} {
		all = append(all, quotient(them.median(figure), us.median(figure)))
	}
	return all
}

func quotient(a, b float64) string {
	if b == 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f", a/b)
}
