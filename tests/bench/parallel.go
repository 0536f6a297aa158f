package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// widths are how many starts there are at a time.
var widths = []int{1, 2, 8, 32}

func parallelRow(network string, width int) string {
	return fmt.Sprintf("parallel/%s/%d", network, width)
}

func parallelRows() (all []string) {
	for _, network := range []string{"default", "none"} {
		for _, width := range widths {
			all = append(all, parallelRow(network, width))
		}
	}
	return all
}

// lane is what is started side by side.
type lane struct {
	tool, network string
	args          []string // of tests/bench/repeat, after the duration
	flags         []string // and before it
	ready         func() error
	starts        map[int]int
	took          map[int]time.Duration
}

func (w *world) lanes() []*lane {
	var all []*lane
	for _, t := range []tool{w.rcIn("store"), w.podmanIn("store", "crun"), w.docker()} {
		ready := func() error { return errors.Join(w.ready(t), w.hold(t)()) }
		all = append(all, &lane{tool: t.name, network: "default", args: t.line("run", "--rm", image, "true"), ready: ready})
		all = append(all, &lane{tool: t.name, network: "none", args: t.line("run", "--rm", "--network", "none", image, "true"), ready: ready})
	}
	return append(all,
		&lane{tool: bwrapTool, network: "none", args: w.bwrap("true")},
		&lane{tool: floorTool, network: "none", args: []string{"floor", w.o.dir + "/floor-store", w.o.dir + "/rootfs", "/bin/busybox", "true"}},
		&lane{tool: cloneTool, network: "none", flags: []string{"-clone"}, args: []string{w.o.dir + "/rootfs/bin/busybox", "true"}})
}

// sideBySide counts starts a second at every width, the tools in turns, twice; slow ones once.
func (w *world) sideBySide(r *report) error {
	var live []*lane
	for _, l := range w.lanes() {
		if !slices.ContainsFunc(widths, func(n int) bool { return w.chosen(parallelRow(l.network, n) + "/" + l.tool) }) {
			continue
		}
		l.starts, l.took = map[int]int{}, map[int]time.Duration{}
		if l.ready != nil {
			if err := l.ready(); err != nil {
				r.breaks("parallel/"+l.network+"/"+l.tool, err)
				continue
			}
		}
		live = append(live, l)
	}
	defer w.endAnchors()
	for turn := range 2 {
		for _, width := range widths {
			w.say("starts %d at a time, turn %d of 2", width, turn+1)
			for _, l := range live {
				// One turn of those of which the last few starts alone take seconds.
				slow := l.tool == podmanTool || l.tool == dockerTool
				if w.late() || slow && turn > 0 || !w.chosen(parallelRow(l.network, width)+"/"+l.tool) {
					continue
				}
				if err := w.abreast(l, width); err != nil {
					r.breaks(fmt.Sprintf("%s/%s", parallelRow(l.network, width), l.tool), err)
				}
				time.Sleep(longPause)
			}
		}
		slices.Reverse(live)
	}
	for _, l := range live {
		for width, took := range l.took {
			r.set(parallelRow(l.network, width), l.tool, float64(l.starts[width])/took.Seconds())
		}
	}
	return nil
}

// abreast runs that many repeaters of a lane; starts that failed are an error, and do not
// count.
func (w *world) abreast(l *lane, width int) error {
	args := append(append([]string{"repeat"}, l.flags...), w.o.slot.String())
	args = append(args, l.args...)
	out := make([]string, width)
	errs := make([]error, width)
	begin := time.Now()
	done := make(chan int)
	for i := range width {
		go func() { out[i], errs[i] = w.said(args); done <- i }()
	}
	for range width {
		<-done
	}
	took := time.Since(begin)
	starts, failed, failure := 0, 0, ""
	for i, text := range out {
		var one struct {
			Starts, Failed int
			Failure        string
		}
		if errs[i] == nil {
			errs[i] = json.Unmarshal([]byte(text), &one)
		}
		starts, failed = starts+one.Starts, failed+one.Failed
		if one.Failure != "" {
			failure = one.Failure
		}
	}
	l.starts[width] += starts
	l.took[width] += took
	if failed > 0 {
		return errors.Join(append(errs, fmt.Errorf("%d of %d starts failed, the last: %s", failed, failed+starts, failure))...)
	}
	return errors.Join(errs...)
}

// inARow starts rc many times, one after the other: the last tenth should be as fast as
// the first, and nothing be left. Then it measures the first start after a pause.
func (w *world) inARow(r *report) error {
	t := w.rcIn("store")
	if err := errors.Join(w.ready(t), w.hold(t)()); err != nil {
		return err
	}
	defer w.endAnchors()
	if w.chosen("loop/rc") {
		if err := w.loop(r, t.line("run", "--rm", image, "true")); err != nil {
			return err
		}
	}
	if !w.chosen("cold/rc") {
		return nil
	}
	w.endAnchors()
	c := &cell{row: "cold", tool: rcTool, args: t.line("run", "--rm", image, "true")}
	for range min(3, w.o.runs) {
		if err := w.endKeepers(); err != nil {
			return err
		}
		w.attempt(r, c)
	}
	r.add(c)
	return nil
}

// besideEach is how many starts of the loop are followed by one of bubblewrap's.
const besideEach = 5

// loop starts one container after the other, and compares the last tenth with the first.
func (w *world) loop(r *report, args []string) error {
	if _, err := w.timed(args); err != nil {
		return err
	}
	before := w.inventory()
	times := make([]time.Duration, 0, w.o.loop)
	var beside []time.Duration
	for i := range w.o.loop {
		if i%250 == 0 {
			w.say("start %d of %d", i, w.o.loop)
		}
		took, err := w.timed(args)
		if err != nil {
			return fmt.Errorf("start %d of %d: %w", i+1, w.o.loop, err)
		}
		times = append(times, took)
		// What the machine does in these minutes: it has slowed bubblewrap down as well.
		if i%besideEach == 0 {
			if took, err := w.timed(w.bwrap("true")); err == nil {
				beside = append(beside, took)
			}
		}
		if w.late() {
			r.note("loop", fmt.Sprintf("ended after %d starts: out of time", i+1))
			break
		}
	}
	r.set("loop", "starts", float64(len(times)))
	for tool, times := range map[string][]time.Duration{"": times, bwrapTool + " ": beside} {
		tenth := (len(times) + 9) / 10
		r.set("loop", tool+"first", millis(median(times[:tenth])))
		r.set("loop", tool+"last", millis(median(times[len(times)-tenth:])))
	}
	// What the kernel and the last container's shim still have to do.
	var left []string
	_ = wait("an end", func() bool { left = before.lacks(w.inventory()); return len(left) == 0 })
	r.set("loop", "left", float64(len(left)))
	if len(left) > 0 {
		r.note("loop", "left: "+strings.Join(left, ", "))
	}
	return nil
}

// inventory counts what a start could leave behind.
type inventory map[string]int

func (w *world) inventory() inventory {
	n := inventory{}
	spaces := map[string]bool{}
	for pid, name := range w.processes() {
		n["process "+name]++
		links, _ := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/ns/*")
		for _, link := range links {
			if to, err := os.Readlink(link); err == nil {
				spaces[to] = true
			}
		}
		if name == "rc-net" {
			text, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/mountinfo")
			n["mounts of the keeper"] += strings.Count(string(text), "\n")
		}
	}
	n["namespaces"] = len(spaces)
	text, _ := os.ReadFile("/proc/self/mountinfo")
	n["mounts"] = strings.Count(string(text), "\n")
	for what, root := range map[string]string{"files in the store": w.rcStore("store"), "files in the runtime folder": w.run} {
		n[what] = entriesBelow(root)
	}
	if w.group != nil {
		n["cgroups"] = foldersBelow(filepath.Dir(w.group.Name()))
	}
	return n
}

// lacks lists what there is more of in another one.
func (n inventory) lacks(later inventory) (more []string) {
	for what, count := range later {
		if count > n[what] {
			more = append(more, fmt.Sprintf("%d %s (before: %d)", count, what, n[what]))
		}
	}
	slices.Sort(more)
	return more
}

func entriesBelow(root string) (n int) {
	_ = filepath.WalkDir(root, func(string, os.DirEntry, error) error { n++; return nil })
	return n
}

func foldersBelow(root string) (n int) {
	_ = filepath.WalkDir(root, func(_ string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			n++
		}
		return nil
	})
	return n
}
