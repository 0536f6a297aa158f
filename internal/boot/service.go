package boot

import (
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/stage/start"
)

// The descriptors that a service is passed (sd_listen_fds(3)) and those with which
// init is born: the conversation, and after it the sockets (userns.Program).
const (
	firstPassed    = 3
	bornAt         = 5
	conversationFD = 4 // userns.Program.Conn
)

// Reserve keeps Go's runtime from taking descriptor 3 for itself, before it takes
// any: a socket that is put there while another of its threads polls would be taken
// for its poller. 4 and the sockets' own numbers are occupied at birth.
func Reserve() {
	if _, err := unix.FcntlInt(firstPassed, unix.F_GETFD, 0); err == unix.EBADF {
		_ = unix.Dup3(0, firstPassed, unix.O_CLOEXEC)
	}
}

// serve completes the payload's environment by what concerns a service: rc-exec
// and probes come from the container's configuration, which has nothing of it.
func (b *box) serve() {
	c, p := b.cfg, b.cfg.Spec.Process
	set := func(key, value string) { p.Env = setEnv(p.Env, key, value) }
	if c.NotifySocket != "" {
		set("NOTIFY_SOCKET", c.NotifySocket)
	}
	if c.Watchdog > 0 {
		// Without WATCHDOG_PID it is meant for whoever sees it (sd_watchdog_enabled(3)).
		set("WATCHDOG_USEC", strconv.FormatInt(int64(c.Watchdog/time.Microsecond), 10))
	}
	if n := len(c.Sockets); n > 0 {
		set("LISTEN_PID", strconv.Itoa(os.Getpid())) // ours: the payload's after its execve
		set("LISTEN_FDS", strconv.Itoa(n))
		set("LISTEN_FDNAMES", names(c.Sockets))
	}
}

// names are those of LISTEN_FDNAMES; what has none is "unknown" (systemd,
// src/libsystemd/sd-daemon/sd-daemon.c).
func names(list []start.Socket) string {
	all := make([]string, len(list))
	for i, s := range list {
		if all[i] = s.Name; s.Name == "" {
			all[i] = "unknown"
		}
	}
	return strings.Join(all, ":")
}

// setEnv replaces a variable, or adds it.
func setEnv(env []string, key, value string) []string {
	for i, kv := range env {
		if strings.HasPrefix(kv, key+"=") {
			env[i] = key + "=" + value
			return env
		}
	}
	return append(env, key+"="+value)
}

// passSockets puts the sockets where the payload looks for them, and nothing else
// is left open there. It comes last before the execve; back undoes it where that
// fails, so that the conversation can say so.
func (b *box) passSockets() (back func(), err error) {
	const op = "pass the unit's sockets on"
	n := len(b.cfg.Sockets)
	if n == 0 {
		return func() {}, nil
	}
	kept, err := unix.FcntlInt(conversationFD, unix.F_DUPFD_CLOEXEC, bornAt+n)
	if err != nil {
		return nil, hint.New(op, err, "raise the number of open files: --ulimit nofile=N")
	}
	back = func() {
		for fd := firstPassed; fd < firstPassed+n; fd++ {
			unix.CloseOnExec(fd)
		}
		_ = unix.Dup3(kept, conversationFD, unix.O_CLOEXEC)
		_ = unix.Close(kept)
	}
	for i, s := range b.cfg.Sockets { // upwards: what is overwritten has been copied
		if err := unix.Dup3(bornAt+i, firstPassed+i, 0); err != nil {
			back()
			return nil, hint.New(op, err, "")
		}
		// As the manager set it: our own programs changed it on the way, for all who
		// share the socket (os.File.Fd).
		if err := unix.SetNonblock(firstPassed+i, s.Nonblock); err != nil {
			back()
			return nil, hint.New(op, err, "")
		}
	}
	return back, nil
}
