// Command attack is the hostile payload of the tests in tests/hostile: run as a
// container's command, it tries one family of acts against the host, the
// runtime or a neighbour, and prints one line for each:
//
//	held NAME: what the kernel said
//	BREACH NAME: what was got
//
// It exits 3 after a breach. Run outside a container, on what it is meant to
// reach, most acts succeed: that is how the tests know that they are real.
package main

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

var acts = map[string]func(args []string){
	"true":       func([]string) {},
	"sleep":      sleep,
	"beat":       beat,
	"echo":       func(args []string) { fmt.Println(strings.Join(args, " ")) },
	"cat":        cat,
	"serve":      serve,
	"fetch":      fetch,
	"keyring":    keyring,
	"trace":      trace,
	"race":       race,
	"overwrite":  overwrite,
	"catch-exe":  catchExe,
	"stdio":      stdio,
	"leaks":      leaks,
	"tty":        tty,
	"cgroup":     cgroups,
	"sockets":    sockets,
	"masks":      masks,
	"host-facts": hostFacts,
	"devices":    devices,
	"escape":     escape,
	"cwd":        cwd,
	"suid":       suid,
	"molest":     molest,
	"flood":      flood,
	"zeros":      zeros,
	"turn":       turn,
	"litter":     litter,
}

func main() {
	if len(os.Args) < 2 || acts[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "attack: no such act:", os.Args[1:])
		os.Exit(2)
	}
	acts[os.Args[1]](os.Args[2:])
	if breached {
		os.Exit(3)
	}
}

var (
	breached bool
	mu       sync.Mutex
	said     = map[string]bool{}
)

// held reports a refused act, once by its words: races repeat them.
func held(name string, why any) {
	say(fmt.Sprintf("held %s: %v", name, why))
}

func breach(name, format string, args ...any) {
	mu.Lock()
	breached = true
	mu.Unlock()
	say(fmt.Sprintf("BREACH %s: %s", name, fmt.Sprintf(format, args...)))
}

func say(line string) {
	mu.Lock()
	defer mu.Unlock()
	if !said[line] {
		said[line] = true
		fmt.Println(line)
	}
}

// refused reports an act that must have failed.
func refused(name string, err error, got string) {
	if err == nil {
		breach(name, "%s", got)
		return
	}
	held(name, err)
}

// sleep SECONDS (default: for ever, as a container would say it).
func sleep(args []string) {
	d := time.Hour
	if len(args) > 0 {
		if s, err := strconv.ParseFloat(args[0], 64); err == nil {
			d = time.Duration(s * float64(time.Second))
		}
	}
	time.Sleep(d)
}

// beat FILE: appends a byte to it every 20 ms, which shows the host that nobody
// froze or killed this container.
func beat(args []string) {
	f, err := os.OpenFile(args[0], os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o666)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for {
		_, _ = f.WriteString(".")
		time.Sleep(20 * time.Millisecond)
	}
}

func cat(args []string) {
	for _, name := range args {
		data, err := os.ReadFile(name)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		_, _ = os.Stdout.Write(data)
	}
}

// marked tells whether a folder shows the host: it holds the path of the
// caller's own test folder, which no container is given.
func marked(dir, marker string) bool {
	_, err := os.Lstat(dir + marker)
	return err == nil
}

// pids lists what /proc shows.
func pids() []int {
	var out []int
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		if n, err := strconv.Atoi(e.Name()); err == nil && n != os.Getpid() {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return out
}

// argv0 is the base name under which a process was started, "" when it is gone.
func argv0(pid int) string {
	line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	first, _, _ := strings.Cut(string(line), "\x00")
	return first[strings.LastIndex(first, "/")+1:]
}
