package linux

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Landlock scopes (ABI 6, Linux 6.12): what a restricted process cannot reach
// outside its own domain.
const (
	ScopeAbstractSocket = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET // connect to abstract sockets
	ScopeSignal         = unix.LANDLOCK_SCOPE_SIGNAL               // send signals
)

// LandlockABI is the version of Landlock that the kernel enforces, 0 when it is
// not built in, not enabled at boot, or refused by a filter.
func LandlockABI() int {
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0
	}
	return int(abi)
}

// RestrictScope takes scopes from the calling thread and what it executes,
// until the end. It needs no_new_privs or CAP_SYS_ADMIN, else EPERM. Kernels
// without scopes give an error that wraps ENOTSUP: the caller must report that.
func RestrictScope(scopes uint64) error {
	abi := LandlockABI()
	if Without(LandlockScope) || abi < 6 {
		return fmt.Errorf("landlock scopes need Linux 6.12, this kernel has landlock ABI %d: %w", abi, unix.ENOTSUP)
	}
	// Only the first three fields: a kernel that knows fewer than the caller's
	// struct refuses non-zero rest, and the size tells which form it is.
	attr := struct{ accessFS, accessNet, scoped uint64 }{scoped: scopes}
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET,
		uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr), 0)
	if errno != 0 {
		return fail("landlock_create_ruleset", "", errno)
	}
	defer unix.Close(int(fd))
	if _, _, errno = unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0, 0); errno != 0 {
		return fail("landlock_restrict_self", "", errno)
	}
	return nil
}
