package linux

import (
	"errors"
	"os"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ErrNoExitInfo says that the exit status cannot be learned from a pidfd: the
// kernel is older than 6.15, or the process still runs or was not reaped yet.
var ErrNoExitInfo = errors.New("exit status is not known")

// OpenPidfd opens the process pid (pidfd_open(2)). The descriptor is
// non-blocking, so a read-wait on it goes through Go's poller and holds no
// thread. ESRCH when there is no such process.
func OpenPidfd(pid int) (*os.File, error) {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return nil, fail("pidfd_open", strconv.Itoa(pid), err)
	}
	return os.NewFile(uintptr(fd), "pidfd "+strconv.Itoa(pid)), nil
}

// SignalPidfd sends sig to exactly the process that pidfd was opened on;
// ESRCH when it is gone. sig 0 only asks.
func SignalPidfd(pidfd *os.File, sig unix.Signal) error {
	return fail("pidfd_send_signal", pidfd.Name(), unix.PidfdSendSignal(int(pidfd.Fd()), sig, nil, 0))
}

// WaitPidfd returns once the process has ended (it may still be a zombie). The
// caller need not be its parent. Closing pidfd, or a deadline set on it, ends
// the wait with the error of os.File.
func WaitPidfd(pidfd *os.File) error {
	raw, err := pidfd.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Read(func(fd uintptr) bool {
		ready := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, _ := unix.Poll(ready, 0)
		return n > 0
	})
}

// pidfdInfo is the first published form of struct pidfd_info
// (include/uapi/linux/pidfd.h, PIDFD_INFO_SIZE_VER0), which every kernel that
// has the call accepts.
type pidfdInfo struct {
	Mask, CgroupID                                             uint64
	PID, TGID, PPID, RUID, RGID, EUID, EGID, SUID, SGID, FSUID uint32
	FSGID                                                      uint32
	ExitCode                                                   int32
}

// pidfdGetInfo is _IOWR(PIDFS_IOCTL_MAGIC 0xFF, 11, struct pidfd_info of 64 bytes).
const pidfdGetInfo = 3<<30 | 64<<16 | 0xFF<<8 | 11

// ExitStatus is the wait status of a process that ended and was reaped, asked
// of its pidfd by anybody who holds one (PIDFD_INFO_EXIT, Linux 6.15). Every
// other case is ErrNoExitInfo.
func ExitStatus(pidfd *os.File) (unix.WaitStatus, error) {
	if Without(PidfdInfo) {
		return 0, ErrNoExitInfo
	}
	info := pidfdInfo{Mask: unix.PIDFD_INFO_EXIT}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, pidfd.Fd(), pidfdGetInfo, uintptr(unsafe.Pointer(&info)))
	if errno != 0 || info.Mask&unix.PIDFD_INFO_EXIT == 0 {
		return 0, ErrNoExitInfo
	}
	return unix.WaitStatus(info.ExitCode), nil
}
