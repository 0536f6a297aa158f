package shim

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/cgroup"
	"github.com/rc-containers/rc/internal/linux"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/stage/start"
	"github.com/rc-containers/rc/internal/trace"
	"github.com/rc-containers/rc/slirp"
	"github.com/rc-containers/rc/userns"
)

// A shim executes itself again (/proc/self/exe: the same file, also when it was
// replaced or removed) for two reasons: to be small while nothing happens, since a
// process that has built a container keeps the memory of it (settle.go), and to
// build the container once more in a process that holds nothing of the last time
// (restart.go). Pid, start time, children, locks, mount namespace and user
// namespace survive an execve; memory and threads do not. What the next program
// needs goes by descriptors and one sealed memory file:
//
//	descriptor 3   nothing: the constructor in userns/nsjoin finds no plan there
//	descriptor 63  nothing, or the plan of a wait before Go's runtime (park.go)
//	descriptor 4   the handover, where else the conversation with rc stands
//	others         those named in handover.FDs; everything else is close-on-exec
//
// It is never changed by half: until execve has worked, nothing is given up.
const conversation = 4

// maxHandover bounds it, in bytes: labels and unfinished lines are the longest.
const maxHandover = 16 << 20

// errCarry is a descriptor that cannot be handed over.
var errCarry = errors.New("a descriptor was closed")

// errTooMuch is a handover with labels or lines of a size that nobody has.
var errTooMuch = errors.New("what is to be handed over is too long")

// handover is what the next program of this process has to know. The whole Config
// is not among it: decoding a runtime-spec costs more memory than all else.
type handover struct {
	Restart bool // build the container again; else it runs
	Kept    kept
	State   record.State
	Backoff time.Duration
	FDs     map[string]int    // descriptors by name; "waiter-N" are connections that wait for the end
	Lines   map[string][]byte // unfinished lines of the log
	Rows    uint16
	Cols    uint16
	Helper  int  // pid of fuse-overlayfs, our child; 0 for none
	Logged  bool // it has a log
	Keep    bool

	OOMs uint64 // kills that were told

	Patience time.Duration // the wait for the next park
	Parked   time.Time     // since when it sleeps; zero for a plain settling
}

// kept is what a shim needs of its Config once the payload runs.
type kept struct {
	ID, Name, Dir, Root, Runtime, Image, Network, Cgroup, Hostname string
	Clone                                                          int
	UIDMap, GIDMap                                                 []userns.IDMap
	StopSignal                                                     int
	StopAfter                                                      time.Duration
	AutoRemove, Detach, Terminal                                   bool
	Anonymous                                                      []string
	Volumes                                                        []record.VolumeUse
	Log                                                            record.LogConfig
	Health                                                         *record.Healthcheck
	Attach                                                         slirp.Attach
	DNS                                                            slirp.DNS
	Keeper                                                         start.Keeper
	RestartCount                                                   int
	Systemd                                                        string
	Known                                                          known
	Approx                                                         *cgroup.Approximation
	Unit                                                           *start.Unit
	PIDFile, ShimPIDFile                                           string
}

// known is what the shim read of the container's record last.
type known struct {
	Name, ImageName string
	Labels          map[string]string
	Restart         record.RestartPolicy
}

func keep(c *start.Config) kept {
	return kept{Unit: c.Unit, PIDFile: c.PIDFile, ShimPIDFile: c.ShimPIDFile, ID: c.ID, Name: c.Name, Dir: c.Dir, Root: c.Root, Runtime: c.Runtime, Image: c.Image, Network: c.Network,
		Cgroup: c.Cgroup, Hostname: c.Spec.Hostname, Clone: c.Clone, UIDMap: c.UIDMap, GIDMap: c.GIDMap,
		StopSignal: c.StopSignal, StopAfter: c.StopAfter, AutoRemove: c.AutoRemove, Detach: c.Detach,
		Terminal: c.Spec.Process != nil && c.Spec.Process.Terminal, Anonymous: c.Anonymous, Volumes: c.Binds.Volumes,
		Log: c.Log, Health: c.Health, Attach: c.Attach, DNS: c.Again.DNS, Keeper: c.Keeper, RestartCount: c.RestartCount,
		Systemd: c.Systemd, Approx: c.Again.Approx}
}

// config is the Config of a shim that has settled: what it does not need any more
// is empty.
func (k *kept) config() *start.Config {
	return &start.Config{Unit: k.Unit, PIDFile: k.PIDFile, ShimPIDFile: k.ShimPIDFile, ID: k.ID, Name: k.Name, Dir: k.Dir, Root: k.Root, Runtime: k.Runtime, Image: k.Image, Network: k.Network,
		Cgroup: k.Cgroup, Clone: k.Clone, UIDMap: k.UIDMap, GIDMap: k.GIDMap, ShmMount: -1,
		Spec:       &specs.Spec{Hostname: k.Hostname, Process: &specs.Process{Terminal: k.Terminal}},
		StopSignal: k.StopSignal, StopAfter: k.StopAfter, AutoRemove: k.AutoRemove, Detach: k.Detach,
		Anonymous: k.Anonymous, Binds: start.Binds{Volumes: k.Volumes}, Log: k.Log, Health: k.Health, Attach: k.Attach, Keeper: k.Keeper,
		RestartCount: k.RestartCount, Systemd: k.Systemd, Again: start.Again{Approx: k.Approx, DNS: k.DNS}}
}

// execAgain executes this program once more; it returns only when that failed, and
// everything is as before then. The caller sees to it that nothing else of the
// shim is in the midst of something. With a sleep, the constructor in userns/park
// waits first.
func (s *shim) execAgain(h *handover, files map[string]*os.File, to *sleep) error {
	h.FDs = map[string]int{}
	var dups []int
	defer func() {
		for _, fd := range dups {
			_ = unix.Close(fd)
		}
	}()
	for name, f := range files {
		fd, err := duplicate(f)
		if err != nil {
			return fmt.Errorf("hand over %s: %w", name, err)
		}
		h.FDs[name], dups = fd, append(dups, fd)
	}
	packed := pack(*h)
	if len(packed) > maxHandover { // the next program would not read it, and the container be lost
		return errTooMuch
	}
	sealed, err := linux.SealedMemfd("rc-shim", packed)
	if err != nil {
		return err
	}
	defer sealed.Close()
	// No child may be forked between here and the end: it would get them all.
	syscall.ForkLock.Lock()
	defer syscall.ForkLock.Unlock()
	before, err := duplicate(s.slot.File())
	if err != nil {
		return err
	}
	dups = append(dups, before)
	if err := linux.CloexecFrom(3); err != nil {
		return err
	}
	for _, fd := range h.FDs {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0); err != nil {
			return err
		}
	}
	// Descriptor 4 is ours since the start: the conversation with an rc that has left,
	// or the handover before this one. No poller of Go's has it under another meaning.
	if err := unix.Dup3(int(sealed.Fd()), conversation, 0); err != nil {
		return err
	}
	err = s.execSelf(h, to)
	_ = unix.Dup3(before, conversation, unix.O_CLOEXEC)
	_ = linux.CloexecFrom(3)
	return fmt.Errorf("execute the shim again: %w", err)
}

func (s *shim) execSelf(h *handover, to *sleep) error {
	runtime.LockOSThread() // the mask of signals is this thread's
	defer runtime.UnlockOSThread()
	release, err := s.holdTerm()
	if err != nil {
		return err
	}
	defer release()
	if to != nil {
		awake, err := to.lay(h)
		if err != nil {
			return err
		}
		defer awake()
	}
	// Its default would end the next program before that has a handler (reopen.go).
	signal.Ignore(unix.SIGUSR2)
	trace.Leave() // the next program has no table
	if err = errTerm; !s.term.came() {
		err = syscall.Exec("/proc/self/exe", os.Args, os.Environ())
	}
	signal.Notify(s.called, unix.SIGUSR2)
	return err
}

// duplicate copies a descriptor to a number that is out of the way. A duplicate
// has no poller, and closing it releases no lock of an open file description.
func duplicate(f *os.File) (int, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return -1, err
	}
	fd, cerr := -1, errCarry
	err = raw.Control(func(n uintptr) { fd, cerr = unix.FcntlInt(n, unix.F_DUPFD_CLOEXEC, conversation+1) })
	return fd, errors.Join(err, cerr)
}

// handedOver reads what the program before us in this process left at descriptor
// 4; false when it is a conversation instead.
func handedOver(conv *stage.Conn) (*handover, bool) {
	if got, err := unix.FcntlInt(conv.File().Fd(), unix.F_GET_SEALS, 0); err != nil || got == 0 {
		return nil, false
	}
	h := new(handover)
	data, err := linux.ReadSealed(conv.File(), maxHandover)
	if err == nil {
		err = unpack(data, h)
	}
	if err != nil {
		return nil, false
	}
	// Its pages are given back; the number stays ours.
	if null, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0); err == nil {
		_ = unix.Dup3(null, conversation, unix.O_CLOEXEC)
		_ = unix.Close(null)
	}
	return h, true
}

// take makes the descriptors close-on-exec again and gives them their names.
func (h *handover) take() map[string]*os.File {
	files := map[string]*os.File{}
	for name, fd := range h.FDs {
		unix.CloseOnExec(fd)
		files[name] = os.NewFile(uintptr(fd), name)
	}
	return files
}

// waiterPrefix begins the names of connections that wait for the end.
const waiterPrefix = "waiter-"

func waiterName(i int) string { return waiterPrefix + strconv.Itoa(i) }
