package shim

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/userns/park"
)

// Where nothing happens at all, the shim executes itself to wait in C (userns/park),
// and again when something does: the second program goes on from the handover, which
// the first has left untouched, as after a settling. What ends the wait is left for
// it: bytes stay in their pipe, connections in the queue, the dead unreaped.

var ( // tests are less patient
	parkAfter = 3 * time.Second // without output, request or exec
	afterExec = time.Minute     // without another exec: who comes once comes again
	parking   = true
)

const (
	// maxPatience is what parkAfter grows to where sleep is short.
	maxPatience = time.Minute
	// goodSleep is one that was worth its two execves: 6 ms of processor for 0.8 MiB
	// less over that time (measured).
	goodSleep = 15 * time.Second
	// shortestSleep is the least time to the next probe for which it parks.
	shortestSleep = 10 * time.Second
	// longestSleep bounds how long a folder that was taken away by itself, and whose
	// maker did not tell us, goes unnoticed.
	longestSleep = time.Hour
)

// sleep is a wait before the next program begins.
type sleep struct {
	limit  time.Duration
	events []string // names of descriptors; those that there are count
	path   string   // of the control socket
}

// nextPatience is the wait before the next park; last is that before the sleep which
// began at parked.
func nextPatience(last time.Duration, parked time.Time) time.Duration {
	switch {
	case last == 0, !parked.IsZero() && time.Since(parked) >= goodSleep:
		return parkAfter
	case parked.IsZero(), restless:
		return last
	}
	return min(2*last, maxPatience)
}

// awakeFor is how long nothing has to happen before the shim parks. Waking costs an
// exec 4 to 8 ms, more than it takes by itself, and execs come in rows: of a script, of
// a monitor, of somebody who looks around.
func (s *shim) awakeFor() time.Duration {
	s.work.mu.Lock()
	defer s.work.mu.Unlock()
	if s.work.called && !restless {
		return max(s.patience, afterExec)
	}
	return s.patience
}

// parkLimit is how long the shim may sleep; false where it is not worth it.
func (s *shim) parkLimit() (time.Duration, bool) {
	if !parking || len(s.lost()) > 0 { // who asks for ports does not sleep
		return 0, false
	}
	next := longestSleep
	if check, ok := probeOf(s.cfg.Health); ok {
		next = (&prober{check: check}).next(s.snapshot())
	}
	if every := s.aliveEvery(); every > 0 {
		next = min(next, every)
	}
	return next, next >= shortestSleep
}

// born is when this program began, for clocks that never step.
var born = time.Now()

// ticks is the time since then.
func ticks() int64 { return int64(time.Since(born)) }

// stillFor is how long nothing has happened: no output, no request, no exec.
func (s *shim) stillFor() time.Duration {
	s.work.mu.Lock()
	defer s.work.mu.Unlock()
	if s.work.n > 0 {
		return 0
	}
	still := time.Duration(ticks() - s.streams.wrote.Load())
	if !s.work.since.IsZero() {
		still = min(still, time.Since(s.work.since))
	}
	return still
}

// lay prepares the process for the constructor, which takes over from an execve in
// this thread. SIGUSR2 is blocked in it: pending from then on, it ends the wait.
// awake undoes it where there was no execve.
func (to *sleep) lay(h *handover) (awake func(), err error) {
	p := park.Plan{Limit: to.limit, Path: to.path}
	for _, name := range to.events {
		fd, ok := h.FDs[name]
		switch {
		case ok && name == oomEvents: // it can be read at all times
			p.Errors = append(p.Errors, fd)
		case ok:
			p.FDs = append(p.FDs, fd)
		}
	}
	var usr2 unix.Sigset_t
	usr2.Val[0] = 1 << (unix.SIGUSR2 - 1)
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &usr2, &p.Mask); err != nil {
		return nil, err
	}
	back := func() { _ = unix.PthreadSigmask(unix.SIG_SETMASK, &p.Mask, nil) }
	if err := p.Lay(); err != nil {
		back()
		return nil, err
	}
	return func() {
		_ = unix.Close(park.FD)
		back()
	}, nil
}
