package forward

import (
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// handler is what a door waits for.
type handler interface{ ready(d *door, events uint32) }

// door is where the clients of one container come in: a goroutine. Its fields below mu
// are the goroutine's own.
type door struct {
	poller
	f      *Forwarder
	netns  *os.File // borrowed
	wakeFD int
	done   chan struct{}

	mu    sync.Mutex
	queue []func()
	shut  bool

	handlers map[int32]handler
	pending  int // dials that are under way
	flows    *flows
	annex    *annex  // nil while nobody comes
	turned   *turned // nil: not looked at yet
	found    found   // addresses inside that nobody told
	ticking  bool
	visited  bool // since the last tick
	quiet    int  // ticks without visits
}

func newDoor(f *Forwarder, netns *os.File) (*door, error) {
	d := &door{f: f, netns: netns, done: make(chan struct{}), handlers: map[int32]handler{}}
	if err := d.open(); err != nil {
		return nil, err
	}
	var err error
	if d.wakeFD, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		d.poller.close()
		return nil, os.NewSyscallError("eventfd", err)
	}
	d.flows = newFlows(d)
	if err := d.watch(d.wakeFD, wakeHandler{}, unix.EPOLLIN); err != nil {
		_ = unix.Close(d.wakeFD)
		d.poller.close()
		return nil, err
	}
	go d.run()
	return d, nil
}

func (d *door) watch(fd int, h handler, events uint32) error {
	err := d.add(fd, events)
	if err == nil {
		d.handlers[int32(fd)] = h
	}
	return err
}

// forget ends the watch; the caller closes fd, or hands it on.
func (d *door) forget(fd int) {
	delete(d.handlers, int32(fd))
	d.remove(fd)
}

// do has the goroutine run f, and returns when it has.
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

func (d *door) wake() { _, _ = unix.Write(d.wakeFD, []byte{1, 0, 0, 0, 0, 0, 0, 0}) }

// end returns when nobody works here any more; the gates are the caller's.
func (d *door) end() {
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

// run serves until the door is closed.
func (d *door) run() {
	defer close(d.done)
	for !d.ended() {
		events, late, err := d.wait()
		if err != nil {
			break
		}
		if late {
			d.tick()
			continue
		}
		for _, e := range events {
			if h := d.handlers[e.Fd]; h != nil {
				h.ready(d, e.Events)
			}
		}
	}
	d.flows.clear()
	for _, h := range d.handlers {
		if p, ok := h.(*dial); ok {
			p.fail(d)
		}
	}
	d.rest()
	_ = unix.Close(d.wakeFD)
	d.poller.close()
}

// enter is called whenever somebody comes: false, when the namespace cannot be entered.
func (d *door) enter() bool {
	d.visited = true
	if !d.ticking {
		d.ticking = true
		d.alarm(time.Second)
	}
	if d.annex == nil {
		a, err := openAnnex(d.netns)
		if err != nil {
			return false
		}
		d.annex = a
	}
	if d.turned == nil {
		d.annex.in(func() { d.turned = turnInside() })
	}
	return true
}

// tick looks every second what has lasted too long. When nobody has come for a while
// the thread is given back, and nothing runs any more.
func (d *door) tick() {
	d.flows.expire(time.Now())
	d.quiet++
	if d.visited || d.pending > 0 || d.flows.count() > 0 {
		d.quiet = 0
	}
	d.visited = false
	if d.quiet >= restAfter {
		d.rest()
		return
	}
	d.alarm(time.Second)
}

func (d *door) rest() {
	if d.annex != nil {
		d.annex.close()
		d.annex = nil
	}
	d.ticking, d.quiet = false, 0
	d.alarm(0)
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
	d.clear(g)
	g.close()
}

// clear ends what is under way through a gate.
func (d *door) clear(g *gate) {
	d.flows.drop(g)
	for _, h := range d.handlers {
		if p, ok := h.(*dial); ok && p.gate == g {
			p.fail(d)
		}
	}
}
