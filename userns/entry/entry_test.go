package entry_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/rc-containers/rc/tests/gostart"
)

// makeSyso compiles the constructors.
func makeSyso(t *testing.T) {
	t.Helper()
	if runtime.GOARCH != "amd64" {
		t.Skip("only amd64 is entered without a C library")
	}
	for _, tool := range []string{"go", "cc", "ld", "objcopy"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s to build with: %v", tool, err)
		}
	}
	syso, err := filepath.Abs("entry_linux_amd64.syso")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("bare/build", syso).CombinedOutput(); err != nil {
		t.Fatalf("bare/build: %v\n%s", err, out)
	}
}

func TestDescriptorsAreBackAfterTheStart(t *testing.T) {
	makeSyso(t)
	gostart.DescriptorsAreBack(t, "rc_start", "rcinit")
}

// Whoever may be late has perhaps started rc-init: the payload has the kernel's default.
func TestMonitorIsPatient(t *testing.T) {
	makeSyso(t)
	gostart.MonitorIsPatient(t, "rc_start", "rcinit", 50000)
}

// The constructors without a C library pass the tests of those with one: the test
// programs of these packages play the programs that they start.
func TestConstructorsWithoutCLibrary(t *testing.T) {
	makeSyso(t)
	for _, dir := range []string{"..", "../park"} {
		program := filepath.Join(t.TempDir(), "test")
		build := exec.Command("go", "test", "-c", "-vet=off", "-tags", "osusergo,netgo", "-ldflags", "-E rc_start", "-o", program, ".")
		build.Dir, build.Env = dir, append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", dir, err, out)
		}
		run := exec.Command(program, "-test.v", "-test.timeout=3m")
		run.Dir = dir
		out, err := run.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "--- PASS") {
			t.Errorf("%s: %v\n%s", dir, err, out)
		}
	}
}
