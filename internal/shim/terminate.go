package shim

import (
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/stage/control"
)

// terminated is what SIGTERM has asked of this shim.
type terminated struct {
	asked atomic.Bool
	file  *os.File // signalfd; nil where SIGTERM is not blocked
}

// signalInfo is the size of struct signalfd_siginfo (signalfd(2)), bytes.
const signalInfo = 128

// hearTerm obeys SIGTERM once the container runs: to a shim it means what `rc stop`
// means, but that no user has said so. The end of a unit, of a session or of the
// host would otherwise leave a container without its shim; and what the host's end
// has stopped, the next boot starts.
//
// The constructor in userns/park has blocked the signal before Go's runtime
// started, in every thread: it waits in the queue over all our executions of
// ourselves, and none is lost. Our children have it unblocked.
func (s *shim) hearTerm() {
	var blocked unix.Sigset_t
	const term = 1 << (unix.SIGTERM - 1)
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, nil, &blocked); err != nil || blocked.Val[0]&term == 0 {
		return // not started as rc-shim: a test
	}
	fd, err := unix.Signalfd(-1, &unix.Sigset_t{Val: [16]uint64{term}}, unix.SFD_CLOEXEC|unix.SFD_NONBLOCK)
	if err != nil {
		return
	}
	s.term.file = os.NewFile(uintptr(fd), "signalfd")
	go func() {
		var info [signalInfo]byte
		if n, err := s.term.file.Read(info[:]); err == nil && n > 0 {
			defer s.busy()()
			s.terminate()
		}
	}()
}

// terminate stops the container for good, whatever its policy says.
func (s *shim) terminate() {
	s.term.asked.Store(true)
	s.mu.Lock()
	resting := s.state.Status == record.Restarting && !s.launched
	if resting {
		select {
		case <-s.stopped:
		default:
			close(s.stopped)
		}
	}
	s.mu.Unlock()
	if !resting {
		s.stopFor(control.Request{Timeout: -1, Policy: true})
	}
}
