package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// idlers are containers that do nothing, of one tool on one network.
type idlers struct {
	row     string
	tool    tool
	network string // "": the tool's default
	number  int
}

// weight is what stood beside them.
type weight struct {
	idlers
	kib, count map[string]int // by the process's name
	started    time.Duration  // of one, mean
	stopped    time.Duration  // of all, by one command; 0: not measured
}

// total is in MiB.
func (g weight) total() float64 {
	sum := 0
	for _, kib := range g.kib {
		sum += kib
	}
	return float64(sum) / 1024
}

// weighAll weighs what stands beside idle containers, one tool after the other.
func (w *world) weighAll(r *report) error {
	rc, podman, docker := w.rcIn("store"), w.podmanIn("store", "crun"), w.docker()
	for _, d := range []idlers{
		{"memory/default", rc, "", w.o.idle}, {"memory/default", podman, "", w.o.idle}, {"memory/default", docker, "", w.o.idle},
		{"memory/bridge", podman, "bridge", w.o.idle},
		{"memory/none", rc, "none", w.o.idle}, {"memory/none", podman, "none", w.o.idle},
		{"memory/many", rc, "", w.o.many},
	} {
		name := d.row + "/" + d.tool.name
		if !w.chosen(name) || w.late() {
			continue
		}
		w.say("%d idle containers: %s", d.number, name)
		if err := w.ready(d.tool); err != nil {
			r.breaks(name, err)
			continue
		}
		g, err := w.weigh(r, d)
		if err != nil {
			r.breaks(name, err)
			continue
		}
		r.weights = append(r.weights, g)
		r.set(d.row, d.tool.name, g.total()*1024/float64(d.number))
		r.set(d.row+"/total", d.tool.name, g.total())
	}
	return nil
}

// weigh starts idle containers in the background and adds up what stands beside
// their payloads: proportional set size, in which a page shared by n processes
// counts 1/n.
func (w *world) weigh(r *report, d idlers) (g *weight, err error) {
	if d.tool.name == rcTool {
		// So that the keeper and its slirp4netns are among those that come.
		if err := w.endKeepers(); err != nil {
			return nil, err
		}
	}
	before := w.processes()
	defer w.end(before)
	g = &weight{idlers: d}
	args := d.tool.line("run", "--rm", "-d")
	if d.network != "" {
		args = append(args, "--network", d.network)
	}
	args = append(args, image, "sleep", "1000")
	many, start := d.row == "memory/many", d.tool.line("run", "--rm", image, "true")
	if many {
		w.looks(r, "running/before", start, 1)
	}
	begin := time.Now()
	for range d.number {
		if _, err := w.timed(args); err != nil {
			return nil, err
		}
	}
	g.started = time.Since(begin) / time.Duration(d.number)
	// On a busy machine run -d of some tools is over before the payload's execve is.
	if err := wait("containers that run", func() bool { return len(w.payloads(before)) >= d.number }); err != nil {
		return nil, fmt.Errorf("%d of %d containers run: %w", len(w.payloads(before)), d.number, err)
	}
	if d.tool.name == rcTool {
		time.Sleep(w.o.settle) // its helpers park when nothing happens; others have no such state
	} else {
		time.Sleep(min(w.o.settle, 2*time.Second))
	}
	if err := w.addUp(g, before); err != nil {
		return nil, err
	}
	if many {
		w.looks(r, "running/start", start, 2)
		w.looks(r, "running/ps", d.tool.line("ps"), 1)
	}
	if d.tool.name != dockerTool { // it has no --all
		g.stopped, err = w.timed(d.tool.line("stop", "-t", "0", "--all"))
	}
	if many {
		// The time without them lies on both sides of the time with them: what else the
		// machine does, and does more of from minute to minute, is in both.
		time.Sleep(min(w.o.settle, 2*time.Second)) // the kernel takes their namespaces apart
		w.looks(r, "running/before", start, 1)
	}
	return g, err
}

// looks measures one command of rc's a few times, and a start in turns with
// bubblewrap's, which holds what the kernel itself takes longer for beside many
// processes. A row may come again: the times are added to what it has.
func (w *world) looks(r *report, row string, args []string, times int) {
	cells := []*cell{r.again(&cell{row: row, tool: rcTool, args: args})}
	if row != "running/ps" {
		cells = append(cells, r.again(&cell{row: row, tool: bwrapTool, args: w.bwrap("true")}))
	}
	for _, c := range cells {
		_, _ = w.once(c) // caches and the keeper; the next one says what is wrong
	}
	for range min(15, w.o.runs) * times {
		for _, c := range cells {
			w.attempt(r, c)
		}
	}
	for _, c := range cells {
		r.add(c)
	}
}

// addUp adds up the helpers by name.
func (w *world) addUp(g *weight, before map[int]string) error {
	g.kib, g.count = map[string]int{}, map[string]int{}
	for pid, name := range w.processes() {
		if _, old := before[pid]; isPayload(pid) || (old && !w.shared(g.tool.name, pid, name)) {
			continue
		}
		kib, err := pss(pid)
		if errors.Is(err, os.ErrPermission) {
			return errors.New("the helpers hide their memory from their own user: run as root")
		}
		if err != nil {
			continue // gone meanwhile
		}
		g.kib[name] += kib
		g.count[name]++
	}
	return nil
}

// shared tells whether a process that was there before the containers serves
// the tool's containers all the same: podman's pause process, Docker's daemons.
func (w *world) shared(tool string, pid int, name string) bool {
	switch tool {
	case podmanTool:
		return name == "podman" || name == "podman pause" || name == "catatonit"
	case dockerTool:
		return w.dockerd != nil && w.dockerd.Process != nil && descends(pid, w.dockerd.Process.Pid)
	}
	return false
}

// descends tells whether a process is another one or below it.
func descends(pid, ancestor int) bool {
	for ; pid > 1; pid = parent(pid) {
		if pid == ancestor {
			return true
		}
	}
	return false
}

// parent is field 4 of /proc/PID/stat (proc_pid_stat(5)), 0 when the process is gone.
func parent(pid int) int {
	text, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	f := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(f) < 2 {
		return 0
	}
	n, _ := strconv.Atoi(f[1])
	return n
}

// end ends the containers from within, which every tool notices, and waits for what
// stood beside them.
func (w *world) end(before map[int]string) {
	w.killPayloads(before)
	_ = wait("the helpers' end", func() bool {
		for pid, name := range w.processes() {
			if _, old := before[pid]; !old && name != "rc-net" && name != "slirp4netns" && !w.shared(podmanTool, pid, name) {
				return false
			}
		}
		return true
	})
}

// processes lists the user's processes by name.
func (w *world) processes() map[int]string {
	found := map[int]string{}
	paths, _ := filepath.Glob("/proc/[0-9]*")
	for _, path := range paths {
		st, err := os.Stat(path)
		pid, _ := strconv.Atoi(filepath.Base(path))
		if err != nil || pid == os.Getpid() {
			continue
		}
		// A non-dumpable process's folder belongs to root (proc(5)); its status tells.
		if st.Sys().(*syscall.Stat_t).Uid != w.uid && statusUID(path) != w.uid {
			continue
		}
		if name := nameOf(path); name != "" {
			found[pid] = name
		}
	}
	return found
}

// nameOf is a process's name; what was started through /proc/self/exe is called
// "exe", and its first argument tells more.
func nameOf(path string) string {
	text, _ := os.ReadFile(path + "/comm")
	name := strings.TrimSpace(string(text))
	if name == "exe" {
		args, _ := os.ReadFile(path + "/cmdline")
		first, _, _ := strings.Cut(string(args), "\x00")
		first, _, _ = strings.Cut(first, " ")
		name = filepath.Base(first)
	}
	return name
}

func statusUID(path string) uint32 {
	text, _ := os.ReadFile(path + "/status")
	_, rest, _ := strings.Cut(string(text), "\nUid:\t")
	word, _, _ := strings.Cut(rest, "\t")
	uid, err := strconv.ParseUint(word, 10, 32)
	if err != nil {
		return ^uint32(0)
	}
	return uint32(uid)
}

// isPayload knows what runs in the containers by what we told them to run.
func isPayload(pid int) bool {
	text, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	return string(text) == "sleep\x001000\x00" || string(text) == "sleep\x003600\x00" || strings.HasPrefix(string(text), mounted+"\x00")
}

func (w *world) payloads(before map[int]string) []int {
	var pids []int
	for pid := range w.processes() {
		if _, old := before[pid]; !old && isPayload(pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// killPayloads ends the containers from within, which every tool notices.
func (w *world) killPayloads(before map[int]string) {
	for _, pid := range w.payloads(before) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

func pss(pid int) (kib int, err error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/smaps_rollup")
	if err != nil {
		return 0, err
	}
	return parsePSS(string(text))
}

func parsePSS(text string) (int, error) {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, "Pss:"); ok {
			return strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(rest), " kB"))
		}
	}
	return 0, errors.New("no Pss line")
}
