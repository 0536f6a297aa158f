// Package linux holds the kernel calls that the rest of rc needs and that
// golang.org/x/sys/unix gives only raw: each with close-on-exec descriptors,
// errors that name the object, and the fallback for kernels back to 5.14.
//
// Every error unwraps to the errno, so errors.Is(err, unix.EPERM) holds.
package linux

import (
	"os"
	"strings"
	"sync"
)

// The kernel features, newer than Linux 5.14 or refused by some hosts, that
// have a fallback. Their names are what RC_TEST_WITHOUT lists.
const (
	LowerdirAppend  = "lowerdir+"         // overlay's lowerdir+ in fsconfig, Linux 6.7
	FsopenOverlay   = "fsopen-overlay"    // overlay through fsopen instead of mount(2)
	LandlockScope   = "landlock-scope"    // Landlock ABI 6, Linux 6.12
	PidfdInfo       = "pidfd-info"        // PIDFD_GET_INFO with the exit code, Linux 6.15
	CloneIntoCgroup = "clone-into-cgroup" // clone3's CLONE_INTO_CGROUP, Linux 5.7, EACCES where cgroup v2 is not ours
	SoPeerPidfd     = "so-peerpidfd"      // getsockopt(SO_PEERPIDFD), Linux 6.5
	MemfdNoexec     = "memfd-noexec"      // memfd_create(MFD_NOEXEC_SEAL), Linux 6.3
	CloseRange      = "close-range"       // close_range(2), Linux 5.9; ENOSYS or EPERM below an old seccomp filter
)

// withoutVariable names the features that this process shall believe missing.
const withoutVariable = "RC_TEST_WITHOUT"

var without = sync.OnceValue(func() map[string]bool {
	set := map[string]bool{}
	for name := range strings.SplitSeq(os.Getenv(withoutVariable), ",") {
		set[strings.TrimSpace(name)] = true
	}
	return set
})

// Without says whether a test asked for the fallback of feature, by the comma
// list in RC_TEST_WITHOUT. The variable is read at the first call; the shim
// sets it from its configuration before that, since it has no environment.
func Without(feature string) bool { return feature != "" && without()[feature] }
