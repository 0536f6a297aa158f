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
	heard chan os.Signal // never read: what has come stays to be seen
	bell  chan os.Signal // the same, for who waits
}

// errTerm keeps the shim from executing itself away from under a SIGTERM.
var errTerm = errors.New("SIGTERM has come")

// catchTerm keeps the signal for hearTerm.
func (s *shim) catchTerm() {
	s.term.heard, s.term.bell = make(chan os.Signal, 1), make(chan os.Signal, 1)
	if park.Terminated() {
		s.term.heard <- unix.SIGTERM
		s.term.bell <- unix.SIGTERM
	}
	signal.Notify(s.term.heard, unix.SIGTERM)
	signal.Notify(s.term.bell, unix.SIGTERM)
}

// hearTerm obeys it once the container runs. Before, whoever is told to end
// together with the shim is rc, without which nothing is started.
func (s *shim) hearTerm() {
	go func() {
		<-s.term.bell
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
	return func() { _ = unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil) }, nil
}

// came tells whether there was one, be it that another thread has taken it just now:
// Stop returns when all that the runtime took has reached its channels.
func (t *terminated) came() bool {
	flush := make(chan os.Signal, 1)
	signal.Notify(flush, unix.SIGTERM)
	signal.Stop(flush)
	return t.asked.Load() || len(t.heard) > 0
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
