package logs

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// mincore tells which pages are in memory (mincore(2)).
func mincore(mem, vec []byte) error {
	if _, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&mem[0])), uintptr(len(mem)), uintptr(unsafe.Pointer(&vec[0]))); errno != 0 {
		return errno
	}
	return nil
}
