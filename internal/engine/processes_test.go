package engine

import (
	"os"
	"os/exec"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/record"
)

func TestParseStat(t *testing.T) {
	const rest = " R 41 42 42 0 -1 4194560 460 0 1 0 5 6 7 8 20 0 3 0 1426592 2322432 364"
	for _, name := range []string{"sh", "a) b (c", ") S 1 1", "x\ny"} {
		p, ok := parseStat(42, "42 ("+name+")"+rest)
		if !ok || p.pid != 42 || p.parent != 41 || p.ticks != 26 || p.threads != 3 {
			t.Errorf("%q: %+v %v", name, p, ok)
		}
	}
	for _, text := range []string{"", "42 (sh", "42 (sh) R 1 2", "42 (sh) Z 41 42 42 0 -1 4194560 460 0 1 0 5 6 7 8 20 0 3 0 1"} {
		if _, ok := parseStat(42, text); ok {
			t.Errorf("%q is taken for a process", text)
		}
	}
}

func pidsOf(list []process) (pids []int) {
	for _, p := range list {
		pids = append(pids, p.pid)
	}
	return pids
}

// A container's processes: init's mount namespace, and whatever descends from one
// in it; not the shim, not another container.
func TestBelow(t *testing.T) {
	table := &processTable{all: map[int]process{}, space: map[int]string{}}
	for _, p := range []struct {
		pid, parent int
		space       string
	}{
		{1, 0, "host"}, {10, 1, "shim"},
		{11, 10, "box"}, {12, 11, "box"}, {13, 11, "inner"}, {14, 13, ""}, // a namespace of the payload's, and one that cannot be read
		{15, 10, "box"}, {16, 15, ""}, // rc exec
		{20, 1, "shim2"}, {21, 20, "box2"}, {30, 31, ""}, {31, 30, ""}, // a ring
	} {
		table.all[p.pid], table.space[p.pid] = process{pid: p.pid, parent: p.parent}, p.space
	}
	if got := pidsOf(table.below(11)); !slices.Equal(got, []int{11, 12, 13, 14, 15, 16}) {
		t.Errorf("%v", got)
	}
	if got := pidsOf(table.below(21)); !slices.Equal(got, []int{21}) {
		t.Errorf("%v", got)
	}
	if got := pidsOf(table.below(99)); len(got) != 0 {
		t.Errorf("of a pid that is gone: %v", got)
	}
	table.space[11] = "" // nothing can be read: by descent alone
	if got := pidsOf(table.below(11)); !slices.Equal(got, []int{11, 12, 13, 14}) {
		t.Errorf("%v", got)
	}
}

// A real process in a mount namespace of its own, busy for a while.
func TestUsages(t *testing.T) {
	cmd := exec.Command("sh", "-c", "while :; do :; done")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS,
		UidMappings: idMap(os.Getuid()), GidMappings: idMap(os.Getgid())}
	if err := cmd.Start(); err != nil {
		t.Skipf("a user namespace cannot be made here: %v", err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	e := &Engine{}
	c := &Entry{Container: record.Container{ID: "a", Network: "slirp4netns"}, State: record.State{Status: record.Running, PID: cmd.Process.Pid}, Alive: true}
	still := &Entry{Container: record.Container{ID: "b"}, State: record.State{Status: record.Exited}}
	first, err := e.Usages([]*Entry{c, still})
	if err != nil || first["a"] == nil || first["b"] != nil {
		t.Fatalf("%v, %v", first, err)
	}
	time.Sleep(500 * time.Millisecond)
	second, err := e.Usages([]*Entry{c})
	if err != nil {
		t.Fatal(err)
	}
	a, b := first["a"], second["a"]
	if used := b.CPU - a.CPU; used <= 0 || used > 2*b.At.Sub(a.At) {
		t.Errorf("CPU %v in %v", used, b.At.Sub(a.At))
	}
	if b.PIDs != 1 || b.Memory == 0 || b.Memory > 1<<30 || b.MemoryLimit < 1<<20 || b.Instead["memory"] == "" || len(b.Missing) > 1 {
		t.Errorf("%+v", b)
	}
	if pids, err := e.PIDs(c); err != nil || !slices.Equal(pids, []int{cmd.Process.Pid}) {
		t.Errorf("%v, %v", pids, err)
	}
	table, err := e.Top(c, []string{"-o", "pid,args"})
	if err != nil || len(table) != 2 || table[1][0] != strconv.Itoa(cmd.Process.Pid) || table[1][1] != "sh -c while :; do :; done" {
		t.Errorf("%q, %v", table, err)
	}
	c.Network = "host"
	if u, _ := e.Usages([]*Entry{c}); u["a"].Missing["net"] == "" {
		t.Errorf("the host's traffic is not the container's: %+v", u["a"])
	}
}
