//go:build !cgo

// Package entry is rc-init's way into the process where it is linked without a C
// library: the constructors of userns/nsjoin and userns/park, compiled for
// themselves (folder bare), run on the bare stack before Go's runtime. Where cgo
// builds rc-init, those packages do it themselves and nobody imports this one.
//
// The Makefile makes entry_linux_amd64.syso and names the entry point to the
// linker (-E rc_start). Without the first, linking fails; without the second, the
// program is as one that was started by hand.
package entry

// terminated is nonzero when SIGTERM was taken; written before Go starts.
var terminated uint32

// limit is RLIMIT_NOFILE, soft and hard, as it was before Go started; 0, 0 where
// nobody touched it.
var limit [2]uint64

// Terminated is park.Terminated.
func Terminated() bool { return terminated != 0 }

// kernelSlack is how late a timer may be by default, in nanoseconds (kernel's
// init/init_task.c).
const kernelSlack = 50000

// giveBack makes the timers of this thread, and the process's limit of descriptors,
// what they were.
//
//go:noescape
func giveBack(slack uintptr)

// room makes the main goroutine's stack 32 KiB, which a start needs, in one go: while it
// is shallow there is next to nothing to copy, and the pages between are never touched.
func room()

// The main goroutine is on the first thread here, the one that executes a container's
// payload; threads that Go has already, its monitor first of all, may be late. This
// runs ahead of syscall's init, which raises the soft limit and remembers it for what
// is executed: a package that imports nothing comes in the order of names, and syscall
// has a later one (cmd/link/internal/ld/inittask.go).
func init() {
	giveBack(kernelSlack)
	room()
}
