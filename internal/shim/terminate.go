package shim

import (
	"errors"
	"os"
	"os/signal"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/stage/control"
	"github.com/rc-containers/rc/userns/park"
)

// SIGTERM means to a shim what `rc stop` means, but that no user has said so. The
// end of a unit, of a session or of the host would otherwise leave a container
// without its shim; and what the host's end has stopped, the next boot starts.
//
// An execve takes a program's handlers away. So the thread that executes the shim
// again has the signal blocked, which leaves it pending; a wait in C ends by it; and
// the constructor in userns/park takes it before Go's runtime, which unblocks it
// (runtime.blockableSig), would end by it. Left is the half millisecond between
// that and Notify, in which it ends the shim, as it ends any other program.
type terminated struct {
	asked atomic.Bool
	heard chan os.Signal
}

// errTerm keeps the shim from executing itself away from under a SIGTERM.
var errTerm = errors.New("SIGTERM has come")

// catchTerm keeps the signal for hearTerm.
func (s *shim) catchTerm() {
	s.term.heard = make(chan os.Signal, 1)
	signal.Notify(s.term.heard, unix.SIGTERM)
	if park.Terminated() {
		s.term.heard <- unix.SIGTERM
	}
}

// hearTerm obeys it once the container runs. Before, whoever is told to end
// together with the shim is rc, without which nothing is started.
func (s *shim) hearTerm() {
	go func() {
		<-s.term.heard
		defer s.busy()()
		s.terminate()
	}()
}

// holdTerm blocks it in this thread, which is locked, before an execve; release
// undoes that.
func (s *shim) holdTerm() (release func(), err error) {
	var before unix.Sigset_t
	term := unix.Sigset_t{Val: [16]uint64{1 << (unix.SIGTERM - 1)}}
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &term, &before); err != nil {
		return nil, err
	}
	release = func() { _ = unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil) }
	if s.term.asked.Load() || len(s.term.heard) > 0 {
		release()
		return nil, errTerm
	}
	return release, nil
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
