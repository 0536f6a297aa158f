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

	"github.com/rc-containers/rc/tests/gostart"
)

// needsGo skips where rc is not entered by ourselves, or nothing can be built.
func needsGo(t *testing.T) {
	t.Helper()
	if runtime.GOARCH != "amd64" {
		t.Skip("only amd64 is entered by ourselves")
	}
	if _, err := exec.LookPath("go"); err != nil {
		t.Skipf("needs go to build with: %v", err)
	}
}

func TestDescriptorsAreBackAfterTheStart(t *testing.T) {
	needsGo(t)
	gostart.DescriptorsAreBack(t, "rc_patient", "rc")
}

// As the Makefile links rc, Go's monitor is patient, and the thread that starts other
// programs is not.
func TestMonitorIsPatient(t *testing.T) {
	needsGo(t)
	program := filepath.Join(t.TempDir(), "program")
	build := exec.Command("go", "test", "-c", "-vet=off", "-ldflags", "-E rc_patient", "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
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
