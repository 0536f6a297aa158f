package boot

import (
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/linux"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/trace"
)

// enter gives up everything that the payload must not have and executes it. On
// success it does not return, except as the reaper of --init.
func (b *box) enter(conv *stage.Conn) (int, error) {
	steps := []func() error{b.connectStreams, b.newKeyring, b.restrictScope, b.setLimits}
	if !b.cfg.Spec.Process.NoNewPrivileges {
		// Loading a filter needs CAP_SYS_ADMIN or no_new_privs (seccomp(2)).
		steps = append(steps, b.guardKeys, b.loadSeccomp)
	}
	steps = append(steps, b.dropBounding, b.become)
	if b.cfg.Spec.Process.NoNewPrivileges {
		steps = append(steps, noNewPrivs, b.guardKeys, b.loadSeccomp)
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return 0, err
		}
	}
	trace.Leave() // nothing of it is left when the payload comes
	if err := linux.CloexecFrom(3); err != nil {
		return 0, hint.New("close the runtime's descriptors", err, "")
	}
	if b.cfg.Inside.Init {
		b.serve()
		return b.reap(conv)
	}
	p := b.cfg.Spec.Process
	if err := b.takeTerminal(); err != nil {
		return 0, err
	}
	b.serve()
	back, err := b.passSockets()
	if err != nil {
		return 0, err
	}
	defer back()
	return 0, commandError(fmt.Sprintf("run %q", p.Args[0]), syscall.Exec(b.exe, p.Args, p.Env))
}

// connectStreams hands the pipes to the payload's user: /dev/stdout is opened
// anew by programs that log there, which asks for ownership.
func (b *box) connectStreams() error {
	defer trace.Begin("streams").End()
	if !b.cfg.Spec.Process.Terminal && !b.cfg.Inside.Stdin {
		null, err := openNothing()
		if err != nil {
			return hint.New("open the container's /dev/null", hint.Errno(err), "")
		}
		defer unix.Close(null)
		if err := unix.Dup3(null, 0, 0); err != nil {
			return hint.New("connect stdin", err, "")
		}
	}
	for fd := range 3 {
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT == unix.S_IFCHR && !ofDevpts(fd) {
			continue // never a device node of the host's, whatever stands at /dev/null
		}
		_ = unix.Fchown(fd, b.who.uid, int(st.Gid)) // EINVAL: the pipe's group has no name here; the owner's right is enough
		_ = unix.Fchown(fd, b.who.uid, -1)
	}
	return nil
}

// ofDevpts tells whether a descriptor is a terminal of some devpts: here, the
// container's own.
func ofDevpts(fd int) bool {
	var fs unix.Statfs_t
	return unix.Fstatfs(fd, &fs) == nil && fs.Type == devptsMagic
}

// openNothing is what a payload without input reads: the container's /dev/null,
// or an empty pipe where the user's own /dev has none.
func openNothing() (int, error) {
	null, err := linux.Open("/dev/null", unix.O_RDONLY|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err == nil {
		var st unix.Stat_t
		if err := unix.Fstat(null, &st); err == nil && st.Mode&unix.S_IFMT == unix.S_IFCHR {
			return null, unix.SetNonblock(null, false) // a FIFO would have kept us waiting
		}
		_ = unix.Close(null)
	}
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return -1, err
	}
	return pipe[0], unix.Close(pipe[1])
}

func (b *box) newKeyring() error {
	defer trace.Begin("session keyring").End()
	owner := -1
	if b.cfg.Inside.Keyring != 0 {
		owner = int(b.cfg.Inside.Keyring)
	}
	if err := linux.JoinSessionKeyring(owner); err != nil {
		return hint.New("make a session keyring", hint.Errno(err), "the quota is full: sudo sysctl kernel.keys.maxkeys=2000")
	}
	return nil
}

// restrictScope keeps a container in the host's network namespace away from
// abstract sockets of the host's programs (D-Bus, X11), where the kernel can.
func (b *box) restrictScope() error {
	defer trace.Begin("Landlock").End()
	if !b.cfg.Inside.HostNet || linux.Without(linux.LandlockScope) {
		return nil
	}
	err := linux.RestrictScope(linux.ScopeAbstractSocket)
	if err != nil && hint.Errno(err) != unix.ENOTSUP {
		return hint.New("keep away from the host's abstract sockets", hint.Errno(err), "")
	}
	return nil
}

var rlimits = map[string]int{
	"RLIMIT_AS": unix.RLIMIT_AS, "RLIMIT_CORE": unix.RLIMIT_CORE, "RLIMIT_CPU": unix.RLIMIT_CPU,
	"RLIMIT_DATA": unix.RLIMIT_DATA, "RLIMIT_FSIZE": unix.RLIMIT_FSIZE, "RLIMIT_LOCKS": unix.RLIMIT_LOCKS,
	"RLIMIT_MEMLOCK": unix.RLIMIT_MEMLOCK, "RLIMIT_MSGQUEUE": unix.RLIMIT_MSGQUEUE, "RLIMIT_NICE": unix.RLIMIT_NICE,
	"RLIMIT_NOFILE": unix.RLIMIT_NOFILE, "RLIMIT_NPROC": unix.RLIMIT_NPROC, "RLIMIT_RSS": unix.RLIMIT_RSS,
	"RLIMIT_RTPRIO": unix.RLIMIT_RTPRIO, "RLIMIT_RTTIME": unix.RLIMIT_RTTIME,
	"RLIMIT_SIGPENDING": unix.RLIMIT_SIGPENDING, "RLIMIT_STACK": unix.RLIMIT_STACK,
}

func (b *box) setLimits() error {
	defer trace.Begin("limits").End()
	for _, l := range b.cfg.Spec.Process.Rlimits {
		which, ok := rlimits[l.Type]
		if !ok {
			return hint.Newf("set "+l.Type, "", "unknown limit")
		}
		// syscall's, not unix's: it tells syscall.Exec not to restore the
		// runtime's own RLIMIT_NOFILE.
		if err := syscall.Setrlimit(which, &syscall.Rlimit{Cur: l.Soft, Max: l.Hard}); err != nil {
			return hint.New(fmt.Sprintf("set --ulimit %s=%d:%d", l.Type, l.Soft, l.Hard), err,
				"only root on the host can raise a hard limit: see `ulimit -H -a`")
		}
	}
	return nil
}

func (b *box) loadSeccomp() error {
	defer trace.Begin("load the seccomp filter").End()
	f := b.files["seccomp"]
	if f == nil {
		if b.cfg.Inside.Seccomp {
			return hint.Newf("load the seccomp filter", "", "no filter came with the configuration")
		}
		return nil
	}
	const size = int(unsafe.Sizeof(unix.SockFilter{}))
	st, err := f.Stat()
	if err != nil {
		return hint.New("read the seccomp filter", err, "")
	}
	// BPF_MAXINSNS is 4096 (linux/bpf_common.h); the kernel checks the rest.
	if st.Size() == 0 || st.Size()%int64(size) != 0 || st.Size() > 4096*int64(size) {
		return hint.Newf("load the seccomp filter", "remove the folder cache/seccomp of rc's state folder", "a program of %d bytes is impossible", st.Size())
	}
	prog := make([]unix.SockFilter, int(st.Size())/size)
	if _, err := f.ReadAt(unsafe.Slice((*byte)(unsafe.Pointer(&prog[0])), int(st.Size())), 0); err != nil {
		return hint.New("read the seccomp filter", err, "")
	}
	return loadFilter(prog, "load the seccomp filter")
}

func noNewPrivs() error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return hint.New("set no_new_privs", err, "")
	}
	return nil
}
