package linux

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Below tells whether the peer stands in a user namespace below our own, as every
// process of a container does and none of the user's own: to U0 that is the one
// difference between the user and a container's root, who has the user's uid. A
// peer that has ended counts as below: nothing can be said of it.
//
// It asks /proc: the namespace's link can be read of who is below us, because we
// have CAP_SYS_PTRACE there, and of nobody above (ptrace(2)). Who is below can
// make itself unreadable, by executing a program that it may not read (would_dump
// in fs/exec.c); its uid_map can be read all the same, and names only ids that we
// have, where a namespace above ours has others (user_namespaces(7): those show
// as 4294967295).
func (p Peer) Below() bool {
	if p.PidFD == nil {
		return true
	}
	if p.PID == 0 {
		return false // in a pid namespace that is not below ours
	}
	ours, err := NamespaceOfProcess(0, unix.CLONE_NEWUSER)
	if err != nil {
		return true
	}
	theirs, err := NamespaceOfProcess(p.PID, unix.CLONE_NEWUSER)
	below := err == nil && theirs != ours
	if err != nil {
		// Our own namespace shows the ids of the one above, to us. And where ours
		// has every id of the one above, that one looks as if it were below: then
		// the map of our parent, which is above, tells.
		ids, err := ReadFile(fmt.Sprintf("/proc/%d/uid_map", p.PID))
		below = err == nil && !sameIDs(ids) && onlyOurs(ids) && !idsBelow(os.Getppid())
	}
	// Only if it lives now was all that read of it, and not of who got its pid.
	poll := []unix.PollFd{{Fd: int32(p.PidFD.Fd()), Events: unix.POLLIN}}
	if n, err := unix.Poll(poll, 0); err != nil || n > 0 {
		return true
	}
	return below
}

// idsBelow: every id of the process's user namespace is one of ours, or it has none.
func idsBelow(pid int) bool {
	ids, err := ReadFile(fmt.Sprintf("/proc/%d/uid_map", pid))
	return err == nil && onlyOurs(ids) // /proc with hidepid shows nobody above us
}

// onlyOurs: that uid_map names no id that we have not.
func onlyOurs(ids []byte) bool {
	for line := range strings.Lines(string(ids)) {
		if f := strings.Fields(line); len(f) == 3 && f[1] == "4294967295" {
			return false
		}
	}
	return true
}

// sameIDs: that uid_map reads as ours does. Who is below cannot make one that does, save
// where our own range holds the ids that it is mapped to.
func sameIDs(ids []byte) bool {
	own, err := ReadFile("/proc/self/uid_map")
	return err == nil && string(own) == string(ids)
}
