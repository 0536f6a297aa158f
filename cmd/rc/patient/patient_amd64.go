package patient

// giveBack makes the timers of this thread, and the process's limit of descriptors,
// what they were.
//
//go:noescape
func giveBack()

// The first thread, and with it what rc starts, gets back what rc was started with.
// This runs ahead of syscall's init, which raises the soft limit and remembers it for
// what is executed: a package that imports nothing comes in the order of names, and
// syscall has a later one (cmd/link/internal/ld/inittask.go).
func init() { giveBack() }
