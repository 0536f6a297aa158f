// Package keeper is the keeper of a user's networks: the first process of U0,
// in the host's network namespace. It holds U0 for everybody (as a descriptor
// that it hands out, never as a pid), runs one slirp4netns for each attached
// container and listens on its published ports, both through rootlesskit's
// packages. It leaves when nobody has been connected for a while.
//
// Only rc-net links it. Every message is parsed as hostile.
package keeper

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/linux"
)

// The descriptors of rc-net (package slirp, start.go).
const (
	connFD  = 4
	lockFD  = 5
	n0FD    = 7 // 6 was U0, if it was joined
	firstFD = 8
)

// clean is the argument of the second execution.
const clean = "keep"

// The main thread keeps the main goroutine and nothing else. A goroutine that
// enters a container's network namespace never comes back, and its thread ends
// with it; the main thread cannot end, would pin that namespace for ever, and
// /proc/self, which is the main thread, would show it to everybody.
func init() { runtime.LockOSThread() }

// Noop says whether this process was started in the place of nsenter (tools.go)
// and has nothing to do. main asks it before anything else.
func Noop() bool { return filepath.Base(os.Args[0]) == "nsenter" }

// Main is the program: it cleans itself of its starter, executes itself anew,
// and serves until nobody needs it. place may be nil: then it stands where its
// starter stood.
func Main(place Place) error {
	if len(os.Args) == 2 && os.Args[1] == clean {
		return serveStarter(place)
	}
	var st unix.Stat_t
	if err := unix.Fstat(connFD, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return fmt.Errorf("rc-net is started by rc, not by hand")
	}
	return detach()
}

// detach drops what came from whoever typed the first `rc`: mask, session,
// folder, streams, descriptors, environment, and the session keyring with the
// user's keys. Credentials, and with them the keyring, belong to a thread, and
// Go has several by now: only an execve makes them one again. It also moves the
// mm into U0 (it was executed outside), so that slirp4netns, root of U0, may
// open /proc/TID/ns of ours although we are not dumpable (ptrace(2)).
func detach() error {
	unix.Umask(0o077)
	_, _ = unix.Setsid() // EPERM: it is a session's leader already
	if err := unix.Chdir("/"); err != nil {
		return err
	}
	if err := nullStreams(); err != nil {
		return err
	}
	if err := moreFiles(); err != nil {
		return err
	}
	if err := linux.JoinSessionKeyring(-1); err != nil {
		return err
	}
	if err := linux.CloexecFrom(connFD - 1); err != nil { // also the plan, whose constructor has run
		return err
	}
	keep := []int{connFD, lockFD}
	if n0 := inheritedN0(); n0 != nil {
		_ = n0.Close()
		keep = append(keep, n0FD)
	}
	for _, fd := range keep {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0); err != nil {
			return fmt.Errorf("descriptor %d: %w", fd, err)
		}
	}
	return syscall.Exec("/proc/self/exe", []string{"rc-net", clean}, []string{})
}

func nullStreams() error {
	null, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	for fd := range 3 {
		if err := unix.Dup3(null, fd, 0); err != nil {
			return err
		}
	}
	return unix.Close(null)
}
