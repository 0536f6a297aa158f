package forward

import (
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// handler is what a door waits for.
type handler interface{ ready(d *door, events uint32) }

// door is where the clients of one container come in. Its fields below mu belong to
// whoever waits at the epoll: the goroutine while it rests, the thread while it works.
type door struct {
	f      *Forwarder
	netns  *os.File // borrowed
	ep     *os.File // the epoll, which Go's own poller watches while we rest
	epfd   int
	wakeFD int
	done   chan struct{}

	mu    sync.Mutex
	queue []func()
	shut  bool

	handlers map[int32]handler
	pending  int // dials that are under way
	flows    *flows
	turned   *turned // nil: not looked at yet
	found    found   // addresses inside that nobody told
	visited  time.Time
	paused   bool
}

func newDoor(f *Forwarder, netns *os.File) (*door, error) {
	d := &door{f: f, netns: netns, done: make(chan struct{}), handlers: map[int32]handler{}}
	var err error
	if d.epfd, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err = unix.SetNonblock(d.epfd, true); err == nil {
		d.wakeFD, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	}
	if err != nil {
		_ = unix.Close(d.epfd)
		return nil, os.NewSyscallError("eventfd", err)
	}
	d.ep = os.NewFile(uintptr(d.epfd), "door")
	d.flows = newFlows(d)
	if err := d.watch(d.wakeFD, wakeHandler{}, unix.EPOLLIN); err != nil {
		_ = d.ep.Close()
		_ = unix.Close(d.wakeFD)
		return nil, err
	}
	raw, err := d.ep.SyscallConn()
	if err != nil {
		return nil, err
	}
	go d.run(raw)
	return d, nil
}

func (d *door) watch(fd int, h handler, events uint32) error {
	d.handlers[int32(fd)] = h
	err := unix.EpollCtl(d.epfd, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})
	return os.NewSyscallError("epoll_ctl", err)
}

// forget ends the watch; the caller closes fd, or hands it on.
func (d *door) forget(fd int) {
	delete(d.handlers, int32(fd))
	_ = unix.EpollCtl(d.epfd, unix.EPOLL_CTL_DEL, fd, nil)
}

// do runs f by whoever waits, and returns when it has run.
func (d *door) do(f func()) {
	ran := make(chan struct{})
	d.mu.Lock()
	if d.shut {
		d.mu.Unlock()
		return
	}
	d.queue = append(d.queue, func() { f(); close(ran) })
	d.mu.Unlock()
	d.wake()
	<-ran
}

func (d *door) wake() {
	_, _ = unix.Write(d.wakeFD, []byte{1, 0, 0, 0, 0, 0, 0, 0})
}

// close returns when nobody works here any more; the gates are the caller's.
func (d *door) close() {
	d.mu.Lock()
	d.shut = true
	d.mu.Unlock()
	d.wake()
	<-d.done
}

// wakeHandler carries out what do has queued.
type wakeHandler struct{}

func (wakeHandler) ready(d *door, _ uint32) {
	var count [8]byte
	_, _ = unix.Read(d.wakeFD, count[:])
	d.mu.Lock()
	queue := d.queue
	d.queue = nil
	d.mu.Unlock()
	for _, f := range queue {
		f()
	}
}

func (d *door) ended() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.shut && len(d.queue) == 0
}

// run rests and works in turns until the door is closed.
func (d *door) run(raw syscall.RawConn) {
	defer close(d.done)
	for !d.ended() {
		var events [1]unix.EpollEvent
		if raw.Read(func(uintptr) bool {
			n, err := unix.EpollWait(d.epfd, events[:], 0)
			return n > 0 || err != nil && err != unix.EINTR
		}) != nil {
			break
		}
		if int(events[0].Fd) == d.wakeFD {
			wakeHandler{}.ready(d, 0)
			continue
		}
		worked := make(chan struct{})
		go func() {
			defer close(worked)
			d.work()
		}()
		<-worked
	}
	d.flows.clear()
	for fd, h := range d.handlers {
		if p, ok := h.(*dial); ok {
			p.fail(d)
		}
		delete(d.handlers, fd)
	}
	_ = unix.Close(d.wakeFD)
	_ = d.ep.Close()
}

// work serves from a thread in the container's namespace, until nobody has come for a
// while. The thread is never unlocked and ends with the goroutine: the host's network
// namespace is not ours to join again (setns(2), CAP_SYS_ADMIN).
func (d *door) work() {
	runtime.LockOSThread()
	d.visited = time.Now()
	if err := unix.Setns(int(d.netns.Fd()), unix.CLONE_NEWNET); err != nil {
		d.turnAway()
		return
	}
	if d.turned == nil {
		d.turned = turnInside()
	}
	events := make([]unix.EpollEvent, 128)
	for !d.ended() {
		n, err := unix.EpollWait(d.epfd, events, d.limit())
		if err != nil && err != unix.EINTR {
			return
		}
		d.paused = false
		now := time.Now()
		for _, e := range events[:max(n, 0)] {
			if h := d.handlers[e.Fd]; h != nil {
				h.ready(d, e.Events)
			}
		}
		if d.paused {
			time.Sleep(10 * time.Millisecond)
		}
		d.flows.expire(now)
		if n > 0 {
			d.visited = now
		} else if d.pending == 0 && d.flows.count() == 0 && now.Sub(d.visited) >= restAfter {
			return
		}
	}
}

// limit is how long to wait, in milliseconds.
func (d *door) limit() int {
	if d.flows.count() > 0 {
		return 1000
	}
	return int(restAfter.Milliseconds())
}

// pause makes the next round wait a little: nothing can be opened now.
func (d *door) pause() { d.paused = true }

// turnAway gives up the gates: the namespace cannot be entered.
func (d *door) turnAway() {
	for fd, h := range d.handlers {
		if g, ok := h.(*gate); ok {
			d.forget(int(fd))
			g.close()
		}
	}
}

// admit begins to wait at a gate.
func (d *door) admit(g *gate) {
	if d.handlers[int32(g.fd)] == nil {
		_ = d.watch(g.fd, g, unix.EPOLLIN)
	}
}

// dismiss closes a gate, and what is under way through it.
func (d *door) dismiss(g *gate) {
	d.forget(g.fd)
	d.flows.drop(g)
	for _, h := range d.handlers {
		if p, ok := h.(*dial); ok && p.gate == g {
			p.fail(d)
		}
	}
	g.close()
}
