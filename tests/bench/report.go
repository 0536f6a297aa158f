package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"sort"
	"strings"
	"syscall"
	"time"
)

// row is one subject with what was measured.
type row struct {
	*subject
	times   []time.Duration
	rate    float64 // starts a second, eight at a time
	failed  int
	failure string
	pss     map[string]int // KiB of all processes of a name
	started time.Duration  // of one of the idle containers, mean
	listed  []time.Duration
	stopped time.Duration // all of them by one command
	count   map[string]int
}

type report struct {
	o      options
	host   string
	rows   []*row
	paths  []*path
	broken []string
}

func (r *row) median() time.Duration {
	t := slices.Clone(r.times)
	slices.Sort(t)
	switch n := len(t); {
	case n == 0:
		return 0
	case n%2 == 1:
		return t[n/2]
	default:
		return (t[n/2-1] + t[n/2]) / 2
	}
}

func (r *row) min() time.Duration {
	if len(r.times) == 0 {
		return 0
	}
	return slices.Min(r.times)
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d.Microseconds())/1000) }

// find gives the row of a tool and network, nil when it was not measured.
func (r *report) find(tool, network string) *row {
	for _, row := range r.rows {
		if row.tool == tool && row.network == network {
			return row
		}
	}
	return nil
}

func (r *report) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Benchmarks\n\nMade by `make bench`: `tests/bench/run -n %d -starts %d -width %d -idle %d`.\n\n%s\n\n", r.o.runs, r.o.starts, r.o.width, r.o.idle, r.host)
	b.WriteString("The same busybox root file system and the same user everywhere, every command once in each round,\n")
	b.WriteString("the image local. Compare ratios, not milliseconds.\n\n")
	if len(r.rows) > 0 {
		r.starts(&b)
		r.ratios(&b)
		r.parallel(&b)
		r.memory(&b)
	}
	r.network(&b)
	if len(r.broken) > 0 {
		b.WriteString("\n## Not measured\n\n")
		for _, line := range r.broken {
			fmt.Fprintf(&b, "- %s\n", strings.ReplaceAll(line, "\n", " "))
		}
	}
	return b.String()
}

func (r *report) starts(b *strings.Builder) {
	fmt.Fprintf(b, "## One start (`… true`), %d rounds\n\n| command | network | median ms | minimum ms |\n|---|---|---:|---:|\n", r.o.runs)
	for _, row := range r.rows {
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", row.name, row.network, ms(row.median()), ms(row.min()))
	}
}

func (r *report) ratios(b *strings.Builder) {
	b.WriteString("\n| ratio of medians | |\n|---|---:|\n")
	line := func(what string, slow, fast *row) {
		if slow != nil && fast != nil && fast.median() > 0 {
			fmt.Fprintf(b, "| %s | %.1f |\n", what, float64(slow.median())/float64(fast.median()))
		}
	}
	line("podman : rc, default network", r.find("podman", "default"), r.find("rc", "default"))
	line("podman : rc, no network", r.find("podman", "none"), r.find("rc", "none"))
	line("rc, default network : bwrap", r.find("rc", "default"), r.find("bwrap", "none"))
	line("rc, no network : bwrap", r.find("rc", "none"), r.find("bwrap", "none"))
	if with, without := r.find("rc", "default"), r.find("rc", "none"); with != nil && without != nil {
		fmt.Fprintf(b, "\nThe default network costs a start of rc %s ms: default less none.\n", ms(with.median()-without.median()))
	}
}

func (r *report) parallel(b *strings.Builder) {
	fmt.Fprintf(b, "\n## %d starts, %d at a time\n\n| command | network | starts a second | failed |\n|---|---|---:|---:|\n", r.o.starts, r.o.width)
	var said []string
	for _, row := range r.rows {
		if row.rate > 0 || row.failed > 0 {
			fmt.Fprintf(b, "| %s | %s | %.0f | %d |\n", row.name, row.network, row.rate, row.failed)
		}
		if row.failed > 0 {
			said = append(said, fmt.Sprintf("\nThe last failure of %s (%s): %s\n", row.name, row.network, strings.ReplaceAll(row.failure, "\n", " ")))
		}
	}
	b.WriteString(strings.Join(said, ""))
}

func (r *report) memory(b *strings.Builder) {
	fmt.Fprintf(b, "\n## Memory beside the payload, per idle container (PSS, KiB; %d containers)\n\n| command | network | helpers | of which | start ms, each | ps -q ms, median of 5 | stop of all ms |\n|---|---|---:|---|---:|---:|---:|\n", r.o.idle)
	for _, row := range r.rows {
		if len(row.pss) == 0 {
			continue
		}
		total := 0
		var names []string
		for name := range row.pss {
			names = append(names, name)
		}
		sort.Strings(names)
		var parts []string
		for _, name := range names {
			total += row.pss[name]
			parts = append(parts, fmt.Sprintf("%d × %s %d", row.count[name], name, row.pss[name]/row.count[name]))
		}
		listed := time.Duration(0)
		if slices.Sort(row.listed); len(row.listed) > 0 {
			listed = row.listed[len(row.listed)/2]
		}
		fmt.Fprintf(b, "| %s -d | %s | %d | %s | %s | %s | %s |\n", row.name, row.network, total/r.o.idle, strings.Join(parts, ", "),
			ms(row.started), ms(listed), ms(row.stopped))
	}
	b.WriteString("\nWhat serves all containers (a keeper, a pause process) is divided among them.\n")
}

// describe names the machine and the versions.
func describe(w *world) string {
	var u syscall.Utsname
	_ = syscall.Uname(&u)
	load, _ := os.ReadFile("/proc/loadavg")
	one, _, _ := strings.Cut(string(load), " ")
	where := "directly on the host"
	if w.group != nil {
		where = "in a delegated cgroup v2 subtree (tests/rig/cgroup2-exec)"
	}
	lines := []string{fmt.Sprintf("Machine: %d cores, %s, Linux %s, load %s before; %s, %s.", runtime.NumCPU(), runtime.GOARCH, cstring(u.Release[:]), one, where, time.Now().UTC().Format("2006-01-02"))}
	var versions []string
	for _, args := range [][]string{{"rc", "version"}, {"podman", "--version"}, {"crun", "--version"}, {"slirp4netns", "--version"}, {"bwrap", "--version"}} {
		versions = append(versions, firstLine(w.command(args...)))
	}
	return strings.Join(append(lines, "Versions: "+strings.Join(versions, "; ")+"."), "\n")
}

func firstLine(cmd *exec.Cmd) string {
	out, err := cmd.CombinedOutput()
	line, _, _ := strings.Cut(string(out), "\n")
	if err != nil && line == "" {
		return cmd.Args[0] + " not there"
	}
	return strings.TrimSpace(line)
}

func cstring(b []int8) string {
	var s []byte
	for _, c := range b {
		if c == 0 {
			break
		}
		s = append(s, byte(c))
	}
	return string(s)
}
