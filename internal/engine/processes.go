package engine

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/rc-containers/rc/cgroup"
)

// process is what proc_pid_stat(5) says of one process.
type process struct {
	pid, parent int
	ticks       uint64 // utime and stime, and those of children that were waited for; USER_HZ
	threads     uint64
}

// parseStat reads /proc/PID/stat. The name may hold anything, so the last ")" ends it.
func parseStat(pid int, text string) (p process, ok bool) {
	end := strings.LastIndex(text, ") ")
	if end < 0 {
		return p, false
	}
	f := strings.Fields(text[end+2:]) // f[0] is field 3, the state
	if len(f) < 18 {
		return p, false
	}
	number := func(field int) uint64 {
		n, _ := strconv.ParseUint(f[field-3], 10, 64)
		return n
	}
	p = process{pid: pid, parent: int(number(4)), threads: number(20)}
	for field := 14; field <= 17; field++ { // utime stime cutime cstime
		p.ticks += number(field)
	}
	return p, f[0] != "Z" && f[0] != "X"
}

// processTable is /proc at one moment, for any number of containers.
type processTable struct {
	all   map[int]process
	space map[int]string // mount namespace, where we may know it
}

func readProcesses() (*processTable, error) {
	names, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	t := &processTable{map[int]process{}, map[int]string{}}
	for _, n := range names {
		pid, err := strconv.Atoi(n.Name())
		if err != nil {
			continue
		}
		text, err := os.ReadFile("/proc/" + n.Name() + "/stat")
		if err != nil {
			continue // it ended
		}
		if p, ok := parseStat(pid, string(text)); ok {
			t.all[pid] = p
			// ptrace(2), "Ptrace access mode checking": we own the user namespace that
			// the container's lies in, so its processes of any uid are readable.
			t.space[pid], _ = os.Readlink("/proc/" + n.Name() + "/ns/mnt")
		}
	}
	return t, nil
}

// below are the processes that share init's mount namespace, which every container
// has of its own (with --pid=host and --pid=container:X, too), and all that descend
// from one of them: a payload may make namespaces. Of `rc exec`, whose parent is
// the shim, the first finds the process.
func (t *processTable) below(init int) []process {
	in := map[int]bool{}
	space := t.space[init]
	for pid := range t.all {
		in[pid] = pid == init || space != "" && t.space[pid] == space
	}
	var inside func(pid, depth int) bool
	inside = func(pid, depth int) bool {
		p, ok := t.all[pid]
		if !ok || depth > 1000 { // a pid that was used again while we read could make a ring
			return false
		}
		if !in[pid] && inside(p.parent, depth+1) {
			in[pid] = true
		}
		return in[pid]
	}
	var list []process
	for pid, p := range t.all {
		if inside(pid, 0) {
			list = append(list, p)
		}
	}
	slices.SortFunc(list, func(a, b process) int { return a.pid - b.pid })
	return list
}

// of are the processes of a running container: by its cgroup, which no process
// leaves, or without one as below.
func (t *processTable) of(c *Entry) []process {
	if c.State.Cgroup == "" {
		return t.below(c.State.PID)
	}
	pids, err := cgroup.Open(c.State.Cgroup).Processes()
	if errors.Is(err, fs.ErrNotExist) {
		return t.below(c.State.PID)
	}
	var list []process
	for _, pid := range pids {
		if p, ok := t.all[pid]; ok {
			list = append(list, p)
		}
	}
	return list
}

// PIDs are the processes of a running container, as the host numbers them.
func (e *Engine) PIDs(c *Entry) ([]int, error) {
	t, err := readProcesses()
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, p := range t.of(c) {
		pids = append(pids, p.pid)
	}
	return pids, nil
}
