package forward

import (
	"errors"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// poller is an epoll that a goroutine waits for as for any file: Go's own poller
// watches the epoll's descriptor (epoll(7), "may be nested"). Blocking in epoll_wait
// itself was about as fast for TCP and slower for datagrams, and takes a thread for each
// container; each connection as a file of Go's would cost two goroutines.
type poller struct {
	fd     int
	file   *os.File
	raw    syscall.RawConn
	events [128]unix.EpollEvent
	n      int
}

func (p *poller) open() error {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // or NewFile would not poll it
		_ = unix.Close(fd)
		return os.NewSyscallError("fcntl", err)
	}
	p.fd, p.file = fd, os.NewFile(uintptr(fd), "epoll")
	p.raw, err = p.file.SyscallConn()
	return err
}

func (p *poller) add(fd int, events uint32) error {
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)}))
}

func (p *poller) remove(fd int) { _ = unix.EpollCtl(p.fd, unix.EPOLL_CTL_DEL, fd, nil) }

// wait returns what has happened; late: the alarm's time has come. Only the goroutine
// that waits may call it.
func (p *poller) wait() (events []unix.EpollEvent, late bool, err error) {
	err = p.raw.Read(p.look)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, true, nil
	}
	return p.events[:p.n], false, err
}

// poll is wait without waiting.
func (p *poller) poll() []unix.EpollEvent {
	p.look(0)
	return p.events[:p.n]
}

func (p *poller) look(uintptr) bool {
	p.n = 0
	n, err := epollNow(p.fd, p.events[:])
	if err == nil {
		p.n = n
	}
	return n > 0 || err != nil && err != unix.EINTR
}

// alarm ends a wait after d; 0: never.
func (p *poller) alarm(d time.Duration) {
	var at time.Time
	if d > 0 {
		at = time.Now().Add(d)
	}
	_ = p.file.SetReadDeadline(at)
}

func (p *poller) close() { _ = p.file.Close() }
