// Package trace shows where the time of one command goes: `rc --trace=FILE` writes
// what rc, the shim, init and the keeper did, on one clock, in the format of
// Chrome's trace viewer (chrome://tracing, ui.perfetto.dev).
//
// A mark is one line at the top of a function,
//
//	defer trace.Begin("mount the root file system").End()
//
// and costs one look at a pointer while nobody traces: no clock is read, nothing is
// allocated (TestOffCostsNothing).
//
// How marks come together. rc makes a memory file (memory.go) of fixed size, sealed
// against growing and shrinking, and hands its descriptor to the shim, which hands it
// to init. Each writes its marks there; rc reads them when all have left, and writes
// FILE, which it alone ever opens. What the others can do with the memory is to put
// wrong marks into it: it is bounded, what is read is checked (write.go), and no
// other process learns FILE. Init gives the memory back before the payload's execve,
// which would take the mapping away in any case, and so does the reaper of --init,
// so that nothing of it is ever within a container's reach. The keeper, which serves
// others at the same time, gets no memory: it sends its marks with its answer (Log).
package trace

import (
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Role is one of the processes of a command.
type Role uint8

// The roles, in the order in which a viewer shows them.
const (
	RC Role = iota + 1
	Shim
	Init
	Exec
	Keeper
)

var roles = [...]string{RC: "rc", Shim: "shim", Init: "init", Exec: "exec", Keeper: "keeper"}

// Kind says how a span is shown, as a set of bits.
type Kind uint8

const (
	// aside is another lane: spans of one lane lie beside or within each other, so what
	// goes on at the same time needs its own.
	aside Kind = 1 << iota
	// waiting is for another process, whose spans say what for.
	waiting
	// apart is a third lane.
	apart
)

// here is where this process puts its marks; nil while nobody traces.
var here atomic.Pointer[memory]

// born is when main began. It is read before anybody knows whether this start is
// traced: 40 ns, once a process.
var born time.Time

// Born notes that main begins.
func Born() { born = time.Now() }

// On tells whether this process is traced.
func On() bool { return here.Load() != nil }

// Span is something that takes time. The zero value is nothing.
type Span struct {
	log   *Log // of the keeper; else the process's own memory
	name  string
	began int64
	kind  Kind
}

// Begin begins what a process does on its way to the goal.
func Begin(name string) Span { return begin(name, 0) }

// Aside is Begin of what a process does at the same time, as one other goroutine.
func Aside(name string) Span { return begin(name, aside) }

// Apart is Aside for what goes on beside that.
func Apart(name string) Span { return begin(name, apart) }

// Wait is Begin of a time in which this process has nothing to do.
func Wait(name string) Span { return begin(name, waiting) }

func begin(name string, kind Kind) Span {
	if here.Load() == nil {
		return Span{}
	}
	return Span{name: name, began: now(), kind: kind}
}

// End ends it. Only then it is kept, so what never ends is not shown.
func (s Span) End() {
	if s.began != 0 {
		s.keep()
	}
}

func (s Span) keep() {
	m := Mark{Name: s.name, Began: s.began, Took: max(now()-s.began, 1), Kind: s.kind}
	if s.log != nil {
		s.log.keep(m)
	} else if to := here.Load(); to != nil {
		to.put(to.role, m)
	}
}

// At notes that something happened now.
func At(name string) {
	if to := here.Load(); to != nil {
		to.put(to.role, Mark{Name: name, Began: now()})
	}
}

// Mark is a span as it is kept and sent. Times are nanoseconds of CLOCK_MONOTONIC;
// one that took 0 is a moment.
type Mark struct {
	Name  string
	Began int64
	Took  int64
	Kind  Kind `json:",omitempty"`
}

// clock pairs Go's monotonic clock with the kernel's, which all processes share: Go
// counts from a moment of its own, but reads it without a system call.
var clock struct {
	once sync.Once
	at   time.Time
	ns   int64
}

// setClock must come before the first mark of a process.
func setClock() {
	clock.once.Do(func() {
		var ts unix.Timespec
		_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
		clock.at, clock.ns = time.Now(), ts.Nano()
	})
}

func now() int64 { return clock.ns + int64(time.Since(clock.at)) }

// when is a moment that was noted before anybody knew that it would be told.
func when(t time.Time) int64 { return clock.ns + int64(t.Sub(clock.at)) }
