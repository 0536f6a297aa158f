package forward

import (
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// relay carries the TCP connections of all containers: a socket is of its network
// namespace for ever, whoever reads it. A worker more is started when each has
// connections of its own to do, up to the number of processors.
var relay relays

type relays struct {
	mu      sync.Mutex
	workers []*worker
}

// maxWorkers: beyond it threads take turns anyhow.
var maxWorkers = min(runtime.NumCPU(), 8)

const (
	bufferSize = 256 << 10        // bytes; a worker's one buffer
	idleWorker = 10 * time.Second // without a connection, then it ends
)

// worker is an epoll and a goroutine for it.
type worker struct {
	poller
	mu      sync.Mutex
	pairs   map[int32]*pair // by each of its two descriptors
	buffer  []byte
	pipes   []*pipe // empty ones
	again   []*pair // had their turn, are not done
	visited bool    // since it was asked last
}

// adopt carries between client and inside from now on, and owns both.
func (r *relays) adopt(o owner, client, inside int) {
	p := &pair{owner: o}
	p.half[0].fd, p.half[1].fd = client, inside
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.choose()
	if w == nil {
		p.close(true)
		return
	}
	w.mu.Lock()
	w.pairs[int32(client)], w.pairs[int32(inside)] = p, p
	w.mu.Unlock()
	for i := range p.half {
		// Edges: no call of epoll_ctl whenever a buffer fills up or empties.
		err := w.add(p.half[i].fd, unix.EPOLLIN|unix.EPOLLOUT|unix.EPOLLRDHUP|unix.EPOLLET)
		switch { // ENOMEM, ENOSPC: epoll_ctl(2)
		case err != nil && i == 0:
			w.drop(p)
			p.close(true)
			return
		case err != nil: // the worker has it already, and sees the first one end
			w.shutdown(p)
		}
	}
}

// choose returns the worker with the fewest, nil when there can be none.
func (r *relays) choose() *worker {
	var least *worker
	fewest := 0
	for _, w := range r.workers {
		w.mu.Lock()
		n := len(w.pairs) / 2
		w.mu.Unlock()
		if least == nil || n < fewest {
			least, fewest = w, n
		}
	}
	if least != nil && (fewest < 2 || len(r.workers) >= maxWorkers) {
		return least
	}
	w := &worker{pairs: map[int32]*pair{}}
	if w.open() != nil {
		return least
	}
	r.workers = append(r.workers, w)
	go w.run()
	return w
}

// retire ends a worker without connections; false: one has come.
func (r *relays) retire(w *worker) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(w.pairs) > 0 {
		return false
	}
	for i, other := range r.workers {
		if other == w {
			r.workers = append(r.workers[:i:i], r.workers[i+1:]...)
		}
	}
	w.poller.close()
	return true
}

// cut ends the connections of an owner.
func (r *relays) cut(o owner) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, w := range r.workers {
		w.mu.Lock()
		for _, p := range w.pairs {
			if p.owner == o {
				w.shutdownLocked(p)
			}
		}
		w.mu.Unlock()
	}
}

// shutdown makes the worker close p: what is in the map has not been closed.
func (w *worker) shutdown(p *pair) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.shutdownLocked(p)
}

func (w *worker) shutdownLocked(p *pair) {
	p.cut.Store(true)
	for i := range p.half {
		_ = unix.Shutdown(p.half[i].fd, unix.SHUT_RDWR)
	}
}

// drop comes before the close: then the numbers are somebody else's.
func (w *worker) drop(p *pair) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.pairs, int32(p.half[0].fd))
	delete(w.pairs, int32(p.half[1].fd))
}

func (w *worker) run() {
	w.alarm(idleWorker)
	for {
		var events []unix.EpollEvent
		if len(w.again) > 0 {
			events = w.poll()
		} else {
			var late bool
			var err error
			if events, late, err = w.wait(); err != nil || late && w.idle() {
				return
			}
		}
		w.visited = w.visited || len(events) > 0
		for _, e := range events {
			w.mu.Lock()
			p := w.pairs[e.Fd]
			w.mu.Unlock()
			if p != nil {
				p.note(e.Fd, e.Events)
				w.serve(p)
			}
		}
		again := w.again
		w.again = nil
		for _, p := range again {
			p.queued = false
			w.serve(p)
		}
	}
}

// idle is asked now and then; a worker that rests has no buffer, and one without any
// connection ends.
func (w *worker) idle() bool {
	if !w.visited {
		w.buffer = nil
		for _, p := range w.pipes {
			p.close()
		}
		w.pipes = nil
		if relay.retire(w) {
			return true
		}
	}
	w.visited = false
	w.alarm(idleWorker)
	return false
}

// serve carries what can be carried now, a limited amount, then others have their turn.
func (w *worker) serve(p *pair) {
	if p.closed {
		return
	}
	more, done, broken := p.pump(w)
	switch {
	case done || broken:
		w.drop(p)
		p.close(broken)
	case more && !p.queued:
		p.queued = true
		w.again = append(w.again, p)
	}
}
