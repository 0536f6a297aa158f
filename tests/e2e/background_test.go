package e2e

import (
	"bytes"
	"context"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// background is a command that `start` left running.
type background struct {
	cmd         *exec.Cmd
	out, errout bytes.Buffer
	done        chan struct{}
}

// start NAME COMMAND ARGS... goes on with the script while COMMAND runs. What
// still runs at the script's end is killed. (testscript's own "&" interrupts and
// then waits: for ever, where the payload is a process 1 that ignores SIGINT.)
func cmdStart(ts *testscript.TestScript, neg bool, args []string) {
	b := &background{done: make(chan struct{})}
	b.cmd = command(context.Background(), ts, args[1:])
	b.cmd.Stdout, b.cmd.Stderr = &b.out, &b.errout
	ts.Check(b.cmd.Start())
	state(ts).background[args[0]] = b
	go func() {
		_ = b.cmd.Wait()
		close(b.done)
	}()
	ts.Defer(func() {
		_ = b.cmd.Process.Kill()
		<-b.done
	})
}

// signal NAME SIGNAL sends it to what was started.
func cmdSignal(ts *testscript.TestScript, neg bool, args []string) {
	n := unix.SignalNum("SIG" + args[1])
	if n == 0 {
		ts.Fatalf("no signal %q", args[1])
	}
	ts.Check(state(ts).background[args[0]].cmd.Process.Signal(syscall.Signal(n)))
}

// end NAME CODE waits for it and leaves its output to `stdout` and `stderr`.
func cmdEnd(ts *testscript.TestScript, neg bool, args []string) {
	b := state(ts).background[args[0]]
	if b == nil {
		ts.Fatalf("%q was not started", args[0])
	}
	select {
	case <-b.done:
	case <-time.After(20 * time.Second):
		ts.Fatalf("%s still runs after 20 s", args[0])
	}
	_, _ = ts.Stdout().Write(b.out.Bytes())
	_, _ = ts.Stderr().Write(b.errout.Bytes())
	if code := strconv.Itoa(exitCode(b.cmd.ProcessState)); code != args[1] {
		ts.Fatalf("exit code %s, want %s", code, args[1])
	}
}
