// Command probe does what busybox cannot. It is built static and shown to
// containers by -v.
//
//	probe udp-echo PORT         answers each datagram with "got " before it
//	probe udp-ask ADDRESS TEXT  sends TEXT and prints the answer
//	probe deaf COMMAND [ARG...] executes COMMAND with every signal ignored and blocked
package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "probe:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 2 && args[0] == "udp-echo":
		return echo(args[1])
	case len(args) == 3 && args[0] == "udp-ask":
		return ask(args[1], args[2])
	case len(args) >= 2 && args[0] == "deaf":
		return deaf(args[1:])
	}
	return errors.New("want udp-echo PORT, udp-ask ADDRESS TEXT or deaf COMMAND")
}

// deaf asks the kernel itself: neither a shell, nor a C library, nor package signal
// touches those that C libraries keep for themselves (32 to 34, signal(7)).
func deaf(args []string) error {
	path, err := exec.LookPath(args[0])
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	const sigIgn, signals = 1, 64
	action := [4]uint64{sigIgn} // no flags, no mask
	for sig := range uintptr(signals + 1) {
		if sig == 0 || sig == uintptr(unix.SIGKILL) || sig == uintptr(unix.SIGSTOP) {
			continue
		}
		if _, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, sig, uintptr(unsafe.Pointer(&action)), 0, 8, 0, 0); errno != 0 {
			return fmt.Errorf("ignore signal %d: %w", sig, errno)
		}
	}
	all := unix.Sigset_t{Val: [16]uint64{^uint64(0)}}
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &all, nil); err != nil {
		return err
	}
	return unix.Exec(path, args, os.Environ())
}

func echo(port string) error {
	c, err := net.ListenPacket("udp", ":"+port)
	if err != nil {
		return err
	}
	buf := make([]byte, 2048)
	for {
		n, from, err := c.ReadFrom(buf)
		if err != nil {
			return err
		}
		if _, err := c.WriteTo(append([]byte("got "), buf[:n]...), from); err != nil {
			return err
		}
	}
}

func ask(address, text string) error {
	c, err := net.Dial("udp", address)
	if err != nil {
		return err
	}
	if err := c.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return err
	}
	if _, err := c.Write([]byte(text)); err != nil {
		return err
	}
	buf := make([]byte, 2048)
	n, err := c.Read(buf)
	if err != nil {
		return err
	}
	fmt.Println(string(buf[:n]))
	return nil
}
