package patient

// giveBack makes the timers of this thread, and the process's limit of descriptors,
// what they were.
//
//go:noescape
func giveBack()

// room makes the main goroutine's stack 32 KiB, which a start needs, in one go: while it
// is shallow there is next to nothing to copy, and the pages between are never touched.
func room()

// The main goroutine is on the first thread here, which starts other programs, and in
// rc-init executes a container's payload; threads that Go has already, its monitor first
// of all, may be late. This runs ahead of syscall's init, which raises the soft limit and
// remembers it for what is executed: a package that imports nothing comes in the order of
// names, and syscall has a later one (cmd/link/internal/ld/inittask.go).
func init() {
	giveBack()
	room()
}
