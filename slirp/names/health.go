package names

import (
	"net/netip"
	"slices"
	"sync"
	"time"
)

// health remembers which resolvers did not answer, so that not every question waits
// for one that is dead (aardvark-dns#482: the client gave up before its second
// server was tried).
type health struct {
	mu  sync.Mutex
	bad map[netip.AddrPort]sickness
}

// sickness is what is wrong with a server.
type sickness struct {
	until time.Time // when it is tried again
	dead  bool      // it said nothing to the end, or is not there; else it was slow
}

// penalty is how long a resolver that failed is asked last.
const penalty = 10 * time.Second

// maxBad bounds what is remembered: the lists of --dns are the user's.
const maxBad = 64

// order is the servers as they should be asked: those that answer first, in their
// own order. One whose penalty is over is tried on one question, which asks the next
// server at the same time (probe) and so loses nothing; all others wait for what it
// finds. dead says that of late nobody answered at all.
func (h *health) order(servers []netip.AddrPort, now time.Time) (list []netip.AddrPort, probe, dead bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.bad) == 0 {
		return servers, false, false
	}
	var good, late []netip.AddrPort
	dead = true
	for _, s := range servers {
		b, is := h.bad[s]
		dead = dead && b.dead
		switch {
		case !is:
			good = append(good, s)
		case now.After(b.until) && !probe:
			probe = true
			b.until = now.Add(penalty)
			h.bad[s] = b
			good = slices.Insert(good, 0, s)
		default:
			late = append(late, s)
		}
	}
	list = append(good, late...)
	return list, probe && len(list) > 1, dead
}

func (h *health) failed(s netip.AddrPort, dead bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.bad == nil || len(h.bad) >= maxBad {
		h.bad = make(map[netip.AddrPort]sickness)
	}
	h.bad[s] = sickness{time.Now().Add(penalty), dead}
}

func (h *health) answered(s netip.AddrPort) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.bad, s)
}
