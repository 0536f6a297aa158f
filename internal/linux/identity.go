package linux

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Identity names one process for good: a pid alone comes back after wrap-around,
// and joining a recycled one would put rc into a hostile process's mounts.
type Identity struct {
	PID       int    `json:"pid"`
	StartTime uint64 `json:"startTime"` // clock ticks after boot, field 22 of /proc/PID/stat
	BootID    string `json:"bootId"`    // of the host, so that a record outlives a reboot without lying
}

// IdentityOf reads the identity of pid; ESRCH when there is none. Only as good
// as the caller's hold on pid (a child not yet reaped, an open pidfd).
func IdentityOf(pid int) (Identity, error) {
	boot, err := BootID()
	if err != nil {
		return Identity{}, err
	}
	start, err := StartTime(pid)
	return Identity{PID: pid, StartTime: start, BootID: boot}, err
}

// Open returns a pidfd of exactly that process, ESRCH when it is gone, however
// many others had its pid since. A zombie still opens.
func (id Identity) Open() (*os.File, error) {
	if boot, err := BootID(); err != nil || boot != id.BootID {
		return nil, fail("open process of an earlier boot", strconv.Itoa(id.PID), unix.ESRCH)
	}
	f, err := OpenPidfd(id.PID)
	if err != nil {
		return nil, err
	}
	// Only after pidfd_open does the start time prove anything: the pid cannot be
	// given away again while the pidfd is open.
	start, err := StartTime(id.PID)
	if err == nil && start != id.StartTime {
		err = fail("open process", strconv.Itoa(id.PID)+", recycled", unix.ESRCH)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// Alive says whether that process still runs. A zombie does not.
func (id Identity) Alive() bool {
	f, err := id.Open()
	if err != nil {
		return false
	}
	defer f.Close()
	ready := []unix.PollFd{{Fd: int32(f.Fd()), Events: unix.POLLIN}}
	n, err := unix.Poll(ready, 0)
	return err == nil && n == 0
}

// Runs is Alive by one look at /proc, for whoever needs no hold on the process. One
// that was killed does not run, although its last threads may still be on their way
// out.
func (id Identity) Runs() bool {
	if boot, err := BootID(); err != nil || boot != id.BootID {
		return false
	}
	state, start, err := stat(id.PID)
	return err == nil && start == id.StartTime && state != 'Z' && state != 'X'
}

// StartTime is when pid started, in clock ticks after boot.
func StartTime(pid int) (uint64, error) {
	_, start, err := stat(pid)
	if os.IsNotExist(err) {
		err = fail("read start time of process", strconv.Itoa(pid), unix.ESRCH)
	}
	return start, err
}

// stat reads the state and the start time of pid from /proc/PID/stat.
func stat(pid int) (state byte, start uint64, err error) {
	text, err := ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, 0, err
	}
	return parseStat(text)
}

// parseStat parses proc_pid_stat(5). The name in it is chosen by the process and
// may hold blanks and brackets: what follows the last ')' is ours to trust.
func parseStat(text []byte) (state byte, start uint64, err error) {
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(fields) < 20 { // field 3 (state) is the first here, 22 (start time) the twentieth
		return 0, 0, fmt.Errorf("parse /proc/PID/stat: %d fields", len(fields))
	}
	start, err = strconv.ParseUint(string(fields[19]), 10, 64)
	return fields[0][0], start, err
}

// BootID is the random name of this boot of the host.
func BootID() (string, error) { return bootID() }

var bootID = sync.OnceValues(func() (string, error) {
	data, err := ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(data)), err
})
