package slirp

import (
	"testing"

	"golang.org/x/sys/unix"
)

// What this shell has is not what every container of the user gets, and this
// process gets its own back.
func TestRaiseCeilings(t *testing.T) {
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_SIGPENDING, &before); err != nil {
		t.Fatal(err)
	}
	if before.Max < 2 {
		t.Skip("the hard limit of pending signals is too small to lower the soft one")
	}
	low := unix.Rlimit{Cur: before.Max - 1, Max: before.Max}
	if err := unix.Setrlimit(unix.RLIMIT_SIGPENDING, &low); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Setrlimit(unix.RLIMIT_SIGPENDING, &before) })
	restore, err := raiseCeilings()
	if err != nil {
		t.Fatal(err)
	}
	var now unix.Rlimit
	_ = unix.Getrlimit(unix.RLIMIT_SIGPENDING, &now)
	if now.Cur != before.Max {
		t.Errorf("while the keeper starts: %d, want %d", now.Cur, before.Max)
	}
	restore()
	_ = unix.Getrlimit(unix.RLIMIT_SIGPENDING, &now)
	if now != low {
		t.Errorf("afterwards: %v, want %v", now, low)
	}
}
