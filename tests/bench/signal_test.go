package main

import (
	"os"
	"os/exec"
	"testing"
	"time"
)

// After a signal the clean-up still runs commands, and nobody else does, nor goes on with
// what it had under way.
func TestNobodyStartsAfterASignal(t *testing.T) {
	w := trial(t, options{})
	under := make(chan bool, 4)
	go func() { _, _ = w.timed([]string{"sleep", "0.1"}); under <- true }()
	time.Sleep(20 * m)
	w.stopped.Store(true)
	for _, start := range []func(){
		func() { _, _ = w.timed([]string{"true"}) },
		func() { _, _ = w.said([]string{"true"}) },
		func() { _, _ = w.firstByte([]string{"echo", "x"})() },
	} {
		go func() { start(); under <- true }()
	}
	select {
	case <-under:
		t.Error("somebody goes on")
	case <-time.After(300 * m):
	}
	if _, err := w.tell([]string{"true"}); err != nil {
		t.Error(err)
	}
}

// What a run without a cgroup of its own has left is known by its environment, and a
// payload by what it was told to run.
func TestEndOurs(t *testing.T) {
	w := trial(t, options{})
	run := func(env []string, args ...string) *exec.Cmd {
		cmd := exec.Command("sleep", "1000")
		cmd.Env = append(os.Environ(), env...)
		if args != nil {
			cmd.Args = args
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		return cmd
	}
	ours, payload, foreign := run([]string{"XDG_RUNTIME_DIR=" + w.run}), run(nil, mounted, "1000"), run([]string{"XDG_RUNTIME_DIR=" + w.run + "0"})
	_ = wait("an execve", func() bool {
		return isPayload(ours.Process.Pid) && isPayload(payload.Process.Pid) && isPayload(foreign.Process.Pid)
	})
	if !isPayload(payload.Process.Pid) {
		t.Error("the server of the network's rows is no payload")
	}
	w.endOurs()
	if err := ours.Wait(); err == nil || err.Error() != "signal: killed" {
		t.Errorf("ours: %v", err)
	}
	for _, cmd := range []*exec.Cmd{payload, foreign} {
		if parent(cmd.Process.Pid) != os.Getpid() {
			t.Error("somebody else's was ended")
		}
	}
}
