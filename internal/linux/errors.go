package linux

import (
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// fail names the call and its object; nil stays nil.
func fail(call, object string, err error) error {
	switch {
	case err == nil:
		return nil
	case object == "":
		return os.NewSyscallError(call, err)
	}
	return &os.PathError{Op: call, Path: object, Err: err}
}

// retry repeats a call that a signal interrupted. Go's runtime preempts threads
// by signals, so slow calls see EINTR even when the program installs none.
func retry(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}

// ProcFD is the path by which this process reaches f again, for calls that take
// no descriptor. Valid as long as f is open and /proc is the host's own.
func ProcFD(f *os.File) string {
	return "/proc/self/fd/" + strconv.Itoa(int(f.Fd()))
}

// Reopen opens the file behind f (which may be O_PATH) anew with flags, without
// resolving its path a second time.
func Reopen(f *os.File, flags int) (*os.File, error) {
	var fd int
	err := retry(func() (err error) {
		fd, err = unix.Open(ProcFD(f), flags|unix.O_CLOEXEC, 0)
		return err
	})
	runtime.KeepAlive(f)
	if err != nil {
		return nil, fail("reopen", f.Name(), err)
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}
