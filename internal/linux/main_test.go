package linux

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// insideVariable is set in a test that runs itself again: in a namespace, without
// a kernel feature, or on a thread of its own.
const insideVariable = "RC_LINUX_TEST_INSIDE"

// init keeps a re-run test's changes of credentials on the thread that ends with it.
func init() {
	if os.Getenv(insideVariable) != "" {
		runtime.LockOSThread()
	}
}

// again runs the calling test in a new process and says whether this is that
// process. In a namespace the caller is root there.
func again(t *testing.T, cloneflags uintptr, env ...string) bool {
	t.Helper()
	if os.Getenv(insideVariable) != "" {
		return true
	}
	cmd := exec.Command("/proc/self/exe", "-test.v", "-test.run=^"+t.Name()+"$")
	cmd.Env = append(append(os.Environ(), insideVariable+"=1"), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: cloneflags}
	if cloneflags&unix.CLONE_NEWUSER != 0 {
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	var failed *exec.ExitError
	switch {
	case err != nil && !errors.As(err, &failed):
		t.Skipf("needs user namespaces: %v", err)
	case err != nil:
		t.Errorf("%v: %s", err, out)
	case strings.Contains(string(out), "--- SKIP"):
		t.Skipf("%s", out)
	}
	return false
}

// folder opens a new temporary folder as O_PATH.
func folder(t *testing.T) (string, int) {
	t.Helper()
	dir := t.TempDir()
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return dir, fd
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestWithout(t *testing.T) {
	if !again(t, 0, withoutVariable+"=lowerdir+, pidfd-info") {
		return
	}
	for feature, want := range map[string]bool{LowerdirAppend: true, PidfdInfo: true, LandlockScope: false, "": false} {
		if Without(feature) != want {
			t.Errorf("%q: %v", feature, !want)
		}
	}
}
