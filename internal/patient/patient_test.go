package patient_test

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/tests/gostart"
)

func needsOurEntry(t *testing.T) {
	t.Helper()
	if runtime.GOARCH != "amd64" {
		t.Skip("only amd64 is entered by ourselves")
	}
}

func TestDescriptorsAreBackAfterTheStart(t *testing.T) {
	needsOurEntry(t)
	gostart.DescriptorsAreBack(t, "rc_patient", "rc")
}

// What rc starts may be as late as rc itself might when it was started.
func TestMonitorIsPatient(t *testing.T) {
	needsOurEntry(t)
	own, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	gostart.MonitorIsPatient(t, "rc_patient", "rc", own)
}
