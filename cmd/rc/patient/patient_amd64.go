package patient

// limit is RLIMIT_NOFILE, soft and hard, as it was before Go started; 0, 0 where
// nobody touched it.
var limit [2]uint64

// few is the limit while Go starts; the hard one is that of limit.
var few = [2]uint64{3, 0}

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
