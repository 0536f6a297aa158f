// Command load is what the containers of tests/limits run: one static program, so
// that a measurement is not one of a shell in an emulated machine.
//
//	load fill MIB            touch so much memory, say "filled", sleep
//	load spin SECONDS        one thread at work: the share of a CPU that it had
//	load fork N              start sleepers: how many there came to be
//	load cpus                the CPUs that this process may use, and those it ran on
//	load write FILE BYTES    past the page cache: bytes a second
//	load read FILE BYTES
//	load iops FILE N         N writes of 4 KiB, past the page cache: writes a second
package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func main() {
	verbs := map[string]func(args []string) error{"fill": fill, "spin": spin, "fork": fork, "cpus": cpus, "write": write, "read": read, "iops": iops, "sleep": sleep}
	if len(os.Args) < 2 || verbs[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "load: fill, spin, fork, cpus, write, read, iops or sleep")
		os.Exit(2)
	}
	if err := verbs[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func number(args []string, i int) int {
	n, err := strconv.Atoi(args[i])
	if err != nil {
		panic(err)
	}
	return n
}

func sleep(args []string) error {
	time.Sleep(time.Duration(number(args, 0)) * time.Second)
	return nil
}

func fill(args []string) error {
	block := make([]byte, number(args, 0)<<20)
	for i := 0; i < len(block); i += 4096 {
		block[i] = 1
	}
	fmt.Println("filled")
	time.Sleep(time.Hour)
	runtime.KeepAlive(block)
	return nil
}

func used() time.Duration {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func spin(args []string) error {
	limit := time.Duration(number(args, 0)) * time.Second
	begin, before := time.Now(), used()
	for time.Since(begin) < limit {
		for range 100000 {
			_ = unsafe.Sizeof(begin)
		}
	}
	fmt.Printf("%.1f\n", float64(used()-before)/float64(time.Since(begin))*100)
	return nil
}

// fork counts processes by starting them, each of one thread or so: Go's own
// threads are part of what --pids-limit counts, so the exact 21st is told by
// pids.events and not here.
func fork(args []string) error {
	n := 0
	var why error
	for range number(args, 0) {
		c := exec.Command("/bin/sleep", "1000")
		if why = c.Start(); why != nil {
			break
		}
		n++
	}
	fmt.Printf("%d %v\n", n, why)
	return nil
}

func cpus([]string) error {
	var may unix.CPUSet
	if err := unix.SchedGetaffinity(0, &may); err != nil {
		return err
	}
	ran := map[int]bool{}
	for begin := time.Now(); time.Since(begin) < 2*time.Second; {
		var cpu uint32
		if _, _, errno := unix.RawSyscall(unix.SYS_GETCPU, uintptr(unsafe.Pointer(&cpu)), 0, 0); errno != 0 {
			return errno
		}
		ran[int(cpu)] = true
	}
	fmt.Printf("may")
	for cpu := range 64 {
		if may.IsSet(cpu) {
			fmt.Printf(" %d", cpu)
		}
	}
	fmt.Printf(" ran")
	for cpu := range 64 {
		if ran[cpu] {
			fmt.Printf(" %d", cpu)
		}
	}
	fmt.Println()
	return nil
}

const block = 256 << 10

// direct opens for O_DIRECT: the page cache would take everything at once, and the
// writeback of it is the kernel's own work (open(2)).
func direct(path string, flags int) (int, error) {
	return unix.Open(path, flags|unix.O_DIRECT|unix.O_CLOEXEC, 0o666)
}

// aligned is a buffer that O_DIRECT takes: whole pages, which mmap gives.
func aligned(size int) ([]byte, error) {
	return unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
}

func move(path string, flags, size, total int, do func(fd int, b []byte) (int, error)) (time.Duration, error) {
	fd, err := direct(path, flags)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	b, err := aligned(size)
	if err != nil {
		return 0, err
	}
	begin := time.Now()
	for done := 0; done < total; done += size {
		if n, err := do(fd, b); err != nil || n != size {
			return 0, fmt.Errorf("%d bytes, %w", n, err)
		}
	}
	return time.Since(begin), nil
}

func write(args []string) error {
	total := number(args, 1)
	took, err := move(args[0], unix.O_WRONLY|unix.O_CREAT, block, total, unix.Write)
	if err == nil {
		fmt.Printf("%.0f\n", float64(total)/took.Seconds())
	}
	return err
}

func read(args []string) error {
	total := number(args, 1)
	took, err := move(args[0], unix.O_RDONLY, block, total, unix.Read)
	if err == nil {
		fmt.Printf("%.0f\n", float64(total)/took.Seconds())
	}
	return err
}

func iops(args []string) error {
	n := number(args, 1)
	took, err := move(args[0], unix.O_WRONLY|unix.O_CREAT, 4096, n*4096, unix.Write)
	if err == nil {
		fmt.Printf("%.1f\n", float64(n)/took.Seconds())
	}
	return err
}
