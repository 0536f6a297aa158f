package cgroup

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The tests whose names begin with TestReal need a delegated cgroup v2 subtree,
// which is where this process must stand. TestInRig makes one where it is root.

const rig = "../tests/rig/cgroup2-exec"

// TestInRig runs the TestReal tests as nobody in a subtree delegated by
// tests/rig/cgroup2-exec.
func TestInRig(t *testing.T) {
	if os.Getenv("RIG_CGROUP") != "" {
		t.Skip("in the rig already: the TestReal tests run by themselves")
	}
	if os.Getuid() != 0 {
		t.Skip("needs root to delegate a cgroup; run it as: " + rig + " USER go test ./cgroup")
	}
	// go test's own copy lies in a folder that nobody may not enter.
	bin := filepath.Join(t.TempDir(), "cgroup.test")
	self, err := os.Executable()
	must(t, err)
	must(t, copyFile(self, bin))
	cmd := exec.Command(rig, "nobody", bin, "-test.run=^TestReal", "-test.v")
	// hugetlb is the controller that version 1 rarely holds.
	cmd.Env = append(os.Environ(), "RIG_LEAF=tests", "RIG_CONTROLLERS=hugetlb")
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if cmd.ProcessState.ExitCode() == 77 {
		t.Skip("the rig cannot be built on this host (see the log)")
	}
	must(t, err)
}

func copyFile(from, to string) error {
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	for p := filepath.Dir(to); p != "/tmp" && p != "/"; p = filepath.Dir(p) {
		must(os.Chmod(p, 0o755))
	}
	in, err := os.Open(from)
	must(err)
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	must(err)
	_, err = io.Copy(out, in)
	must(err)
	return out.Close()
}

func real(t *testing.T) *Subtree {
	t.Helper()
	s, err := Find()
	if err != nil {
		t.Skip("needs a delegated cgroup v2 subtree: " + err.Error())
	}
	return s
}

func realGroup(t *testing.T) *Group {
	t.Helper()
	s := real(t)
	id := "t" + strconv.Itoa(os.Getpid()) + strconv.FormatInt(time.Now().UnixNano(), 36)
	g, err := s.Create(id, Resources{})
	must(t, err)
	t.Cleanup(func() {
		must(t, g.Kill())
		must(t, g.Remove())
		if _, err := os.Stat(g.Path); !errors.Is(err, unix.ENOENT) {
			t.Errorf("%s is still there: %v", g.Path, err)
		}
	})
	return g
}

// start runs a shell script born in the group, by CLONE_INTO_CGROUP.
func start(t *testing.T, g *Group, script string) *exec.Cmd {
	t.Helper()
	fd, err := g.PayloadFD()
	must(t, err)
	defer fd.Close()
	cmd := exec.Command("sh", "-c", script)
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(fd.Fd())}
	must(t, cmd.Start())
	t.Cleanup(func() { _ = g.Kill(); _ = cmd.Wait() })
	return cmd
}

// until waits for a condition of the kernel's that has no event.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("in vain: ", what)
		}
	}
}

func TestRealFind(t *testing.T) {
	s := real(t)
	t.Logf("%s: %s; controllers %v", s.Path, s.How, s.Controllers)
	if !isCgroup2(s.Path) || !writable(s.Path) {
		t.Errorf("%s is not a writable cgroup2 folder", s.Path)
	}
}

func TestRealKill(t *testing.T) {
	g := realGroup(t)
	cmd := start(t, g, "sleep 1000 & sleep 1000 & wait")
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", cmd.Process.Pid))
	must(t, err)
	if !strings.Contains(string(text), "/rc-"+g.ID()+"/payload\n") {
		t.Errorf("born in %s", text)
	}
	if live, err := g.Populated(); !live || err != nil {
		t.Errorf("populated %v, %v", live, err)
	}
	must(t, g.Kill())
	if err := cmd.Wait(); err == nil || cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("ended with %v", cmd.ProcessState)
	}
	until(t, "the group is empty", func() bool { live, _ := g.Populated(); return !live })
}

// Without cgroup.kill, against processes that fork and that stand in groups of
// their own.
func TestRealKillEach(t *testing.T) {
	g := realGroup(t)
	start(t, g, `mkdir -p `+g.Path+`/payload/a/b; for i in 1 2 3; do (while :; do sh -c 'sleep 0.01 & sleep 0.02'; done) & done
		sh -c 'echo $$ > `+g.Path+`/payload/a/b/cgroup.procs; exec sleep 1000' & wait`)
	nested := g.Path + "/payload/a/b/" + procsFile
	until(t, "a process in the nested group", func() bool { text, _ := os.ReadFile(nested); return len(text) > 0 })
	d, err := openDir(g.Path)
	must(t, err)
	defer d.close()
	must(t, d.killEach())
	if live, err := g.Populated(); live || err != nil {
		t.Errorf("populated %v, %v", live, err)
	}
}

func TestRealFreeze(t *testing.T) {
	g := realGroup(t)
	start(t, g, "while :; do :; done")
	used := func() time.Duration { st, err := g.Stats(); must(t, err); return st.CPU.Usage }
	until(t, "some CPU time is counted", func() bool { return used() > 20*time.Millisecond })
	must(t, g.Freeze())
	before := used()
	time.Sleep(100 * time.Millisecond)
	if after := used(); after-before > 2*time.Millisecond {
		t.Errorf("frozen, and used %v", after-before)
	}
	must(t, g.Thaw())
	until(t, "it runs again", func() bool { return used() > before+20*time.Millisecond })
	// Killing reaches frozen processes: rc kill of a paused container.
	must(t, g.Freeze())
	must(t, g.Kill())
	until(t, "the frozen processes die", func() bool { live, _ := g.Populated(); return !live })
}

func TestRealAddPayload(t *testing.T) {
	g := realGroup(t)
	cmd := exec.Command("sleep", "1000")
	must(t, cmd.Start())
	t.Cleanup(func() { _ = g.Kill(); _ = cmd.Wait() })
	must(t, g.AddPayload(cmd.Process.Pid))
	if live, _ := g.Populated(); !live {
		t.Error("moved, and the group is empty")
	}
	err := g.AddPayload(1 << 22)
	if !errors.Is(err, unix.ESRCH) {
		t.Errorf("no such process: %v", err)
	}
}

// A payload that was given its group leaves groups behind: deep, many, and with
// names that are no names.
func TestRealRemoveHostileGroups(t *testing.T) {
	g := realGroup(t)
	start(t, g, "exit 0")
	for _, name := range []string{" ", "-rf", "a\x1b[2Jb", "\xff\xfe", "...", "rc-1", "..a", strings.Repeat("n", 255)} {
		must(t, unix.Mkdir(filepath.Join(g.Path, "payload", name), 0o700))
	}
	for i := range 100 {
		must(t, unix.Mkdir(fmt.Sprintf("%s/payload/w%d", g.Path, i), 0o700))
	}
	// Deeper than any path can be written down.
	d, err := openDir(g.Path + "/payload")
	must(t, err)
	name := strings.Repeat("d", 200)
	depth := 0
	for ; depth < 60; depth++ {
		if d.mkdir(name) != nil {
			break
		}
		next, err := d.at(name)
		must(t, err)
		d.close()
		d = next
	}
	d.close()
	t.Logf("%d groups deep", depth)
	must(t, g.Remove())
}

// cgroup.kill reaches what forks faster than any list can be read.
func TestRealKillForkBomb(t *testing.T) {
	g := realGroup(t)
	start(t, g, `i=0; while [ $i -lt 40 ]; do (while :; do (:) & wait; done) & i=$((i+1)); done; wait`)
	until(t, "it forks", func() bool { st, err := g.Stats(); must(t, err); return st.CPU.Usage > 50*time.Millisecond })
	must(t, g.Kill())
	must(t, g.Remove())
}

// The parent's own bound on groups is reported as what it is.
func TestRealTooManyGroups(t *testing.T) {
	outer := realGroup(t)
	d, err := openDir(outer.Path + "/payload")
	must(t, err)
	defer d.close()
	must(t, d.write("cgroup.max.descendants", "1"))
	s := real(t)
	s.Path, s.chain = d.path, []string{d.path}
	_, err = s.Create("many", Resources{}) // rc-many and its payload are two
	says(t, err, "rc-many/payload", "cgroup.max.descendants")
	if !errors.Is(err, unix.EAGAIN) {
		t.Errorf("%v is not EAGAIN", err)
	}
	if groups, err := s.List(); len(groups) != 0 || err != nil {
		t.Errorf("left %v behind, %v", groups, err)
	}
}

// What the container's root, which has our uid on the host, can do from its own
// group without a cgroup namespace's help: it owns the files; the group above
// holds what counts.
func TestRealFreezeIsAbovePayload(t *testing.T) {
	g := realGroup(t)
	start(t, g, "while :; do :; done")
	must(t, g.Freeze())
	d, err := openDir(g.Path + "/payload")
	must(t, err)
	defer d.close()
	must(t, d.write(freezeFile, "0"))
	if frozen, err := d.event("frozen"); frozen != 1 || err != nil {
		t.Errorf("thawed from below: %d, %v", frozen, err)
	}
	must(t, g.Thaw())
}

func TestRealRemoveRefusesLiveGroup(t *testing.T) {
	g := realGroup(t)
	start(t, g, "sleep 1000")
	begin := time.Now()
	err := g.Remove()
	says(t, err, "rc-"+g.ID(), "cgroup.kill")
	if !errors.Is(err, unix.EBUSY) || time.Since(begin) > 2*removeWait {
		t.Errorf("%v after %v", err, time.Since(begin))
	}
	// It waits for one that is about to go.
	g2 := realGroup(t)
	start(t, g2, "sleep 0.3")
	must(t, g2.Remove())
}

func TestRealList(t *testing.T) {
	g := realGroup(t)
	s := real(t)
	groups, err := s.List()
	must(t, err)
	for _, other := range groups {
		if other.Path == g.Path {
			return
		}
	}
	t.Errorf("%v lacks %s", groups, g.Path)
}

// What this host can hold is held; what it cannot is refused by name.
func TestRealLimits(t *testing.T) {
	s := real(t)
	has := strings.Join(s.Controllers, " ")
	for _, c := range []struct{ controller, file, want string }{
		{"memory", "memory.max", "67108864\n"}, {"cpu", "cpu.max", "50000 100000\n"}, {"pids", "pids.max", "20\n"}, {"cpuset", "cpuset.cpus", "0\n"},
	} {
		r := map[string]Resources{"memory": {Memory: 64 << 20}, "cpu": {NanoCPUs: 5e8}, "pids": {PidsLimit: 20}, "cpuset": {CpusetCPUs: "0"}}[c.controller]
		g, err := s.Create("limit"+c.controller, r)
		if !strings.Contains(has, c.controller) {
			says(t, err, "apply a "+c.controller+" limit")
			t.Logf("refused: %v", err)
			continue
		}
		must(t, err)
		got, err := os.ReadFile(g.Path + "/" + c.file)
		must(t, err)
		if string(got) != c.want {
			t.Errorf("%s is %q, want %q", c.file, got, c.want)
		}
		must(t, g.Remove())
	}
	groups, err := s.List()
	must(t, err)
	for _, g := range groups {
		if strings.HasPrefix(g.ID(), "limit") {
			t.Errorf("%s was left behind", g.Path)
		}
	}
}
