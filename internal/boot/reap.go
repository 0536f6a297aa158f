package boot

import (
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/stage"
)

// takeTerminal makes the payload the leader of a session that the container's
// terminal controls.
func (b *box) takeTerminal() error {
	if _, err := unix.Setsid(); err != nil && err != unix.EPERM { // EPERM: already a leader
		return hint.New("start a session", err, "")
	}
	if !b.cfg.Spec.Process.Terminal {
		return nil
	}
	if err := unix.IoctlSetInt(0, unix.TIOCSCTTY, 0); err != nil {
		return hint.New("take the terminal", err, "")
	}
	return nil
}

// reap is --init: PID 1 stays ours, forks the payload, passes signals on and
// collects orphans. The payload inherits what this thread has given up, so it is
// as tight as without --init; the other threads never touch anything of it.
func (b *box) reap(conv *stage.Conn) (int, error) {
	debug.SetGCPercent(50) // it lives long and holds little
	signals := make(chan os.Signal, 64)
	signal.Notify(signals)
	p := b.cfg.Spec.Process
	attr := &syscall.ProcAttr{
		Env:   p.Env,
		Files: []uintptr{0, 1, 2},
		Sys:   &syscall.SysProcAttr{Setsid: true, Setctty: p.Terminal},
	}
	pid, err := syscall.ForkExec(b.exe, p.Args, attr)
	if err != nil {
		return 0, commandError(fmt.Sprintf("run %q", p.Args[0]), err)
	}
	_ = conv.Close() // tells the shim that the payload runs
	// No execve closes them here, and PID 1 stays as long as the container.
	for _, f := range b.files {
		_ = f.Close()
	}
	go func() {
		for s := range signals {
			// SIGURG is the Go runtime's own (preemption).
			if sig, ok := s.(syscall.Signal); ok && sig != unix.SIGCHLD && sig != unix.SIGURG {
				_ = syscall.Kill(pid, sig)
			}
		}
	}()
	for {
		var ws syscall.WaitStatus
		got, err := syscall.Wait4(-1, &ws, 0, nil)
		switch {
		case err == syscall.EINTR:
		case err != nil:
			return 0, hint.New("wait for the payload", err, "")
		case got == pid && ws.Exited():
			return ws.ExitStatus(), nil
		case got == pid && ws.Signaled():
			return 128 + int(ws.Signal()), nil
		}
	}
}
