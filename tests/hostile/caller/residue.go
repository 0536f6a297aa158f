package caller

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"
)

// Process is one of this user's, or of a subordinate id's.
type Process struct {
	PID    int
	Name   string // base name of argv[0]: the role, for rc's programs
	Line   string
	Nested bool // in a PID namespace below ours: a payload or its init
	Init   bool // PID 1 of such a namespace
	Zombie bool
}

// PIDs lists whoever is in /proc now, of any user.
func PIDs() map[int]bool {
	out := map[int]bool{}
	f, err := os.Open("/proc")
	if err != nil {
		return out
	}
	defer f.Close()
	names, _ := f.Readdirnames(-1)
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			out[pid] = true
		}
	}
	return out
}

// Look reads one process; false when it is gone or another user's. Its status is
// read, not the owner of its folder: what cannot be traced belongs to root in
// /proc (proc(5)).
func Look(pid int) (Process, bool) {
	p := Process{PID: pid}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return p, false
	}
	mine := false
	for _, line := range strings.Split(string(status), "\n") {
		f := strings.Fields(line)
		switch {
		case len(f) > 2 && f[0] == "NSpid:":
			p.Nested, p.Init = true, len(f) == 3 && f[2] == "1"
		case len(f) > 1 && f[0] == "Uid:":
			uid, _ := strconv.Atoi(f[1])
			mine = uid == os.Getuid() || subordinate(uid)
		case len(f) > 1 && f[0] == "State:":
			p.Zombie = f[1] == "Z" || f[1] == "X"
		case len(f) > 1 && f[0] == "Name:":
			p.Name = f[1]
		}
	}
	line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	p.Line = string(bytes.TrimSpace(bytes.ReplaceAll(line, []byte{0}, []byte{' '})))
	if first, _, _ := strings.Cut(p.Line, " "); first != "" {
		p.Name = filepath.Base(first)
	}
	return p, mine
}

// Field reads a number of /proc/PID/status, which shows it of every process; 0 where
// there is none.
func Field(pid int, name string) int {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			n, _ := strconv.Atoi(strings.Fields(rest)[0])
			return n
		}
	}
	return 0
}

// ranges of this user in /etc/subuid, by name or by id (subuid(5)).
var ranges = func() (out [][2]int) {
	data, _ := os.ReadFile("/etc/subuid")
	for _, line := range strings.Split(string(data), "\n") {
		f := strings.Split(line, ":")
		if len(f) == 3 && (f[0] == os.Getenv("USER") || f[0] == strconv.Itoa(os.Getuid())) {
			first, _ := strconv.Atoi(f[1])
			n, _ := strconv.Atoi(f[2])
			out = append(out, [2]int{first, first + n})
		}
	}
	return out
}()

func subordinate(uid int) bool {
	for _, r := range ranges {
		if uid >= r[0] && uid < r[1] {
			return true
		}
	}
	return false
}

// Ours lists the caller's processes: rc's, and containers'.
func (c *Caller) Ours() []Process { return c.OursBut(nil) }

// OursBut leaves out some pids, which makes it quick.
func (c *Caller) OursBut(these map[int]bool) []Process {
	var out []Process
	for pid := range PIDs() {
		if c.before[pid] || these[pid] || pid == os.Getpid() {
			continue
		}
		if p, ok := Look(pid); ok && !p.Zombie {
			out = append(out, p)
		}
	}
	return out
}

// Residue is what a caller without containers should not have: processes, mounts,
// cgroups, files of state. It looks until nothing is left, or for so long. The
// keeper stays 5 s after its last container.
func (c *Caller) Residue(patience time.Duration, keeperMayLive bool) []string {
	var left []string
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		left = c.residue(keeperMayLive)
		if len(left) == 0 || time.Now().After(end) {
			return left
		}
	}
}

func (c *Caller) residue(keeperMayLive bool) []string {
	var left []string
	for _, p := range c.Ours() {
		if keeperMayLive && (p.Name == "rc-net" || p.Name == "slirp4netns" && ofKeeper(p)) {
			continue
		}
		left = append(left, fmt.Sprintf("process %d %s nested=%v %.100s", p.PID, p.Name, p.Nested, p.Line))
	}
	for _, pattern := range []string{"containers/*", "container-names/*", "trash/*", "images/*/users/*", "volumes/*", "storage/tmp/*"} {
		found, _ := filepath.Glob(filepath.Join(c.Root, pattern))
		left = append(left, found...)
	}
	found, _ := filepath.Glob(filepath.Join(c.Run, "rc-*/c/*"))
	left = append(left, found...)
	if !keeperMayLive { // the next keeper clears what a killed one left
		found, _ = filepath.Glob(filepath.Join(c.Run, "rc-*/net-*"))
		left = append(left, found...)
	}
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	for _, line := range strings.Split(string(mounts), "\n") {
		if strings.Contains(line, c.Dir) {
			left = append(left, "mount "+line)
		}
	}
	left = append(left, Cgroups()...)
	sort.Strings(left)
	return left
}

// OfKeeper tells whether a slirp4netns, of which these are /proc/PID/status and the
// words of its command line, is the one of all bridge networks, which lives as long as
// the keeper: a child of the keeper's, for the namespace of a thread of the keeper's,
// which is the last word but one. One without a command line has only just been forked,
// or is on its way out: when its keeper has ended the kernel takes up to 2 s to close
// its tap (rcu_barrier in netdev_run_todo).
func OfKeeper(status []byte, command string) bool {
	if command == "" {
		return true
	}
	isKeeper := func(pid string) bool {
		line, _ := os.ReadFile(filepath.Join("/proc", pid, "cmdline"))
		return strings.HasPrefix(string(line), "rc-net")
	}
	_, rest, _ := strings.Cut(string(status), "\nPPid:\t")
	parent, _, _ := strings.Cut(rest, "\n")
	words := strings.Fields(command)
	return isKeeper(parent) && (len(words) < 2 || isKeeper(words[len(words)-2]))
}

func ofKeeper(p Process) bool {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID))
	return OfKeeper(status, p.Line)
}

// Cgroups lists the groups of containers in the subtree that this process is in.
func Cgroups() []string {
	var out []string
	data, _ := os.ReadFile("/proc/self/cgroup")
	for _, line := range strings.Split(string(data), "\n") {
		path, ok := strings.CutPrefix(line, "0::")
		if !ok || path == "/" {
			continue
		}
		top := path
		if parent := filepath.Dir(path); parent != "/" {
			top = parent // the subtree, when we stand in a leaf of it
		}
		_ = filepath.WalkDir(filepath.Join("/sys/fs/cgroup", top), func(p string, d fs.DirEntry, err error) error {
			// rc-host is where rc itself stands; it stays.
			if err == nil && d.IsDir() && len(d.Name()) > 64 && strings.HasPrefix(d.Name(), "rc-") {
				out = append(out, "cgroup "+p)
			}
			return nil
		})
	}
	return out
}

// Undelegated says why there is no cgroup v2 subtree of the caller's, "" if there is.
func Undelegated() string {
	data, _ := os.ReadFile("/proc/self/cgroup")
	for line := range strings.Lines(string(data)) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			probe := filepath.Join("/sys/fs/cgroup", path, "caller-probe")
			if err := os.Mkdir(probe, 0o755); err != nil {
				return "needs a delegated cgroup v2 subtree (tests/rig/cgroup2-exec makes one): " + err.Error()
			}
			_ = os.Remove(probe)
			return ""
		}
	}
	return "needs cgroup v2"
}
