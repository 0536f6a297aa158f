package logs

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// arena is the writer's memory, outside Go's heap: pages that were not touched
// cost nothing, and the others go back to the kernel as soon as the payload is
// silent. The heap would keep them until a collection, which an idle shim never
// has; and every idle container has a shim.
type arena struct {
	mem     []byte
	touched bool // more than its first page
	armed   bool // a timer will look
	last    time.Time
}

// The parts of the arena, in bytes. Entries are written in one go when they fill
// arenaOut, which holds any single entry of text.
const (
	arenaOut  = 128 << 10
	arenaSize = arenaOut + 2*maxLine
)

// idleAfter is the silence after which the pages are given back.
const idleAfter = time.Second

func (a *arena) open() bool {
	if a.mem != nil {
		return true
	}
	var err error
	a.mem, err = unix.Mmap(-1, 0, arenaSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil { // a limit of address space: the heap will do
		a.mem = make([]byte, arenaSize)
	}
	return true
}

func (a *arena) out() []byte { return a.mem[:0:arenaOut] }

func (a *arena) part(second bool) []byte {
	if second {
		return a.mem[arenaOut+maxLine : arenaOut+maxLine : arenaSize]
	}
	return a.mem[arenaOut : arenaOut : arenaOut+maxLine]
}

// used is called after each Write, with mu held.
func (a *arena) used(bytes int, parts *[2]part, mu *sync.Mutex) {
	if a.touched = a.touched || bytes > unix.Getpagesize(); !a.touched {
		return
	}
	a.last = time.Now()
	if !a.armed {
		a.armed = true
		time.AfterFunc(idleAfter, func() { a.rest(parts, mu) })
	}
}

// rest gives the pages back, unless there was a Write meanwhile.
func (a *arena) rest(parts *[2]part, mu *sync.Mutex) {
	mu.Lock()
	defer mu.Unlock()
	if a.mem == nil {
		return
	}
	if wait := idleAfter - time.Since(a.last); wait > 0 {
		time.AfterFunc(wait, func() { a.rest(parts, mu) })
		return
	}
	a.armed, a.touched = false, false
	_ = unix.Madvise(a.mem[:arenaOut], unix.MADV_DONTNEED)
	for i := range parts {
		if from := arenaOut + i*maxLine; len(parts[i].line) == 0 {
			_ = unix.Madvise(a.mem[from:from+maxLine], unix.MADV_DONTNEED)
		}
	}
}

func (a *arena) close() {
	if a.mem != nil {
		_ = unix.Munmap(a.mem) // EINVAL for one on the heap
		a.mem = nil
	}
}
