package engine

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Signals go to whoever asked last, and to us when nobody asks any more.
func TestSignalsGoToTheLast(t *testing.T) {
	if how := os.Getenv("RC_TEST_SIGNALS"); how != "" {
		if how == "ready" { // and nobody to forward to yet
			(&attachment{}).readySignals()
		} else {
			forwardSignals(func(unix.Signal) {})
			forwardSignals(nil)
		}
		_ = unix.Kill(os.Getpid(), unix.SIGCONT)
		_ = unix.Kill(os.Getpid(), unix.SIGTERM)
		time.Sleep(10 * time.Second)
		os.Exit(3)
	}
	for range 2 {
		(&attachment{}).readySignals() // takes nothing from those who have asked
		got := make(chan unix.Signal, 4)
		forwardSignals(func(unix.Signal) { t.Error("the one before was asked") })
		forwardSignals(func(s unix.Signal) { got <- s })
		for _, sig := range []unix.Signal{unix.SIGUSR1, unix.SIGHUP} {
			must(t, unix.Kill(os.Getpid(), sig))
			if s := <-got; s != sig {
				t.Errorf("%v became %v", sig, s)
			}
		}
		forwardSignals(nil)
	}
	for _, how := range []string{"ready", "ended"} {
		child := exec.Command(os.Args[0], "-test.run=TestSignalsGoToTheLast$")
		child.Env = append(os.Environ(), "RC_TEST_SIGNALS="+how)
		var exit *exec.ExitError
		if err := child.Run(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != unix.SIGTERM {
			t.Errorf("a signal for nobody (%s): %v", how, err)
		}
	}
}
