// Package gostart looks whether a way into Go's runtime leaves a program as Go's own
// does: those of rc (internal/patient) and of rc-init (userns/entry) change what the
// runtime finds while it starts.
package gostart

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// build makes the program in testdata/limit, which says what it has, entered at entry
// and with the package that tag names there.
func build(t *testing.T, entry, tag string) (program string) {
	t.Helper()
	if _, err := exec.LookPath("go"); err != nil {
		t.Skipf("needs go to build with: %v", err)
	}
	program = filepath.Join(t.TempDir(), "limit")
	cmd := exec.Command("go", "build", "-tags", tag, "-ldflags", "-E "+entry, "-o", program, "github.com/rc-containers/rc/tests/gostart/testdata/limit")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return program
}

// DescriptorsAreBack starts a program that is entered at entry, with the package that tag
// names in testdata/limit. While Go starts it gets no descriptor, and looks for no
// cgroup. What it has then is as if that had not been: the soft limit raised by Go, the
// child's as it came, and streams that were closed open.
func DescriptorsAreBack(t *testing.T, entry, tag string) {
	t.Helper()
	program := build(t, entry, tag)
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

// MonitorIsPatient starts the same program. Go's monitor may be a millisecond late, and
// the thread that starts other programs as many nanoseconds as wanted.
func MonitorIsPatient(t *testing.T, entry, tag string, wanted int) {
	t.Helper()
	cmd := exec.Command(build(t, entry, tag), "slack")
	// Another thread's slack is for those with CAP_SYS_NICE (proc_pid_timerslack_ns(5)).
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Skipf("needs a user namespace of its own: %v\n%s", err, out)
	}
	text := "\n" + string(out)
	if first := fmt.Sprintf("\nfirst %d\n", wanted); !strings.Contains(text, first) || !strings.Contains(text, "\nother 1000000\n") {
		t.Errorf("the first thread shall have %d and Go's monitor 1000000:\n%s", wanted, text)
	}
}
