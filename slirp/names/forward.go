package names

import (
	"net"
	"net/netip"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/rc-containers/rc/slirp"
)

// Times of one forwarded question. A C library waits 5 s before it asks again
// (resolv.conf(5), timeout), so all must be over before that.
const (
	patience = time.Second             // before the next server is asked as well
	deadline = 4500 * time.Millisecond // before SERVFAIL
	// offline is the deadline while no server has answered of late: programs learn
	// soon that there is no network, instead of hanging.
	offline  = 1500 * time.Millisecond
	maxTries = 6 // sockets of one question, one after the other or at once
)

// forwarder asks the resolvers of the host.
type forwarder struct {
	opts   Options
	limits *limits
	file   hostFile
	health health
	done   chan struct{} // closed by Server.Close
}

func newForwarder(o Options, l *limits) *forwarder {
	f := &forwarder{opts: o, limits: l, file: hostFile{path: "/etc/resolv.conf"}, done: make(chan struct{})}
	if f.opts.Dial == nil {
		f.opts.Dial = func(network string, to netip.AddrPort, timeout time.Duration) (net.Conn, error) {
			return net.DialTimeout(network, to.String(), timeout)
		}
	}
	if f.opts.Upstream == nil {
		f.opts.Upstream = f.file.servers
	}
	if f.opts.Host == nil {
		f.opts.Host = func() []netip.Addr {
			var list []netip.Addr // none: offline
			if a, err := slirp.HostAddress(); err == nil {
				list = append(list, a)
			}
			if a := slirp.HostAddress6(); a.IsValid() {
				list = append(list, a)
			}
			return list
		}
	}
	return f
}

// servers are who to ask for an asker: its own (--dns) or the host's.
func (f *forwarder) servers(who asker) []netip.AddrPort {
	if who.m == nil || len(who.m.Servers) == 0 {
		return f.opts.Upstream()
	}
	list := make([]netip.AddrPort, 0, maxResolvers)
	for _, a := range who.m.Servers[:min(len(who.m.Servers), maxResolvers)] {
		list = append(list, netip.AddrPortFrom(a, port))
	}
	return list
}

var servfail = answer{rcode: dnsmessage.RCodeServerFailure}

// forward is the packet that answers q, from a resolver, or SERVFAIL.
func (f *forwarder) forward(who asker, q *question, tcp bool) []byte {
	limit, size := q.size, q.size
	if tcp {
		limit, size = 1<<16-1, maxUDP
	}
	// An asker by TCP has seen TC, or wants much: it is asked on by TCP, too, so that a
	// datagram's limit is met once only, between here and the resolver.
	servers := f.servers(who)
	query, err := q.query(size)
	if err != nil {
		return q.reply(servfail, limit)
	}
	r := race{f: f, asker: who.key, query: query, end: q.questionEnd(), size: size, network: "udp"}
	if tcp {
		r.network = "tcp"
	}
	reply := r.run(servers)
	if reply == nil && tcp {
		// Many a router's resolver has no TCP. Its datagram will do unless truncated.
		r.network = "udp"
		if reply = r.run(servers); reply != nil && reply[2]&flagTC != 0 {
			reply = nil
		}
	}
	if reply == nil {
		return q.reply(servfail, limit)
	}
	if reply[4]|reply[5] == 0 { // a refusal without its question
		return q.reply(answer{rcode: rcode(reply)}, limit)
	}
	reply[0], reply[1] = byte(q.header.ID>>8), byte(q.header.ID)
	if len(reply) > limit { // the resolver took no notice of our size
		cut := q.reply(answer{rcode: rcode(reply)}, limit)
		cut[2] |= flagTC
		return cut
	}
	return reply
}
