package names

import (
	"net/netip"
	"sync"
	"time"
)

// What one keeper spends on questions. A container is one asker, an address of
// which nothing is known counts with its whole network.
const (
	// maxForwards bounds questions under way to the resolvers, each a socket and some
	// 12 KiB. Docker's 100 a container were too few (moby#22185), its 1,024 now would
	// let one container take everything.
	maxForwards, maxForwardsEach = 1024, 256
	// maxExtra bounds the second sockets of questions whose first resolver is slow.
	maxExtra = 256
	// maxConns bounds connections of TCP, each with a goroutine and a socket.
	maxConns, maxConnsEach = 256, 32
	// maxRate is how many questions a second one address may ask, after a burst of as
	// many; more are dropped as soon as they are read. An answer costs the keeper 27 µs,
	// a drop 3, so that whoever floods does not fill the socket's buffer with what
	// waits to be answered, and take its neighbours' place in it.
	maxRate = 5000
)

// limits counts what is under way.
type limits struct {
	forwards, extra, conns pool
}

func newLimits() *limits {
	return &limits{
		forwards: pool{all: maxForwards, each: maxForwardsEach},
		extra:    pool{all: maxExtra, each: maxExtra},
		conns:    pool{all: maxConns, each: maxConnsEach},
	}
}

// pool hands out at most all slots, and at most each to one asker.
type pool struct {
	all, each int

	mu    sync.Mutex
	taken int
	by    map[string]int
}

// take is false when there is no slot for the asker. One may have half of what is
// free: however many try to take everything, something is left for the next
// (dynamic thresholds, Choudhury and Hahne 1998).
func (p *pool) take(asker string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	mine := p.by[asker]
	if mine >= p.each || 2*mine >= p.all-p.taken {
		return false
	}
	if p.by == nil {
		p.by = make(map[string]int)
	}
	p.by[asker] = mine + 1
	p.taken++
	return true
}

// give returns a slot. An asker is forgotten with its last one, so that the table is
// never longer than what is under way.
func (p *pool) give(asker string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken--
	if p.by[asker]--; p.by[asker] == 0 {
		delete(p.by, asker)
	}
}

// rates is the token buckets of one socket's askers. It has one user, its reader.
type rates struct {
	by map[netip.Addr]*bucket
}

type bucket struct {
	left float64
	last time.Time
}

// maxBuckets bounds the addresses that are remembered (a network of IPv6 has 2^64);
// then all begin anew.
const maxBuckets = 1024

// allow is false when the address has asked too much.
func (r *rates) allow(from netip.Addr, now time.Time) bool {
	b := r.by[from]
	if b == nil {
		if r.by == nil || len(r.by) >= maxBuckets {
			r.by = make(map[netip.Addr]*bucket)
		}
		b = &bucket{left: maxRate, last: now}
		r.by[from] = b
	}
	b.left = min(maxRate, b.left+now.Sub(b.last).Seconds()*maxRate)
	b.last = now
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}
