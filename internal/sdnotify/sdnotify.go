// Package sdnotify speaks with the service manager that started this process, by
// the protocols of sd_notify(3), sd_watchdog_enabled(3) and sd_listen_fds(3):
// datagrams of KEY=VALUE lines, variables of the environment, and descriptors from
// number 3 on. It is on the start path of rc and imports nothing that costs there.
package sdnotify

import (
	"errors"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// MaxMessage bounds a datagram, in bytes: systemd reads no longer ones
// (NOTIFY_BUFFER_MAX in src/core/manager.c).
const MaxMessage = 4096

// Messages that need no more words.
const (
	Ready    = "READY=1"
	Stopping = "STOPPING=1"
	Alive    = "WATCHDOG=1"
)

// patience bounds a Send to a manager that does not read. Its queue is short
// (net.unix.max_dgram_qlen), and every service of the host writes to it.
const patience = 5 * time.Second

// errAddress is a NOTIFY_SOCKET that is neither a path nor abstract, as systemd's
// own vsock: for virtual machines.
var errAddress = errors.New("it is neither an absolute path nor an abstract socket")

// Dial connects to a NOTIFY_SOCKET. The connection keeps working where its path
// is not to be seen any more, and may be handed to another process: the manager
// is told by the kernel who writes each datagram (SCM_CREDENTIALS, unix(7)).
func Dial(address string) (*os.File, error) {
	if len(address) < 2 || address[0] != '/' && address[0] != '@' {
		return nil, errAddress
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	// x/sys writes an abstract name, which begins with a zero byte, for "@".
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: address}); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), "notify"), nil
}

// Send writes one datagram of these lines. It waits for at most 5 s.
func Send(to *os.File, lines ...string) error {
	return send(to, strings.Join(lines, "\n"), nil)
}

func send(to *os.File, text string, rights []byte) error {
	raw, err := to.SyscallConn()
	if err != nil {
		return err
	}
	for began := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		var serr error
		err := raw.Control(func(fd uintptr) {
			_, serr = unix.SendmsgN(int(fd), []byte(text), rights, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		})
		if err != nil {
			return err
		}
		if full := serr == unix.EAGAIN || serr == unix.ENOBUFS; !full || time.Since(began) > patience {
			return serr
		}
	}
}

// Barrier returns when the manager has read what was sent before, or after 5 s: a
// sender that ends earlier may be nobody's any more when its words are read
// (sd_notify_barrier(3)).
func Barrier(to *os.File) error {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return err
	}
	defer unix.Close(p[0])
	err := send(to, "BARRIER=1", unix.UnixRights(p[1]))
	_ = unix.Close(p[1])
	if err != nil {
		return err
	}
	// The manager closes its copy when it comes to it.
	end := time.Now().Add(patience)
	for left := patience; left > 0; left = time.Until(end) {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(p[0])}}, int(left.Milliseconds())+1)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return err
		case n > 0:
			return nil
		}
	}
	return unix.ETIMEDOUT
}

// allowed is what a container may tell the manager about its service. Not among
// it: MAINPID and MAINPIDFDID, by which it would have another process supervised;
// FDSTORE and its like, by which it would leave descriptors with the manager;
// NOTIFYACCESS; BARRIER, which the reader of a datagram answers by closing what
// came with it.
var allowed = map[string]bool{
	"READY": true, "RELOADING": true, "STOPPING": true, "STATUS": true, "ERRNO": true, "BUSERROR": true, "VARLINKERROR": true,
	"EXIT_STATUS": true, "MONOTONIC_USEC": true, "WATCHDOG": true, "WATCHDOG_USEC": true, "EXTEND_TIMEOUT_USEC": true,
}

// maxLine bounds one line of a container's, in bytes.
const maxLine = 1024

// Clean returns what may be passed on of a datagram from a container: lines whose
// key is allowed and whose value is printable text. Empty: nothing.
func Clean(datagram []byte) string {
	if len(datagram) > MaxMessage {
		return ""
	}
	var kept []string
	for line := range strings.SplitSeq(string(datagram), "\n") {
		key, _, ok := strings.Cut(line, "=")
		if ok && allowed[key] && len(line) <= maxLine && printable(line) {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "\n")
}

// printable keeps out what steers the terminal of whoever types `systemctl status`:
// controls, and marks that turn the direction of writing.
func printable(line string) bool {
	steers := func(r rune) bool {
		return r < ' ' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
	}
	return utf8.ValidString(line) && !strings.ContainsFunc(line, steers)
}
