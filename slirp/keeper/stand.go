package keeper

import (
	"sync"
	"time"

	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/slirp"
)

// Settle finds the keeper a place in the cgroup tree that outlives who started it,
// goes there, and returns the group in which containers get theirs, named as
// /proc/PID/cgroup names it. uid is the user's, as the host numbers it. It can be
// asked again after an error.
type Settle func(uid int) (group string, err error)

// idleInScope is how long a keeper stays, unused, that had to ask systemd for its
// place: so that it is asked once for an hour's work, not once for each command.
const idleInScope = 5 * time.Minute

// retryAfter is how soon a place is looked for again where there was none: the user
// may have typed what the error said.
const retryAfter = 2 * time.Second

// stand is where the keeper stands.
type stand struct {
	settle Settle
	uid    int

	mu    sync.Mutex
	group string
	err   error
	tried time.Time
}

// where returns the group, settling first if need be. Two at once wait for the one
// that asks.
func (s *stand) where() (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.settle == nil || s.group != "" || s.err != nil && time.Since(s.tried) < retryAfter {
		return s.group, s.err
	}
	s.group, s.err = s.settle(s.uid)
	s.tried = time.Now()
	return s.group, s.err
}

// describe puts it into the answer to a greeting.
func (s *stand) describe(w *slirp.Welcome) {
	group, err := s.where()
	if w.Group = group; err != nil {
		w.NoGroup = stage.Fail(err)
	}
}

// idleLimit is how long the keeper stays without a connection.
func (k *keeper) idleLimit() time.Duration {
	k.stand.mu.Lock()
	defer k.stand.mu.Unlock()
	if k.stand.group != "" {
		return idleInScope
	}
	return idleLimit
}
