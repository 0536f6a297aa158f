package slirp

import (
	"encoding/binary"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// A keeper that ends while containers run is started again by one of their shims,
// which stands in U0, holds N0 and knows where rc-net is: names, ports and the way
// out are back without anybody typing a command. Hundreds of shims see the end at the
// same moment: one of them gets the lock, the others only knock.

const (
	firstPause = 50 * time.Millisecond // before a second keeper in a row is started by shims
	maxPause   = 30 * time.Second
	// healthyLife is how long a keeper lives whose end says nothing about the next one. A
	// broken one ends within milliseconds of its start, or of the first shim that asks; one
	// that somebody kills every few seconds shall be back at once each time.
	healthyLife = time.Second
)

// ErrNotYet says that a keeper is being started by somebody else, or has ended so
// soon after its start that the next one has to wait: knock again.
var ErrNotYet = errors.New("the keeper of the network is not there yet")

// ReviveKeeper starts a keeper in the place of one that ended. It never waits for
// another starter: errors.Is(err, ErrNotYet). b.Mapping is nil, for the caller is in
// U0.
func ReviveKeeper(runtimeDir string, b *Birth) (*Client, error) {
	lock, err := lockKeeper(runtimeDir, time.Time{})
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, ErrNotYet
	}
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	if c, err := greet(runtimeDir); !errors.Is(err, ErrNoKeeper) {
		return c, err // somebody was faster
	}
	if !due(lock, time.Now()) {
		return nil, ErrNotYet
	}
	if err := b.spawn(runtimeDir, lock); err != nil {
		return nil, err
	}
	return greet(runtimeDir)
}

// due tells whether shims may start the next keeper now, and notes that one does: the
// lock file counts the keepers that they started in a row, and its time is when they
// did so last. One file for all, so that 300 shims start a keeper which dies at once
// no more often than one would.
func due(lock *os.File, now time.Time) bool {
	st, err := lock.Stat()
	if err != nil {
		return true
	}
	var count [4]byte
	n, _ := lock.ReadAt(count[:], 0)
	row := uint32(0)
	if since := now.Sub(st.ModTime()); n == len(count) && since >= 0 {
		row = min(binary.LittleEndian.Uint32(count[:]), 16)
		switch {
		case since > healthyLife+pauseAfter(row):
			row = 0
		case since < pauseAfter(row):
			return false
		}
	}
	binary.LittleEndian.PutUint32(count[:], row+1)
	_, _ = lock.WriteAt(count[:], 0) // a full disk: no pauses, but keepers
	return true
}

// pauseAfter is the least time between two starts, after row of them.
func pauseAfter(row uint32) time.Duration {
	if row == 0 {
		return 0
	}
	return min(firstPause<<(row-1), maxPause)
}
