package forward

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// annex is a thread in a container's network namespace. Sockets belong to the namespace
// that they are made in, and to any thread afterwards, so all it does is make some, in
// advance where many are needed; and look around.
type annex struct {
	calls chan func()
	stock map[kind][]int
	batch map[kind]int // how many were made last
}

// kind of socket: family and type.
type kind struct{ family, kind int }

// maxBatch bounds what is made in advance.
const maxBatch = 32

// openAnnex enters the namespace. The thread is never unlocked and ends with the
// goroutine: the host's network namespace is not ours to join again (setns(2)).
func openAnnex(netns *os.File) (*annex, error) {
	a := &annex{calls: make(chan func()), stock: map[kind][]int{}, batch: map[kind]int{}}
	entered := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := unix.Setns(int(netns.Fd()), unix.CLONE_NEWNET)
		entered <- err
		if err != nil {
			return
		}
		for f := range a.calls {
			f()
		}
	}()
	return a, os.NewSyscallError("setns", <-entered)
}

// in runs f in the namespace.
func (a *annex) in(f func()) {
	done := make(chan struct{})
	a.calls <- func() { defer close(done); f() }
	<-done
}

// socket returns a fresh one that does not block. Each time that the stock was used up
// twice as many are made: the way to the thread and back is what costs.
func (a *annex) socket(k kind) (int, error) {
	if len(a.stock[k]) == 0 {
		n := min(max(2*a.batch[k], 1), maxBatch)
		a.batch[k] = n
		var err error
		a.in(func() {
			for range n {
				var fd int
				if fd, err = unix.Socket(k.family, k.kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0); err != nil {
					return
				}
				a.stock[k] = append(a.stock[k], fd)
			}
		})
		if len(a.stock[k]) == 0 {
			return -1, err
		}
	}
	last := len(a.stock[k]) - 1
	fd := a.stock[k][last]
	a.stock[k] = a.stock[k][:last]
	return fd, nil
}

func (a *annex) close() {
	for _, fds := range a.stock {
		for _, fd := range fds {
			_ = unix.Close(fd)
		}
	}
	close(a.calls)
}
