package sdnotify

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// firstSocket is SD_LISTEN_FDS_START, sd_listen_fds(3).
const firstSocket = 3

// MaxSockets bounds the descriptors that are passed on to a container.
const MaxSockets = 64

// Environment is what a service manager told this process.
type Environment struct {
	Notify   string        // NOTIFY_SOCKET; "" for none
	Main     bool          // this very process is the one that the manager started
	Watchdog time.Duration // a sign of life is due each time; 0 for none
	Sockets  []Socket      // LISTEN_FDS, in order
	Err      error         // why Sockets are not whole
}

// Socket is a descriptor that the manager listens on or accepted for this service.
type Socket struct {
	File     *os.File // close-on-exec
	Name     string   // of LISTEN_FDNAMES; "" where there is none
	Nonblock bool     // O_NONBLOCK as it came: Go's os.File changes it (File.Fd)
}

// Here takes it out of the process's environment, once: no program that this one
// starts is to answer for it (sd_notify(3), unset_environment), nor to inherit the
// sockets. Call it first of all in main.
var Here = sync.OnceValue(func() *Environment {
	e := parse(os.Getenv, os.Getpid())
	for _, name := range []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID"} {
		if _, set := os.LookupEnv(name); set {
			_ = os.Unsetenv(name)
		}
	}
	return e
})

// parse reads the variables as process pid: what was meant for another process,
// and only inherited by this one, counts for nothing.
func parse(getenv func(string) string, pid int) *Environment {
	mine := func(name string) bool { return getenv(name) == strconv.Itoa(pid) }
	// Since systemd 248 (systemd.exec(5), SYSTEMD_EXEC_PID).
	e := &Environment{Notify: getenv("NOTIFY_SOCKET"), Main: mine("SYSTEMD_EXEC_PID")}
	if usec, err := strconv.ParseUint(getenv("WATCHDOG_USEC"), 10, 63); err == nil && (getenv("WATCHDOG_PID") == "" || mine("WATCHDOG_PID")) {
		e.Watchdog = time.Duration(min(usec, uint64(365*24*time.Hour/time.Microsecond))) * time.Microsecond
	}
	if mine("LISTEN_PID") {
		e.Sockets, e.Err = sockets(getenv("LISTEN_FDS"), getenv("LISTEN_FDNAMES"))
	}
	return e
}

// sockets takes the descriptors. Each is close-on-exec from here on, also where
// one of them is refused.
func sockets(count, names string) ([]Socket, error) {
	n, err := strconv.Atoi(count)
	if err != nil || n < 0 || n > 1<<16 {
		return nil, fmt.Errorf("LISTEN_FDS=%.20q is no number of descriptors", count)
	}
	for fd := firstSocket; fd < firstSocket+n; fd++ {
		unix.CloseOnExec(fd)
	}
	if n > MaxSockets {
		return nil, fmt.Errorf("%d descriptors were passed, %d at most can go on", n, MaxSockets)
	}
	var list []Socket
	called := strings.Split(names, ":")
	for i := range n {
		s, err := socket(firstSocket + i)
		if err != nil {
			return nil, fmt.Errorf("descriptor %d of LISTEN_FDS: %w", firstSocket+i, err)
		}
		if len(called) == n {
			s.Name = called[i]
		}
		list = append(list, s)
	}
	return list, nil
}

// errNoSocket keeps files and folders of the host out of containers: those of
// OpenFile= in a unit, or what lies in its descriptor store.
var errNoSocket = errors.New("it is neither a socket nor a FIFO")

func socket(fd int) (Socket, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return Socket{}, err
	}
	if kind := st.Mode & unix.S_IFMT; kind != unix.S_IFSOCK && kind != unix.S_IFIFO {
		return Socket{}, errNoSocket
	}
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		return Socket{}, err
	}
	return Socket{File: os.NewFile(uintptr(fd), "socket"), Nonblock: flags&unix.O_NONBLOCK != 0}, nil
}
