package main

import (
	"fmt"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/tests/guest/wire"
)

// wake makes a guest restored from a snapshot one of its own: it does not know how
// long it slept, its random pool is that of all its siblings, and its disks hold
// something else than the kernel has read from them.
func wake(news wire.News) error {
	now := unix.NsecToTimespec(news.Now.Add(time.Millisecond).UnixNano())
	if err := unix.ClockSettime(unix.CLOCK_REALTIME, &now); err != nil {
		return fmt.Errorf("set the clock: %w", err)
	}
	if err := reseed(news.Seed); err != nil {
		return fmt.Errorf("reseed the random pool: %w", err)
	}
	for _, name := range []string{"share", "scratch"} {
		if err := forgetDisk(name); err != nil {
			return fmt.Errorf("flush the disk %q: %w", name, err)
		}
	}
	return mountOthers("", news.Scratch)
}

// reseed is random(4): RNDADDENTROPY mixes in and credits, RNDRESEEDCRNG makes the
// generators of all processors begin anew from the pool, that of vgetrandom(3) too.
func reseed(seed []byte) error {
	f, err := os.OpenFile("/dev/urandom", os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	var info struct { // struct rand_pool_info of linux/random.h
		bits, bytes int32
		pool        [64]byte
	}
	n := copy(info.pool[:], seed)
	info.bits, info.bytes = int32(8*n), int32(n)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), unix.RNDADDENTROPY, uintptr(unsafe.Pointer(&info))); errno != 0 {
		return errno
	}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), unix.RNDRESEEDCRNG, 0); errno != 0 {
		return errno
	}
	return nil
}

// forgetDisk drops what the kernel has read from a disk (BLKFLSBUF, ioctl_list(2)).
func forgetDisk(serial string) error {
	device, err := disk(serial, 0)
	if err != nil {
		return err
	}
	f, err := os.Open(device)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.IoctlSetInt(int(f.Fd()), unix.BLKFLSBUF, 0)
}
