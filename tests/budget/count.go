// Package budget counts what one start and one exec ask of the kernel, and holds it
// against budget.txt: a line for each count, with a ceiling and the reason for what is
// in it. Counts, not times: they say the same on a busy machine, and a regression of
// 0.1 ms that no benchmark shows is a call more here.
//
//	make budget      prints the present counts beside the ceilings
//
// It looks through strace(1), one file a thread, and tells the processes apart by the
// name under which they were executed.
package budget

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// Tally is what the threads of one role did.
type Tally struct {
	Calls   int // system calls, without those of noise
	Execs   int // programs executed
	Forks   int // processes made
	Threads int // threads made
	Opens   int // files opened, or tried to: by path
	Names   int // names made, removed and changed in folders
	Mounts  int // mounts made, moved, changed and removed
	Syncs   int // fsync and its kin
	Bytes   int // written to files that are on a disk or a tmpfs
	Sent    int // messages sent to another process
}

// Counts are the names of a Tally's fields, as budget.txt writes them.
var Counts = []string{"calls", "execs", "forks", "threads", "opens", "names", "mounts", "syncs", "bytes", "sent"}

// Get returns a count by its name.
func (t *Tally) Get(count string) int {
	return map[string]int{"calls": t.Calls, "execs": t.Execs, "forks": t.Forks, "threads": t.Threads, "opens": t.Opens,
		"names": t.Names, "mounts": t.Mounts, "syncs": t.Syncs, "bytes": t.Bytes, "sent": t.Sent}[count]
}

// noise are the calls whose number says how the scheduler happened to run the threads
// of Go, and how slow strace made them: not what the code asks for.
var noise = set("futex nanosleep clock_nanosleep sched_yield epoll_pwait epoll_wait rt_sigreturn tgkill restart_syscall getpid gettid madvise")

var (
	openers = set("open openat openat2 open_tree creat")
	namers  = set("mkdir mkdirat rename renameat renameat2 unlink unlinkat rmdir link linkat symlink symlinkat mknod mknodat")
	mounts  = set("mount umount2 fsopen fsconfig fsmount fspick move_mount mount_setattr open_tree pivot_root")
	syncs   = set("fsync fdatasync sync syncfs")
	writers = set("write pwrite64 writev pwritev copy_file_range sendfile")
	senders = set("sendmsg sendto sendmmsg")
	forkers = set("clone clone3 fork vfork")
)

func set(words string) map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(words) {
		m[w] = true
	}
	return m
}

// roles are the names under which rc's programs are executed. What an init or an exec
// executes is the payload, what others execute is a tool (nft, newuidmap).
var roles = map[string]string{"rc": "rc", "rc-shim": "shim", "rc-boot": "init", "rc-exec": "exec", "rc-net": "keeper", "rc-image": "image", "sh": "sh"}

// Roles that are no program of rc's.
const (
	Payload = "payload"
	Tool    = "tool"
)

// sight is a trace: the files PREFIX.TID of one strace.
type sight struct {
	prefix string
	skip   map[string]int64 // of each file: what was there before, in bytes
	out    map[string]*Tally
	seen   map[int]bool
}

// Count reads what `strace -ff -y --pidns-translation -o PREFIX` wrote of the process first, and of all that
// came from it. Lines within the first skip bytes of a file only say who is who.
func Count(prefix string, first int, skip map[string]int64) (map[string]*Tally, error) {
	s := &sight{prefix, skip, map[string]*Tally{}, map[int]bool{}}
	err := s.thread(child{first, Tool})
	return s.out, err
}

var (
	callLine = regexp.MustCompile(`^([a-z_0-9]+)\((.*)$`)
	resumed  = regexp.MustCompile(`^<\.\.\. execve resumed>.* = 0$`) // by another thread than the first: execve(2)
	result   = regexp.MustCompile(` = (-?\d+)[^=]*$`)
	outside  = regexp.MustCompile(` /\* (\d+) in strace's PID NS \*/`) // of --pidns-translation
	argv0    = regexp.MustCompile(`^"[^"]*", \["([^"]*)"`)
	target   = regexp.MustCompile(`^\d+<(/[^>]*)>`)
)

// child is a thread or process, with the role that it has from who made it.
type child struct {
	tid  int
	role string
}

// thread goes through the file of one, and then of those that it made.
func (s *sight) thread(c child) error {
	if s.seen[c.tid] {
		return nil
	}
	s.seen[c.tid] = true
	name := s.prefix + "." + strconv.Itoa(c.tid)
	f, err := os.Open(name)
	if os.IsNotExist(err) {
		return nil // ended before strace saw it
	}
	if err != nil {
		return err
	}
	defer f.Close()
	children, err := s.lines(bufio.NewScanner(f), s.skip[filepath.Base(name)], c.role)
	for _, c := range children {
		if err == nil {
			err = s.thread(c)
		}
	}
	return err
}

// lines counts what comes after the first skip bytes, for the role of the moment.
func (s *sight) lines(text *bufio.Scanner, skip int64, role string) (children []child, err error) {
	text.Buffer(nil, 1<<20)
	for at := int64(0); text.Scan(); {
		line := text.Text()
		counts := at >= skip
		at += int64(len(line)) + 1
		if resumed.MatchString(line) && (role == "init" || role == "exec") {
			role = Payload
		}
		m := callLine.FindStringSubmatch(line)
		if m == nil {
			continue // a signal, the end, or the rest of a line that was begun before
		}
		value := -1
		if r := result.FindStringSubmatch(line); r != nil {
			value, _ = strconv.Atoi(r[1])
		}
		if m[1] == "execve" && value == 0 {
			role = executed(m[2], role)
		}
		if counts {
			s.tally(role).add(m[1], m[2], value)
		}
		if forkers[m[1]] && value > 0 {
			if o := outside.FindAllStringSubmatch(line, -1); o != nil {
				value, _ = strconv.Atoi(o[len(o)-1][1])
			}
			children = append(children, child{value, role})
		}
	}
	return children, text.Err()
}

// executed is the role after an execve.
func executed(args, before string) string {
	m := argv0.FindStringSubmatch(args)
	switch {
	case m == nil:
		return before
	case before == "init", before == "exec", before == Payload:
		return Payload
	}
	if role, ok := roles[filepath.Base(m[1])]; ok {
		return role
	}
	return Tool
}

func (s *sight) tally(role string) *Tally {
	t := s.out[role]
	if t == nil {
		t = &Tally{}
		s.out[role] = t
	}
	return t
}

func (t *Tally) add(name, args string, value int) {
	if noise[name] {
		return
	}
	t.Calls++
	for _, c := range []struct {
		of map[string]bool
		to *int
	}{{openers, &t.Opens}, {namers, &t.Names}, {mounts, &t.Mounts}, {syncs, &t.Syncs}, {senders, &t.Sent}} {
		if c.of[name] {
			*c.to++
		}
	}
	switch {
	case name == "execve" && value == 0:
		t.Execs++
	case forkers[name] && value > 0 && strings.Contains(args, "CLONE_THREAD"):
		t.Threads++
	case forkers[name] && value > 0:
		t.Forks++
	case writers[name] && value > 0:
		if m := target.FindStringSubmatch(args); m != nil && onDisk(m[1]) {
			t.Bytes += value
		}
	}
}

// onDisk leaves out what is no file of anybody's: devices, the kernel's own file
// systems, memory files.
func onDisk(path string) bool {
	for _, prefix := range []string{"/dev/", "/proc/", "/sys/", "/memfd:", "/dmabuf"} {
		if strings.HasPrefix(path, prefix) {
			return false
		}
	}
	return true
}

// Line is one line of the budget.
type Line struct {
	Case, Role, Count string
	Ceiling           int
	Why               string
}

// ReadBudget reads budget.txt: CASE ROLE COUNT CEILING # WHY. A line without a reason,
// a second one for the same count and an unknown word are errors.
func ReadBudget(path string) ([]Line, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var list []Line
	have := map[string]bool{}
	for i, line := range strings.Split(string(text), "\n") {
		if strings.HasPrefix(line, "#") || strings.TrimSpace(line) == "" {
			continue
		}
		left, why, _ := strings.Cut(line, "#")
		f := strings.Fields(left)
		bad := func(what string) error { return fmt.Errorf("%s:%d: %s: %s", path, i+1, what, line) }
		if len(f) != 4 || strings.TrimSpace(why) == "" {
			return nil, bad("not CASE ROLE COUNT CEILING # WHY")
		}
		n, err := strconv.Atoi(f[3])
		key := strings.Join(f[:3], " ")
		switch {
		case err != nil || n < 0:
			return nil, bad("no ceiling")
		case !strings.Contains(" "+strings.Join(Counts, " ")+" ", " "+f[2]+" "):
			return nil, bad("no such count")
		case have[key]:
			return nil, bad("a second time")
		}
		have[key] = true
		list = append(list, Line{f[0], f[1], f[2], n, strings.TrimSpace(why)})
	}
	return list, nil
}
