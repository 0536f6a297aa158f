// rc-init is the runtime beside a container, in one small file with eight roles,
// told apart by the name it is started under:
//
//	rc-shim     supervises one container (internal/shim)
//	rc-boot     becomes the container's PID 1 (internal/boot)
//	rc-exec     becomes one more process of a container (internal/boot)
//	rc-tidy     deletes what belongs to subordinate ids
//	rc-unshare  becomes a command of the user's own in U0
//	rc-cover    clones a tree with the host's cgroups covered
//	rc-measure  counts the bytes of folders of subordinate ids
//	rc-probe    tries the root file system drivers
//	rc-lend     hands a container's /dev/shm to one that joins its IPC namespace
//
// The C constructor in userns/nsjoin has put it into its namespaces before main
// runs. It is not meant to be started by hand.
//
// Nobody looks at names of the runtime's mappings, a system call each.
//
//go:debug decoratemappings=0
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/boot"
	"github.com/rc-containers/rc/internal/shim"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/trace"
	_ "github.com/rc-containers/rc/userns/nsjoin"
)

// conversation is the descriptor on which the starter talks (userns.Program.Conn).
const conversation = 4

func main() {
	trace.Born()
	role := filepath.Base(os.Args[0])
	main, ok := roles[role]
	if !ok || !started() {
		fmt.Fprintln(os.Stderr, "rc-init: this program is started by rc; see `rc --help`")
		os.Exit(125)
	}
	// Executed by a descriptor or by /proc/self/exe, it would be called so in ps.
	name, _ := unix.BytePtrFromString("rc-init")
	_ = unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(name)), 0, 0, 0)
	if role == "rc-boot" {
		boot.Reserve()
	} else {
		debug.SetGCPercent(50) // it lives long and holds little
	}
	unix.CloseOnExec(conversation)
	converse := stage.NewConn
	if role == "rc-boot" || role == "rc-exec" {
		converse = stage.NewWaitingConn // on their one thread, and without Go's poller
	}
	code := main(converse(conversation))
	trace.Leave()
	os.Exit(code)
}

// started tells whether another of our programs started this one: it left a socket
// or, executing itself, a sealed memory file. (Go's runtime may have a file of the
// cgroup's open there.)
func started() bool {
	var st unix.Stat_t
	if unix.Fstat(conversation, &st) != nil {
		return false
	}
	seals, err := unix.FcntlInt(conversation, unix.F_GET_SEALS, 0) // EINVAL of a file on a disk
	return st.Mode&unix.S_IFMT == unix.S_IFSOCK || err == nil && seals&unix.F_SEAL_WRITE != 0
}

var roles = map[string]func(*stage.Conn) int{
	"rc-shim":    shim.Main,
	"rc-boot":    boot.Main,
	"rc-exec":    boot.Exec,
	"rc-tidy":    shim.Tidy,
	"rc-unshare": shim.Unshare,
	"rc-probe":   shim.Probe,
	"rc-lend":    shim.Lend,
	"rc-measure": shim.Measure,
	"rc-cover":   shim.Cover,
}
