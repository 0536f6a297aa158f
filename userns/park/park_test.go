package park

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/linux"
)

// The test binary is also the program that parks: the variable says on what.
const variable = "RC_PARK_TEST"

func TestMain(m *testing.M) {
	what, playing := os.LookupEnv(variable)
	if !playing {
		os.Exit(m.Run())
	}
	if _, err := unix.FcntlInt(3, unix.F_GETFD, 0); err != nil {
		fmt.Println("descriptor 3 is gone")
	}
	if len(os.Args) > 1 && os.Args[1] == "again" {
		report()
		os.Exit(0)
	}
	if err := sleep(what); err != nil {
		fmt.Println(err)
	}
}

// report is what the program that was woken finds.
func report() {
	var blocked unix.Sigset_t
	_ = unix.PthreadSigmask(unix.SIG_BLOCK, nil, &blocked)
	_, err := unix.FcntlInt(FD, unix.F_GETFD, 0)
	dumpable, _ := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	fmt.Printf("pid %d plan %v blocked %#x dumpable %d\n", os.Getpid(), err, blocked.Val[0], dumpable)
}

// sleep executes this binary with a plan; it returns when that failed.
func sleep(what string) error {
	runtime.LockOSThread()
	p := Plan{FDs: []int{3}, Limit: 20 * time.Second, Path: "/"}
	var usr2 unix.Sigset_t
	usr2.Val[0] = 1 << (unix.SIGUSR2 - 1)
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &usr2, &p.Mask); err != nil {
		return err
	}
	switch what {
	case "limit":
		p.Limit = 50 * time.Millisecond
	case "path":
		p.Path = "/nonexistent/socket"
	}
	if err := p.Lay(); err != nil {
		return err
	}
	if what == "unsealed" { // a file that its maker can still change is no plan
		fd, err := unix.MemfdCreate("plan", unix.MFD_ALLOW_SEALING)
		if err != nil {
			return err
		}
		data, _ := p.wire()
		_, _ = unix.Write(fd, data)
		_ = unix.Dup3(fd, FD, 0)
	}
	signal.Ignore(unix.SIGUSR2)
	fmt.Println("pid", os.Getpid())
	return syscall.Exec("/proc/self/exe", []string{os.Args[0], "again"}, os.Environ())
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// start runs the program with a pipe as descriptor 3.
func start(t *testing.T, what string) (cmd *exec.Cmd, out *strings.Builder, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	must(t, err)
	self, err := os.Executable()
	must(t, err)
	out = new(strings.Builder)
	cmd = exec.Command(self)
	cmd.Env, cmd.Stdout, cmd.ExtraFiles = []string{variable + "=" + what}, out, []*os.File{r}
	must(t, cmd.Start())
	_ = r.Close()
	t.Cleanup(func() { _ = w.Close(); _ = cmd.Process.Kill() })
	return cmd, out, w
}

// asleep waits for it to wait in C.
func asleep(t *testing.T, pid int) {
	t.Helper()
	for range 1000 {
		status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
		must(t, err)
		if s := string(status); strings.Contains(s, "\nThreads:\t1\n") && strings.Contains(s, "Name:\trc-init\n") {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatal("it does not park")
}

func TestWakes(t *testing.T) {
	for what, wake := range map[string]func(*testing.T, *exec.Cmd, *os.File){
		"bytes":   func(t *testing.T, _ *exec.Cmd, w *os.File) { _, err := w.Write([]byte("x")); must(t, err) },
		"the end": func(t *testing.T, _ *exec.Cmd, w *os.File) { must(t, w.Close()) },
		"signal":  func(t *testing.T, c *exec.Cmd, _ *os.File) { must(t, c.Process.Signal(unix.SIGUSR2)) },
		"stopped": func(t *testing.T, c *exec.Cmd, w *os.File) { // what stops and continues it does not wake it
			must(t, c.Process.Signal(unix.SIGSTOP))
			must(t, c.Process.Signal(unix.SIGCONT))
			time.Sleep(50 * time.Millisecond)
			asleep(t, c.Process.Pid)
			must(t, w.Close())
		},
		"limit": nil, "path": nil, "unsealed": nil,
	} {
		t.Run(what, func(t *testing.T) {
			begin := time.Now()
			cmd, out, w := start(t, what)
			if wake != nil {
				asleep(t, cmd.Process.Pid)
				time.Sleep(20 * time.Millisecond)
				wake(t, cmd, w)
			}
			must(t, cmd.Wait())
			plan, blocked := "bad file descriptor", 0 // what a caller had blocked is not blocked any more
			if what == "unsealed" {
				plan = "<nil>"
			}
			pid := cmd.Process.Pid
			if want := fmt.Sprintf("pid %d\npid %d plan %s blocked %#x dumpable 1\n", pid, pid, plan, blocked); out.String() != want {
				t.Errorf("%q, want %q", out, want)
			}
			if took := time.Since(begin); took > 15*time.Second || what == "limit" && took < 50*time.Millisecond {
				t.Errorf("it took %v", took)
			}
		})
	}
}

// What waits has a twentieth of the memory of Go's runtime.
func TestMemory(t *testing.T) {
	cmd, _, w := start(t, "bytes")
	asleep(t, cmd.Process.Pid)
	if kib := anon(t, strconv.Itoa(cmd.Process.Pid)); kib > 150 {
		t.Errorf("%d KiB of private memory", kib)
	}
	must(t, w.Close())
	must(t, cmd.Wait())
}

func anon(t *testing.T, pid string) int {
	status, err := os.ReadFile("/proc/" + pid + "/status")
	must(t, err)
	_, rest, _ := strings.Cut(string(status), "RssAnon:")
	n, err := strconv.Atoi(strings.Fields(rest)[0])
	must(t, err)
	return n
}

func TestRefusals(t *testing.T) {
	for name, p := range map[string]Plan{
		"no path": {}, "a long path": {Path: strings.Repeat("x", maxPath)}, "a negative limit": {Path: "/", Limit: -1},
		"many descriptors": {Path: "/", FDs: make([]int, MaxFDs+1)},
	} {
		if err := p.Lay(); !errors.Is(err, unix.EINVAL) {
			t.Errorf("%s: %v", name, err)
		}
	}
	f, err := linux.SealedMemfd("other", nil)
	must(t, err)
	defer f.Close()
	taken, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, FD)
	must(t, err)
	defer unix.Close(taken)
	if taken == FD {
		p := Plan{Path: "/"}
		if err := p.Lay(); !errors.Is(err, ErrOccupied) {
			t.Errorf("%v", err)
		}
	}
}
