package userns

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/linux"
)

// Process is a child of this process, started by Start.
type Process struct {
	PID   int      // as seen here; not a name for it once Wait has returned
	PidFD *os.File // names it for good

	foreign bool // somebody else's child
}

// Foreign is a process that another of our programs started for us and will reap;
// the Process owns pidfd.
func Foreign(pid int, pidfd *os.File) *Process {
	return &Process{PID: pid, PidFD: pidfd, foreign: true}
}

func newProcess(pid int) (*Process, error) {
	pidfd, err := linux.OpenPidfd(pid)
	if err != nil {
		return nil, err
	}
	return &Process{PID: pid, PidFD: pidfd}, nil
}

// Signal sends sig; an error that is ESRCH when the process has ended and was reaped.
func (p *Process) Signal(sig unix.Signal) error { return linux.SignalPidfd(p.PidFD, sig) }

// Wait waits in Go's poller, without holding a thread, for the process to end,
// and reaps it. Call it once. Closing the Process ends the wait with os.ErrClosed.
// How a Foreign one ended is known only to newer kernels (linux.ErrNoExitInfo).
func (p *Process) Wait() (unix.WaitStatus, error) {
	if p.foreign {
		if err := linux.WaitPidfd(p.PidFD); err != nil {
			return 0, err
		}
		return linux.ExitStatus(p.PidFD)
	}
	var status unix.WaitStatus
	raw, err := p.PidFD.SyscallConn()
	if err != nil {
		return 0, err
	}
	var werr error
	err = raw.Read(func(uintptr) bool {
		var got int
		got, werr = unix.Wait4(p.PID, &status, unix.WNOHANG, nil)
		return got == p.PID || werr != nil && werr != unix.EINTR
	})
	return status, errors.Join(err, werr)
}

// Close gives the pidfd back. The process goes on.
func (p *Process) Close() error { return p.PidFD.Close() }
