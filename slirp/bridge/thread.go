package bridge

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// thread is an operating system thread in N0, with one goroutine locked to it. It is
// never unlocked, so that it ends with its goroutine: a thread of the Go runtime in
// another network namespace than the rest would run anybody's goroutines there.
type thread struct {
	tid  int
	n0   int // descriptor
	work chan func()
	dead chan struct{} // closed when the thread ended
}

// startThread enters n0, or a new network namespace.
func startThread(n0 *os.File) (*thread, *os.File, error) {
	t := &thread{work: make(chan func()), dead: make(chan struct{})}
	type birth struct {
		file *os.File
		err  error
	}
	born := make(chan birth, 1)
	go func() {
		runtime.LockOSThread()
		defer close(t.dead)
		file, err := enter(n0)
		if err == nil {
			t.tid, t.n0 = unix.Gettid(), int(file.Fd())
		}
		born <- birth{file, err}
		if err == nil {
			t.serve()
		}
	}()
	b := <-born
	return t, b.file, b.err
}

// enter moves this thread and returns the descriptor of where it is now.
func enter(n0 *os.File) (*os.File, error) {
	if n0 == nil {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return nil, os.NewSyscallError("unshare(CLONE_NEWNET)", err)
		}
	} else if err := unix.Setns(int(n0.Fd()), unix.CLONE_NEWNET); err != nil {
		return nil, os.NewSyscallError("setns(CLONE_NEWNET)", err)
	}
	fd, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: "/proc/thread-self/ns/net", Err: err}
	}
	return os.NewFile(uintptr(fd), "N0"), nil
}

func (t *thread) serve() {
	for f := range t.work {
		if f == nil {
			return
		}
		f()
	}
}

// do runs f on the thread and waits for it. os.ErrClosed when the thread has ended.
func (t *thread) do(f func() error) error {
	done := make(chan error, 1)
	select {
	case t.work <- func() { done <- f() }:
		return <-done
	case <-t.dead:
		return os.ErrClosed
	}
}

func (t *thread) stop() {
	select {
	case t.work <- nil:
		<-t.dead
	case <-t.dead:
	}
}

// visit runs f on this thread inside another network namespace. Descriptors that f
// opens stay that namespace's; opening one takes 0.02 ms, a thread for it took 0.3.
// Only functions run by do may call it.
func (t *thread) visit(netns *os.File, f func() error) error {
	if err := unix.Setns(int(netns.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter the container's network namespace: %w", err)
	}
	err := f()
	if back := unix.Setns(t.n0, unix.CLONE_NEWNET); back != nil {
		// We own N0 and have entered it before. To go on elsewhere would mean to build
		// the next container's bridge inside this container.
		panic(fmt.Sprint("return to the user's network namespace: ", back))
	}
	return err
}
