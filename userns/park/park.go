// Package park lets a program wait without Go's runtime: it executes itself with a
// plan, a C constructor waits for what the plan names, and executes it again without
// one. Pid, children, locks, namespaces and every descriptor without close-on-exec
// stay; so the program needs to leave itself whatever it wants to know afterwards.
//
// The constructor acts only when descriptor FD is a sealed memory file that begins
// with the plan's magic. The executable must be linked with glibc, whose
// constructors get argv.
package park

import (
	"bytes"
	"errors"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/linux"
)

// FD is the number of the plan's descriptor. It is not 3, which Go's runtime may
// have taken for its own poller, and is the last that the kernel's table of a
// process holds without growing (NR_OPEN_DEFAULT).
const FD = 63

// MaxFDs bounds the descriptors of a plan.
const MaxFDs = 8

const (
	magic   = 0x31_6b_72_61_70_2d_63_72 // "rc-park1"
	maxPath = 4096
)

// ErrOccupied says that something else has descriptor FD.
var ErrOccupied = errors.New("the descriptor of the plan is taken")

// Plan is what to wait for: the first of all these ends it. Whoever executes the
// program blocks SIGUSR2 in the thread that does, and ignores it, so that it
// survives its being unblocked.
type Plan struct {
	FDs    []int         // readable, or at their end
	Errors []int         // with an error waiting (POLLERR), whatever can be read
	Limit  time.Duration // at most this long
	Path   string        // a file that has to be there at the beginning
	Mask   unix.Sigset_t // the signals that are blocked afterwards
}

// Terminated tells whether SIGTERM came while this process executed itself, or
// waited. Whoever executes it blocks that signal in the thread that does.
func Terminated() bool { return terminated() }

type planWire struct {
	Magic, Mask uint64
	Sec, Nsec   int64
	NFD         uint64
	FD          [MaxFDs + 1]unix.PollFd
}

func (p *Plan) wire() ([]byte, error) {
	if len(p.FDs)+len(p.Errors) > MaxFDs || len(p.Path) == 0 || len(p.Path) >= maxPath-1 || p.Limit < 0 {
		return nil, unix.EINVAL
	}
	w := planWire{Magic: magic, Mask: uint64(p.Mask.Val[0]), Sec: int64(p.Limit / time.Second), Nsec: int64(p.Limit % time.Second), NFD: uint64(len(p.FDs) + len(p.Errors))}
	for i, fd := range p.FDs {
		w.FD[i] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
	}
	for i, fd := range p.Errors {
		w.FD[len(p.FDs)+i] = unix.PollFd{Fd: int32(fd)}
	}
	data := bytes.Clone(unsafe.Slice((*byte)(unsafe.Pointer(&w)), unsafe.Sizeof(w)))
	return append(append(data, p.Path...), 0), nil
}

// Lay puts the plan where the constructor looks, without close-on-exec: an execve
// of this program is to follow, and where it fails, a close of FD. ErrOccupied when
// somebody else has that number.
func (p *Plan) Lay() error {
	data, err := p.wire()
	if err != nil {
		return err
	}
	sealed, err := linux.SealedMemfd("rc-park", data)
	if err != nil {
		return err
	}
	defer sealed.Close()
	got, err := unix.FcntlInt(sealed.Fd(), unix.F_DUPFD, FD)
	if err != nil {
		return os.NewSyscallError("fcntl", err)
	}
	if got != FD {
		_ = unix.Close(got)
		return ErrOccupied
	}
	return nil
}
