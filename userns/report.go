package userns

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/host"
	"github.com/rc-containers/rc/internal/linux"
)

// step is where the constructor stands; the order is that of the enum in nsjoin.c.
type step int32

const (
	stepReady step = iota
	stepNeedMaps
	stepCloned
	stepSetns
	stepUnshare
	stepOpenProc
	stepClone
	stepSetgroups
	stepGIDMap
	stepUIDMap
	stepSetgid
	stepSetuid
	stepSetsid
	stepDumpable
	stepGate
)

var stepNames = map[step]string{
	stepUnshare: "make namespaces", stepOpenProc: "open /proc", stepClone: "make the process and its namespaces",
	stepSetgroups: "deny setgroups in the new user namespace", stepGIDMap: "write the group map of the new user namespace",
	stepUIDMap: "write the user map of the new user namespace", stepSetgid: "become group 0 in the namespace",
	stepSetuid: "become user 0 in the namespace", stepSetsid: "start a session", stepDumpable: "become non-dumpable",
	stepGate: "make a pipe",
}

// errEnded is the silence of everybody who could report.
var errEnded = errors.New("the process ended before it was set up")

// constructorLimit ends the wait for a program that has no constructor, or that
// somebody stopped.
const constructorLimit = 30 * time.Second

// message is one report of the constructor, 16 bytes in a packet.
type message struct {
	step     step
	errno    unix.Errno
	pid, arg int
}

// receive waits for a report, or for the end of everybody who could send one.
func receive(sock *os.File) (message, error) {
	var buf [16]byte
	n, err := sock.Read(buf[:])
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return message{}, fmt.Errorf("no report after %v: the program has no constructor, or is stopped", constructorLimit)
	case err != nil || n != len(buf):
		return message{}, errEnded
	}
	field := func(i int) int32 { return int32(binary.NativeEndian.Uint32(buf[4*i:])) }
	return message{step(field(0)), unix.Errno(field(1)), int(field(2)), int(field(3))}, nil
}

// failure turns a report of a failed step into a refusal.
func (m message) failure(p *Program) error {
	op := stepNames[m.step]
	if m.step == stepSetns {
		op = "join the " + linux.NamespaceName(m.arg) + " namespace"
	}
	fix := ""
	newUser := m.step == stepUnshare && p.Plan.Unshare&unix.CLONE_NEWUSER != 0 ||
		m.step == stepClone && p.Plan.Clone&unix.CLONE_NEWUSER != 0 || m.step == stepUIDMap || m.step == stepGIDMap
	switch {
	case m.step == stepClone && p.Plan.CgroupFD > 0 && m.errno != unix.ENOSPC:
		op += " in its cgroup"
	case newUser:
		f := host.Here().WhyNoUserNS(m.errno)
		return hint.New(op, fmt.Errorf("%w:%s", m.errno, strings.TrimPrefix(f.Evidence, m.errno.Error()+":")), f.Fix)
	case m.step == stepSetns && m.errno == unix.EPERM && m.arg == unix.CLONE_NEWUSER:
		fix = "it was made from another user namespace than this command is in: run the command where the others were; or give it a state root and a runtime folder of its own: --root and XDG_RUNTIME_DIR"
	case m.errno == unix.ENOSPC:
		fix = "raise the namespace limits: sysctl -a --pattern 'user.max_.*_namespaces'"
	case m.errno == unix.EAGAIN:
		fix = "the limit of processes is reached: see `ulimit -u` and the pids limit of this cgroup"
	}
	return hint.New(op, m.errno, fix)
}
