package names

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// race is one question on its way to the resolvers.
type race struct {
	f       *forwarder
	asker   string // of the limits
	query   []byte
	end     int // of the question in query
	size    int // bytes that an answer by UDP may have
	network string

	list    []netip.AddrPort
	until   time.Time
	next    int                     // of list, twice over
	refused map[netip.AddrPort]bool // said no: not asked twice
	running map[netip.AddrPort]int  // sockets that wait
	extra   int                     // slots of limits.extra
	results chan try

	mu   sync.Mutex
	open []net.Conn
	over bool
}

// try is what came of asking one server.
type try struct {
	server netip.AddrPort
	reply  []byte
	err    error
}

// The resolver of a C library asks its servers one after the other, 5 s each, and is
// asked again by its program after as long: whoever forwards must have tried them all
// by then. So nobody is given up while another is asked; what is late still counts.

// run asks the servers in turn: the next one when one fails, or has said nothing
// for a while; the first good answer wins. nil: nobody had one.
func (r *race) run(servers []netip.AddrPort) []byte {
	list, probe, dead := r.f.health.order(servers, time.Now())
	limit := deadline
	if dead {
		limit = offline
	}
	r.list, r.until, r.next, r.over = list, time.Now().Add(limit), 0, false
	r.refused, r.running = make(map[netip.AddrPort]bool), make(map[netip.AddrPort]int)
	r.results = make(chan try, maxTries)
	defer r.stop()
	r.start()
	if probe {
		r.start()
	}
	end, slow := time.NewTimer(limit), time.NewTicker(patience)
	defer end.Stop()
	defer slow.Stop()
	var second []byte // what is said if nobody has anything better
	// Each turn either ends a try, or begins one, or is the last.
	for len(r.running) > 0 {
		select {
		case t := <-r.results:
			reply, good := r.judge(t)
			if good {
				return reply
			}
			if reply != nil {
				second = reply
			}
			r.start()
		case <-slow.C:
			r.mark(false)
			r.start()
		case <-end.C:
			r.mark(true)
			return second
		case <-r.f.done:
			return nil
		}
	}
	return second
}

// judge takes one result: the reply, and whether it is the last word.
func (r *race) judge(t try) (reply []byte, good bool) {
	if r.running[t.server]--; r.running[t.server] == 0 {
		delete(r.running, t.server)
	}
	if t.err != nil {
		var timeout net.Error
		r.refused[t.server] = !errors.As(t.err, &timeout) || !timeout.Timeout()
		r.f.health.failed(t.server, true)
		return nil, false
	}
	r.f.health.answered(t.server)
	if helpless(t.reply) {
		r.refused[t.server] = true
		return t.reply, false
	}
	return t.reply, true
}

// helpless says whether another server may know better: people have resolvers that
// know only some domains (moby#20494). NXDOMAIN is an answer.
func helpless(reply []byte) bool {
	c := rcode(reply)
	return c == dnsmessage.RCodeServerFailure || c == dnsmessage.RCodeRefused || c == dnsmessage.RCodeNotImplemented
}

// mark remembers that the servers which were asked have not answered.
func (r *race) mark(dead bool) {
	for s := range r.running {
		r.f.health.failed(s, dead)
	}
}

// start asks the next server, if there is one and there may be one more socket.
func (r *race) start() {
	for ; r.next < min(maxTries, 2*len(r.list)); r.next++ {
		s := r.list[r.next%len(r.list)]
		if r.refused[s] {
			continue // a closed port, or an answer that did not help: it stays so
		}
		// The first socket is the question's own (limits.forwards); a second one at
		// the same time is a luxury, which goes when all questions want one.
		if len(r.running) > 0 {
			if !r.f.limits.extra.take(r.asker) {
				return
			}
			r.extra++
		}
		r.next++
		r.running[s]++
		go r.ask(s)
		return
	}
}

// ask is one try.
func (r *race) ask(s netip.AddrPort) {
	t := try{server: s}
	defer func() { r.results <- t }() // never waits: as many fit as there are tries
	c, err := r.f.opts.Dial(r.network, s, min(time.Until(r.until), dialTimeout))
	if err != nil {
		t.err = err
		return
	}
	defer c.Close()
	if t.err = c.SetDeadline(r.until); t.err != nil || !r.holds(c) {
		return
	}
	if r.network == "tcp" {
		t.reply, t.err = askTCP(c, r.query, r.end)
	} else {
		t.reply, t.err = askUDP(c, r.query, r.end, r.size)
	}
}

// holds remembers a connection for stop; false when that is past.
func (r *race) holds(c net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open = append(r.open, c)
	return !r.over
}

// stop ends what still runs.
func (r *race) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.over = true
	for _, c := range r.open {
		_ = c.Close()
	}
	r.open = nil
	for ; r.extra > 0; r.extra-- {
		r.f.limits.extra.give(r.asker)
	}
}
