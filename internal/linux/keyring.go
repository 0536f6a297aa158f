package linux

import (
	"errors"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
)

// JoinSessionKeyring gives the calling thread a new, empty session keyring, so
// that the user's own keys are out of reach of what it executes. The keyring is
// charged to the real uid of the thread: owner is taken on for the moment, a
// subordinate id, so that the user's quota of kernel.keys.maxkeys (200) does not
// bound the number of containers. owner -1 keeps the real uid.
//
// Call it on a thread that is locked and that will execve: credentials and the
// session keyring belong to the thread. A kernel without keyrings, or a filter
// that refuses keyctl (ENOSYS), leaves nothing to hide: no error.
func JoinSessionKeyring(owner int) error {
	if owner >= 0 {
		before := unix.Getuid()
		// Raw calls: unix.Setresuid of a cgo program goes through glibc and changes
		// every thread. Only the real id moves, so no capability is lost
		// (capabilities(7), effect of user ID changes).
		if err := setRealUID(owner); err != nil {
			return fail("setresuid", "", err)
		}
		defer func() { _ = setRealUID(before) }()
	}
	// NULL asks for an anonymous keyring; x/sys can pass a name only, and the
	// empty one is EINVAL.
	var err error
	if _, _, errno := unix.RawSyscall(unix.SYS_KEYCTL, unix.KEYCTL_JOIN_SESSION_KEYRING, 0, 0); errno != 0 {
		err = errno
	}
	switch {
	case err == nil, errors.Is(err, unix.ENOSYS):
		return nil
	case errors.Is(err, unix.EDQUOT): // "Disk quota exceeded", which nobody reads right
		return hint.New("make a session keyring for the container", err,
			"the kernel's key quota is used up: raise it with `sudo sysctl -w kernel.keys.maxkeys=20000 kernel.keys.maxbytes=2000000`, or get subordinate IDs")
	}
	return fail("keyctl", "join session keyring", err)
}

func setRealUID(uid int) error {
	const keep = ^uintptr(0)
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), keep, keep); errno != 0 {
		return errno
	}
	return nil
}
