package userns

import (
	"bytes"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/linux"
)

// Join is one setns(2): the number of a descriptor in the CHILD (5 is the first
// of Program.Files) and the CLONE_NEW* type that it must have. The constructor
// closes it afterwards; pass a namespace twice to keep it.
type Join struct{ FD, Type int }

// Plan is what the C constructor does before Go's runtime starts, top to bottom.
// The zero plan only reports that the program is up.
type Plan struct {
	Join    []Join // at most 12, in this order: the user namespace first
	Unshare int    // CLONE_NEW* unshared in place; with CLONE_NEWUSER it waits until Program.MapIDs is written
	Clone   int    // CLONE_NEW* of a child that goes on into Go's main while the intermediate exits
	Fork    bool   // make that child although Clone is 0; implied by a joined PID namespace, which takes children only

	// The maps of a Clone with CLONE_NEWUSER, written by the intermediate, which
	// has the capabilities of the namespace that it joined.
	UIDMap, GIDMap []IDMap
	DenySetgroups  bool

	// CgroupFD is the number in the child of a cgroup v2 folder to be cloned into;
	// 0 is none. A refusal fails Start (the errno is EACCES, EBUSY, EOPNOTSUPP …):
	// the caller may try again without, and move the pid in Program.Prepare. A Join of
	// CLONE_NEWCGROUP alone comes after the clone then: with nsdelegate, who stands in
	// another cgroup namespace is refused the folder (ENOENT).
	CgroupFD int

	// Orphan makes the child nobody's here: whoever reaps the orphans, a service
	// manager perhaps, has it when Start returns. Process.Wait says ECHILD then.
	Orphan bool

	BecomeRoot  bool // setresgid and setresuid to 0 at the end
	NonDumpable bool // PR_SET_DUMPABLE 0, before anybody in a joined namespace could look; see below
}

// NonDumpable keeps even CAP_SYS_PTRACE in a sandbox from tracing the process
// until it executes another program: the mm belongs to the user namespace in
// which it was executed, the host's (ptrace(2), "dumpable"). Its /proc/PID files
// are then root's on the host, so maps could not be written: with a
// CLONE_NEWUSER the bit is set after the maps, when nobody else is in that
// namespace yet; in all other plans before the first setns.

// The wire form, read by nsjoin.c: same machine, so same byte order and padding.
const (
	planMagic = 0x31_6e_61_6c_70_2d_63_72 // "rc-plan1"
	maxJoin   = 12
	mapText   = 4096 // the kernel takes less than a page
)

const ( // in this order
	flagDenySetgroups = 1 << iota
	flagBecomeRoot
	flagSetsid
	flagNonDumpable
	flagFork
	flagOrphan
	flagPrepare
)

type planWire struct {
	Magic, Unshare, Clone uint64
	Flags, NJoin          uint32
	ReportFD, CgroupFD    int32
	Join                  [maxJoin]struct{ FD, Type int32 }
	UIDLen, GIDLen        uint32
	UIDMap, GIDMap        [mapText]byte
	_                     [2]int32 // the constructor's own
}

// forks says whether a child goes on instead of the program that was started.
func (p *Plan) forks() bool {
	fork := p.Fork || p.Orphan || p.Clone != 0 || p.CgroupFD > 0
	for _, j := range p.Join {
		fork = fork || j.Type == unix.CLONE_NEWPID
	}
	return fork
}

// wire checks the plan and encodes it for the constructor of a program that reports
// on reportFD.
func (p *Plan) wire(reportFD int, of *Program) ([]byte, error) {
	w := planWire{Magic: planMagic, Unshare: uint64(p.Unshare), Clone: uint64(p.Clone),
		NJoin: uint32(len(p.Join)), ReportFD: int32(reportFD), CgroupFD: int32(p.CgroupFD)}
	if len(p.Join) > maxJoin {
		return nil, fmt.Errorf("%d namespaces to join, %d at most", len(p.Join), maxJoin)
	}
	for i, j := range p.Join {
		if j.FD < firstFile || j.FD >= reportFD {
			return nil, fmt.Errorf("descriptor %d of a namespace to join was not passed", j.FD)
		}
		w.Join[i].FD, w.Join[i].Type = int32(j.FD), int32(j.Type)
	}
	for i, on := range [...]bool{p.DenySetgroups, p.BecomeRoot, of.Setsid, p.NonDumpable, p.forks(), p.Orphan, of.Prepare != nil} {
		if on {
			w.Flags |= flagDenySetgroups << i
		}
	}
	if p.Clone&unix.CLONE_NEWUSER != 0 {
		if err := w.setMaps(p.UIDMap, p.GIDMap); err != nil {
			return nil, err
		}
	}
	return bytes.Clone(unsafe.Slice((*byte)(unsafe.Pointer(&w)), unsafe.Sizeof(w))), nil
}

func (w *planWire) setMaps(uid, gid []IDMap) error {
	for _, m := range [][]IDMap{uid, gid} {
		if err := check(m); err != nil {
			return err
		}
	}
	u, g := format(uid), format(gid)
	if len(u) >= mapText || len(g) >= mapText {
		return fmt.Errorf("ID maps of %d and %d lines are longer than a page", len(uid), len(gid))
	}
	w.UIDLen, w.GIDLen = uint32(copy(w.UIDMap[:], u)), uint32(copy(w.GIDMap[:], g))
	return nil
}

// seal puts the plan into the memory file that becomes descriptor 3.
func (p *Plan) seal(reportFD int, of *Program) (*os.File, error) {
	data, err := p.wire(reportFD, of)
	if err != nil {
		return nil, err
	}
	return linux.SealedMemfd("rc-plan", data)
}
