package linux

import (
	"os"
	"runtime"
	"strconv"
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

// ProcFD is the path by which this process reaches f again, for calls that take
// no descriptor. Valid as long as f is open and /proc is the host's own.
func ProcFD(f *os.File) string {
	return "/proc/self/fd/" + strconv.Itoa(int(f.Fd()))
}

// Reopen opens the file behind f (which may be O_PATH) anew with flags, without
// resolving its path a second time.
func Reopen(f *os.File, flags int) (*os.File, error) {
	fd, err := Open(ProcFD(f), flags, 0)
	runtime.KeepAlive(f)
	if err != nil {
		return nil, fail("reopen", f.Name(), err)
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}
