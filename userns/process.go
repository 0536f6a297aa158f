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
}

func newProcess(pid int) (*Process, error) {
	pidfd, err := linux.OpenPidfd(pid)
	if err != nil {
		return nil, err
	}
	return &Process{pid, pidfd}, nil
}

// Signal sends sig; an error that is ESRCH when the process has ended and was reaped.
func (p *Process) Signal(sig unix.Signal) error { return linux.SignalPidfd(p.PidFD, sig) }

// Wait waits in Go's poller, without holding a thread, for the process to end,
// and reaps it. Call it once. Closing the Process ends the wait with os.ErrClosed.
func (p *Process) Wait() (unix.WaitStatus, error) {
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
