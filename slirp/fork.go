package slirp

import (
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/userns"
)

const forkTimeout = 30 * time.Second

// Fork asks the keeper to start a program that a caller cannot put where it shall
// stand: the kernel lets no process of a login's cgroup into the user's own. Beside
// it go three descriptors: the program, a mount namespace that belongs to U0, and
// the conversation, which becomes descriptor 4. The program is root of U0 in that
// mount namespace, in a session of its own, and a child of the keeper's.
type Fork struct {
	Args, Env []string
	Namespaces
	Process
}

// Namespaces are inode numbers below /proc/PID/ns, by name, of those in which the
// program has to be and which the keeper cannot enter: its own must be the same.
type Namespaces map[string]uint64

// Process is what the caller's own child would have inherited, and the keeper's
// does not.
type Process struct {
	Limits      []Limit `json:",omitempty"` // by number, RLIMIT_CPU first
	Nice        int     `json:",omitempty"`
	CPUs        []uint  `json:",omitempty"` // words of the affinity mask, least first
	OOMScoreAdj int     `json:",omitempty"`
}

// Limit is one resource's, as setrlimit(2) has it.
type Limit struct{ Cur, Max uint64 }

// limits is RLIM_NLIMITS: RLIMIT_RTTIME is the last.
const limits = unix.RLIMIT_RTTIME + 1

// Forked is the answer; a pidfd goes beside it.
type Forked struct {
	PID  int
	Less []string `json:",omitempty"` // what the kernel did not let the keeper give: "the limit of open files"
}

// sharedNamespaces are those that a shim is in and that U0 has no power over.
var sharedNamespaces = []string{"net", "ipc", "uts", "pid", "cgroup", "time"}

// OwnNamespaces are those of this process. A kernel without one of them has it not.
func OwnNamespaces() Namespaces {
	own := Namespaces{}
	for _, name := range sharedNamespaces {
		var st unix.Stat_t
		if unix.Stat("/proc/self/ns/"+name, &st) == nil {
			own[name] = st.Ino
		}
	}
	return own
}

// Different names those in which n and other differ, in order.
func (n Namespaces) Different(other Namespaces) []string {
	var names []string
	for _, name := range sharedNamespaces {
		if n[name] != other[name] {
			names = append(names, name)
		}
	}
	return names
}

// Fork has the keeper start a program; the files are borrowed. A keeper that dies
// meanwhile is ErrNoKeeper, and the program is gone with it, or ends as soon as
// the caller closes its end of the conversation.
func (c *Client) Fork(f *Fork, program, mount, conn *os.File) (*userns.Process, []string, error) {
	const op = "have the keeper start the container"
	reply, files, err := c.ask(op, forkTimeout, &Request{Fork: f}, program, mount, conn)
	if err != nil {
		return nil, nil, err
	}
	if reply.Forked == nil || len(files) != 1 {
		stage.CloseFiles(files)
		return nil, nil, hint.Newf(op, "stop it (ps -C rc-net) and run the command again", "it answers with something else")
	}
	return userns.Foreign(reply.Forked.PID, files[0]), reply.Forked.Less, nil
}

// Unit asks whether the user's systemd delegated the unit of that group, as
// /proc/PID/cgroup names it. Inode is its folder's: each start makes a new one.
type Unit struct {
	Group string
	Inode uint64
}

// UnitReply is the answer.
type UnitReply struct{ Delegated bool }

// Delegated asks the keeper about a unit; it asks systemd once for each start of it.
func (c *Client) Delegated(group string, inode uint64) (bool, error) {
	const op = "ask about the unit in which rc runs"
	reply, files, err := c.ask(op, helloTimeout, &Request{Unit: &Unit{group, inode}})
	stage.CloseFiles(files)
	if err != nil {
		return false, err
	}
	return reply.Unit != nil && reply.Unit.Delegated, nil
}

// ProcessOf reads what pid, a child of ours that has changed nothing yet, inherited.
func ProcessOf(pid int) (*Process, error) {
	var p Process
	for which := range limits {
		var l unix.Rlimit
		if err := unix.Prlimit(pid, which, nil, &l); err != nil {
			return nil, os.NewSyscallError("prlimit", err)
		}
		p.Limits = append(p.Limits, Limit{l.Cur, l.Max})
	}
	// The system call counts from 40 down to 1, so that no value is an error
	// (getpriority(2), "C library/kernel differences").
	raw, err := unix.Getpriority(unix.PRIO_PROCESS, pid)
	if err != nil {
		return nil, os.NewSyscallError("getpriority", err)
	}
	p.Nice = 20 - raw
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(pid, &set); err != nil {
		return nil, os.NewSyscallError("sched_getaffinity", err)
	}
	for _, word := range set {
		p.CPUs = append(p.CPUs, uint(word))
	}
	p.OOMScoreAdj, err = readScore(pid)
	return &p, err
}
