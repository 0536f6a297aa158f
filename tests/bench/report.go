package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// report is what was measured, and what was not.
type report struct {
	o        options
	host     string
	cells    []*cell
	values   map[string]map[string]float64 // by row, by tool; a row says its unit
	notes    map[string][]string           // by row
	weights  []*weight
	places   []string
	machines []machine
	paths    []*path
	broken   []string
}

func newReport(o options) *report {
	return &report{o: o, values: map[string]map[string]float64{}, notes: map[string][]string{}}
}

// A reason is cut to so many bytes, of which so many are its end.
const longest, tailing = 420, 240

// breaks says why something is not there.
func (r *report) breaks(what string, err error) {
	line := fmt.Sprintf("%s: %v", what, err)
	if r.o.dir != "" {
		line = strings.ReplaceAll(line, r.o.dir, "$DIR")
	}
	if len(line) > longest {
		line = line[:longest-tailing] + " … " + line[len(line)-tailing:] // the end says what was wrong
	}
	fmt.Fprintln(os.Stderr, "bench: not measured:", line)
	r.broken = append(r.broken, line)
}

func (r *report) note(row, text string) { r.notes[row] = append(r.notes[row], text) }

func (r *report) set(row, tool string, value float64) {
	if r.values[row] == nil {
		r.values[row] = map[string]float64{}
	}
	r.values[row][tool] = value
}

// get is a figure, 0 where it was not measured.
func (r *report) get(row, tool string) float64 { return r.values[row][tool] }

// add takes a cell's times over: the median in milliseconds is its figure.
func (r *report) add(c *cell) {
	if len(c.times) > 0 {
		if !slices.Contains(r.cells, c) {
			r.cells = append(r.cells, c)
		}
		r.set(c.row, c.tool, millis(median(c.times)))
	}
}

func (r *report) find(row, tool string) *cell {
	for _, c := range r.cells {
		if c.row == row && c.tool == tool {
			return c
		}
	}
	return nil
}

// again is the cell of the row and tool that is known already, or c.
func (r *report) again(c *cell) *cell {
	if has := r.find(c.row, c.tool); has != nil {
		return has
	}
	return c
}

// median is that of durations or plain numbers, which stay as they are; 0 without any.
func median[T time.Duration | float64](all []T) T {
	t := slices.Sorted(slices.Values(all))
	switch n := len(t); {
	case n == 0:
		return 0
	case n%2 == 1:
		return t[n/2]
	default:
		return (t[n/2-1] + t[n/2]) / 2
	}
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func ms(d time.Duration) string { return short(millis(d)) }

// short is a figure with as many digits as are worth reading.
func short(f float64) string {
	switch {
	case f == 0:
		return "0"
	case f < 10:
		return fmt.Sprintf("%.2f", f)
	case f < 100:
		return fmt.Sprintf("%.1f", f)
	default:
		return fmt.Sprintf("%.0f", f)
	}
}

// over is a ratio; "–" where one of the two is missing.
func over(a, b float64) string {
	if a == 0 || b == 0 {
		return "–"
	}
	return short(a / b)
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
	lines := []string{fmt.Sprintf("Machine: %s (%s), %s, Linux %s, load %s before; %s, %s.", cores(runtime.NumCPU(), online()), processor(), runtime.GOARCH, cstring(u.Release[:]), one, where, time.Now().UTC().Format("2006-01-02"))}
	var versions []string
	for _, args := range [][]string{{"rc", "version"}, {"podman", "--version"}, {"crun", "--version"}, {"runc", "--version"}, {"dockerd", "--version"},
		{"slirp4netns", "--version"}, {"pasta", "--version"}, {"bwrap", "--version"}} {
		versions = append(versions, firstLine(w.command(args...)))
	}
	switch {
	case noJournal(w.o.dir):
		lines = append(lines, "The stores are on an ext4 without a journal: whoever makes a file there passes over those that anybody deleted in the last minute (find_inode_bit). A start of rc is about 2 ms longer for it, and longer still after many ends.")
	case noJournal(w.o.tree):
		lines = append(lines, "This machine's disk is an ext4 without a journal, on which making a file waits for those that others deleted before; the stores of all tools are on an ext4 with one, in a file (tests/bench/run; RC_BENCH_DISK=own measures on the disk itself).")
	}
	return strings.Join(append(lines, "Versions: "+strings.Join(versions, "; ")+"."), "\n")
}

// noJournal tells whether a folder is on an ext4 without a journal. Without one, no
// inode is given out again for a minute or five, and each search for a free one looks
// at all of those in the group: a start of rc, which makes some twenty, takes 2 ms more
// than on an ext4 with a journal on the same disk, and more the more was deleted.
func noJournal(dir string) bool {
	var st syscall.Stat_t
	if syscall.Stat(dir, &st) != nil {
		return false
	}
	device, err := os.Readlink(fmt.Sprintf("/sys/dev/block/%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev)))
	if err != nil {
		return false
	}
	task, err := os.ReadFile("/sys/fs/ext4/" + filepath.Base(device) + "/journal_task")
	return err == nil && strings.TrimSpace(string(task)) == "<none>"
}

// cores says how many of the machine's we may use (sched_setaffinity(2)).
func cores(ours, all int) string {
	text := fmt.Sprintf("%d cores", ours)
	if ours == 1 {
		text = "1 core"
	}
	if ours < all {
		text += fmt.Sprintf(" of its %d", all)
	}
	return text
}

// online counts the machine's processors.
func online() int {
	text, _ := os.ReadFile("/proc/stat")
	return strings.Count(string(text), "\ncpu")
}

func processor() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	_, rest, _ := strings.Cut(string(text), "model name\t: ")
	name, _, _ := strings.Cut(rest, "\n")
	return name
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
