package patient

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// entered builds a program as the Makefile links rc: `go build` or `go test -c`.
func entered(t *testing.T, what string, verb ...string) string {
	t.Helper()
	if runtime.GOARCH != "amd64" {
		t.Skip("only amd64 is entered by ourselves")
	}
	if _, err := exec.LookPath("go"); err != nil {
		t.Skipf("needs go to build with: %v", err)
	}
	program := filepath.Join(t.TempDir(), "program")
	build := exec.Command("go", append(verb, "-ldflags", "-E rc_patient", "-o", program, what)...)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return program
}

// While Go starts it gets no descriptor, and looks for no cgroup. What it has then is
// as if that had not been: the soft limit raised by Go, the child's as it came, and
// streams that were closed open.
func TestDescriptorsAreBackAfterTheStart(t *testing.T) {
	program := entered(t, "./testdata/limit", "build")
	for _, c := range []struct{ shell, want string }{
		{"ulimit -Sn 300; ulimit -Hn 700; exec $0", `own 699 700; child "300\n700\n"; no cgroup`},
		{"ulimit -n 500; exec $0", `own 500 500; child "500\n500\n"; no cgroup`},
		{"ulimit -Sn 300; ulimit -Hn 700; exec $0 <&- 2>&-", `own 699 700; child "300\n700\n"; no cgroup`},
		{"ulimit -Sn 300; ulimit -Hn 700; exec 7</dev/null; exec $0", `own 699 700; child "300\n700\n"; no cgroup`},
	} {
		out, err := exec.Command("sh", "-c", c.shell, program).CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || got != c.want {
			t.Errorf("%s: %v\n%s\nwant %s", c.shell, err, got, c.want)
		}
	}
}

// As the Makefile links rc, Go's monitor is patient, and the thread that starts other
// programs is not.
func TestMonitorIsPatient(t *testing.T) {
	program := entered(t, ".", "test", "-c", "-vet=off")
	run := exec.Command(program, "-test.run", "^TestPrintSlack$", "-test.v")
	run.Env = append(os.Environ(), "RC_PRINT_SLACK=1")
	// Another thread's slack is for those with CAP_SYS_NICE (proc_pid_timerslack_ns(5)).
	run.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	out, err := run.CombinedOutput()
	if err != nil {
		t.Skipf("needs a user namespace of its own: %v\n%s", err, out)
	}
	own, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	if text := string(out); !strings.Contains(text, "\nfirst "+strconv.Itoa(own)+"\n") || !strings.Contains(text, "\nother 1000000\n") {
		t.Errorf("the first thread shall have %d and Go's monitor 1000000:\n%s", own, text)
	}
}

// TestPrintSlack is the program of TestMonitorIsPatient.
func TestPrintSlack(t *testing.T) {
	if os.Getenv("RC_PRINT_SLACK") == "" {
		t.Skip("a part of TestMonitorIsPatient")
	}
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, thread := range threads {
		slack, err := os.ReadFile("/proc/" + thread.Name() + "/timerslack_ns")
		if err != nil {
			t.Fatal(err)
		}
		who := "other"
		if thread.Name() == strconv.Itoa(os.Getpid()) {
			who = "first"
		}
		fmt.Printf("%s %s\n", who, strings.TrimSpace(string(slack)))
	}
}
