package linux

import (
	"math"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// CloexecFrom marks every descriptor from first on close-on-exec, so that the
// next execve drops them. Descriptors of Go's runtime are among them: unlike
// closing, marking does not break the running program.
func CloexecFrom(first int) error {
	if !Without(CloseRange) {
		err := unix.CloseRange(uint(first), math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC)
		if err != unix.ENOSYS && err != unix.EINVAL && err != unix.EPERM {
			return fail("close_range", "", err)
		}
	}
	fds, err := openFDs()
	if err != nil {
		return err
	}
	for _, fd := range fds {
		if fd >= first {
			unix.CloseOnExec(fd)
		}
	}
	return nil
}

// openFDs lists the descriptors of this process. It fails rather than miss
// some: a leak into a container is worse than a refused start.
func openFDs() ([]int, error) {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil, err
	}
	var fds []int
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil {
			fds = append(fds, fd)
		}
	}
	return fds, nil
}
