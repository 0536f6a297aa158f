package keeper

import (
	"strings"
	"sync"
	"time"

	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/slirp"
)

// Place is what knows where a keeper shall stand: package cgroup/scope. uid is the
// user's, as the host numbers it; groups are named as /proc/PID/cgroup names them.
type Place interface {
	// Settle goes to a place in the cgroup tree that outlives who started the keeper,
	// and returns the group in which containers get theirs. It can be asked again
	// after an error.
	Settle(uid int) (group string, err error)
	// Delegated tells whether the user's systemd has delegated the unit of that group.
	Delegated(uid int, group string) (bool, error)
}

// idleInScope is how long a keeper stays, unused, that had to ask systemd for its
// place: so that it is asked once for an hour's work, not once for each command.
const idleInScope = 5 * time.Minute

// retryAfter is how soon a place is looked for again where there was none: the user
// may have typed what the error said.
const retryAfter = 2 * time.Second

// stand is where the keeper stands.
type stand struct {
	place Place // nil: where its starter stood
	uid   int

	mu    sync.Mutex
	group string
	err   error
	tried time.Time
	units map[string]unit // by group
	less  string          // what the last callers were told that they do not get

	namespaces slirp.Namespaces // our own, which do not change
}

// unit is an answer of systemd's. Each start of a unit has a folder of its own.
type unit struct {
	inode     uint64
	delegated bool
}

const maxUnits = 1000

// where returns the group, settling first if need be. Two at once wait for the one
// that asks.
func (s *stand) where() (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.place == nil || s.group != "" || s.err != nil && time.Since(s.tried) < retryAfter {
		return s.group, s.err
	}
	s.group, s.err = s.place.Settle(s.uid)
	s.tried = time.Now()
	return s.group, s.err
}

// delegated asks systemd about a unit, once for each time that it is started.
func (s *stand) delegated(r *slirp.Unit) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u, ok := s.units[r.Group]; ok && u.inode == r.Inode {
		return u.delegated, nil
	}
	if s.place == nil {
		return false, nil
	}
	yes, err := s.place.Delegated(s.uid, r.Group)
	if err != nil {
		return false, err
	}
	if s.units == nil || len(s.units) >= maxUnits {
		s.units = map[string]unit{}
	}
	s.units[r.Group] = unit{r.Inode, yes}
	return yes, nil
}

// news is less where it was not the last that was told: a line at each start would
// be read by nobody.
func (s *stand) news(less []string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := strings.Join(less, ", ")
	if now == s.less {
		return nil
	}
	s.less = now
	return less
}

// describe puts it into the answer to a greeting.
func (s *stand) describe(w *slirp.Welcome) {
	group, err := s.where()
	if w.Group = group; err != nil {
		w.NoGroup = stage.Fail(err)
	}
	if group == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.namespaces == nil {
		s.namespaces = slirp.OwnNamespaces()
	}
	w.Namespaces = s.namespaces
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
