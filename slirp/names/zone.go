package names

import (
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/rc-containers/rc/slirp"
)

// shortID is how many digits of a container's id are a name of it, as Docker has it.
const shortID = 12

// zone is who is where. Its lock is held for map look-ups only.
type zone struct {
	mu      sync.RWMutex
	members map[string]*member
	nets    map[string]*network // by id: what is served, and what members are on
	turn    atomic.Uint32       // several containers of one name take turns at being first

	missing map[string]bool // expected ids; see expect
	whole   chan struct{}   // closed when none is missing any more; nil: none ever was
	expiry  *time.Timer
}

// member is one container.
type member struct {
	id string
	Member
}

// network is one network as the names know it.
type network struct {
	config slirp.Network
	served bool
	names  map[string][]place // names, aliases and ids, in lower case
	hosts  map[string][]place // host names: they count where no name fits
	addrs  map[netip.Addr]place
}

// place is one container on one network.
type place struct {
	m *member
	e *slirp.EndpointStatus
}

func newZone() *zone {
	return &zone{members: make(map[string]*member), nets: make(map[string]*network)}
}

// at finds or makes a network; the write lock is held.
func (z *zone) at(id string) *network {
	n := z.nets[id]
	if n == nil {
		n = &network{names: make(map[string][]place), hosts: make(map[string][]place), addrs: make(map[netip.Addr]place)}
		z.nets[id] = n
	}
	return n
}

// tidy forgets a network of which nothing is known; the write lock is held.
func (z *zone) tidy(id string) {
	if n := z.nets[id]; n != nil && !n.served && len(n.names) == 0 {
		delete(z.nets, id)
	}
}

func (z *zone) serve(config slirp.Network) {
	z.mu.Lock()
	defer z.mu.Unlock()
	n := z.at(config.ID)
	n.config, n.served = config, true
}

func (z *zone) drop(id string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if n := z.nets[id]; n != nil {
		n.served = false
		z.tidy(id)
	}
}

func (z *zone) set(id string, m Member) {
	z.mu.Lock()
	defer z.mu.Unlock()
	// Nothing of a member changes after this: places and askers hold it without a lock.
	z.take(id)
	mine := &member{id: id, Member: m}
	mine.Endpoints = slices.Clone(m.Endpoints)
	z.members[id] = mine
	for i := range mine.Endpoints {
		z.at(mine.Endpoints[i].NetworkID).add(place{mine, &mine.Endpoints[i]})
	}
	if z.missing[id] {
		delete(z.missing, id)
		z.complete()
	}
}

func (z *zone) remove(id string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.take(id)
	if z.missing[id] { // it ended before it came back
		delete(z.missing, id)
		z.complete()
	}
}

// take removes what is known of a container; the write lock is held.
func (z *zone) take(id string) {
	old := z.members[id]
	if old == nil {
		return
	}
	delete(z.members, id)
	for i := range old.Endpoints {
		e := &old.Endpoints[i]
		if n := z.nets[e.NetworkID]; n != nil {
			n.cut(place{old, e})
			z.tidy(e.NetworkID)
		}
	}
}

// keys are the names of a place on its network: each once, since an alias may
// repeat the name (podman then gives an address twice, podman#22407).
func (p place) keys() (names []string, host string) {
	add := func(s string) {
		if s = strings.ToLower(strings.TrimSuffix(s, ".")); s != "" && !slices.Contains(names, s) {
			names = append(names, s)
		}
	}
	add(p.m.Name)
	// The whole id, of 64 digits, cannot be asked for: a label has 63 bytes at most.
	add(p.m.id[:min(len(p.m.id), shortID)])
	for _, alias := range p.e.Aliases {
		add(alias)
	}
	host = strings.ToLower(strings.TrimSuffix(p.m.Hostname, "."))
	return names, host
}

func (n *network) add(p place) {
	names, host := p.keys()
	for _, k := range names {
		n.names[k] = append(n.names[k], p)
	}
	if host != "" {
		n.hosts[host] = append(n.hosts[host], p)
	}
	for _, a := range []netip.Addr{p.e.IP, p.e.IP6} {
		if a.IsValid() {
			n.addrs[a] = p
		}
	}
}

func (n *network) cut(p place) {
	names, host := p.keys()
	for _, k := range names {
		cut(n.names, k, p)
	}
	cut(n.hosts, host, p)
	for _, a := range []netip.Addr{p.e.IP, p.e.IP6} {
		if n.addrs[a].m == p.m {
			delete(n.addrs, a)
		}
	}
}

func cut(in map[string][]place, key string, p place) {
	left := slices.DeleteFunc(in[key], func(o place) bool { return o.m == p.m })
	if len(left) == 0 {
		delete(in, key)
		return
	}
	in[key] = left
}

// expect is Server.Expect.
func (z *zone) expect(ids []string, d time.Duration) {
	z.mu.Lock()
	defer z.mu.Unlock()
	for _, id := range ids {
		if z.members[id] == nil {
			if z.missing == nil {
				z.missing = make(map[string]bool)
			}
			z.missing[id] = true
		}
	}
	if len(z.missing) == 0 {
		return
	}
	if z.whole == nil {
		z.whole = make(chan struct{})
	}
	if z.expiry != nil {
		z.expiry.Stop()
	}
	z.expiry = time.AfterFunc(d, func() {
		z.mu.Lock()
		defer z.mu.Unlock()
		z.missing = nil
		z.complete()
	})
}

// complete lets go those who wait when nobody is missing; the write lock is held.
func (z *zone) complete() {
	if len(z.missing) == 0 && z.whole != nil {
		close(z.whole)
		z.whole, z.missing = nil, nil
		z.expiry.Stop()
	}
}

// pending is closed when all expected containers are there; nil: nobody is missing.
func (z *zone) pending() <-chan struct{} {
	z.mu.RLock()
	defer z.mu.RUnlock()
	return z.whole
}

// asker is who asks, and what they may know.
type asker struct {
	key     string // of the limits: the container's id, else the network's
	m       *member
	nets    []*network // that which the question came by first
	forward bool       // one of them leads out
}

// who finds the asker by the network of the socket and the source address. A
// container is known to the names of all its networks, an address that nobody has
// been given only to that one.
func (z *zone) who(networkID string, from netip.Addr) asker {
	z.mu.RLock()
	defer z.mu.RUnlock()
	a := asker{key: networkID}
	n := z.nets[networkID]
	if n == nil || !n.served {
		return a
	}
	a.nets = append(a.nets, n)
	a.forward = !n.config.Internal
	p, ok := n.addrs[from]
	if !ok {
		return a
	}
	a.m, a.key = p.m, p.m.id
	for i := range p.m.Endpoints {
		other := z.nets[p.m.Endpoints[i].NetworkID]
		if other != nil && other != n && other.served {
			a.nets = append(a.nets, other)
			a.forward = a.forward || !other.config.Internal
		}
	}
	return a
}

// inside says whether an address belongs to a network.
func inside(n slirp.Network, a netip.Addr) bool {
	return slices.ContainsFunc(n.Subnets, func(s slirp.Subnet) bool { return s.Prefix.Contains(a) })
}

// lookup answers from what is known of the asker's networks.
func (z *zone) lookup(who asker, q *question) answer {
	z.mu.RLock()
	defer z.mu.RUnlock()
	if a := reverse(q.name); a.IsValid() {
		return who.reverse(a)
	}
	name := stem(q.name)
	if name == slirp.Domain {
		return answer{known: true} // it is there, with nothing of the asked type
	}
	if a := z.gather(who, name); a.known {
		return a
	}
	if name != q.name {
		return nxdomain
	}
	return answer{}
}

// stem is a name without our domain, however often it was added: with an option ndots
// above 2, a search list makes web.rc.internal.rc.internal first (and would come to a
// wildcard of the host's next).
func stem(name string) string {
	for {
		short, ours := strings.CutSuffix(name, "."+slirp.Domain)
		if !ours {
			return name
		}
		name = short
	}
}

// reverse is the name of an address. What belongs to a network of the asker is
// answered here alone: the host's resolvers know nothing of it (RFC 6303).
func (who asker) reverse(a netip.Addr) answer {
	for _, n := range who.nets {
		if !inside(n.config, a) {
			continue
		}
		p, ok := n.addrs[a]
		if !ok || n.config.NoDNS {
			return nxdomain
		}
		// With the network's name, as Docker: it is found again from any of the
		// asker's networks, which who logs a client by its name wants.
		return answer{known: true, ptr: strings.ToLower(p.m.Name + "." + n.config.Name)}
	}
	return answer{}
}

// gather collects the addresses of a name: on all networks of the asker, and for
// NAME.NETWORK on that one.
func (z *zone) gather(who asker, name string) answer {
	var found []place
	// Names, aliases and ids first; host names are made up inside an image or by a flag
	// for one program, and hide nobody.
	for _, table := range []func(*network) map[string][]place{
		func(n *network) map[string][]place { return n.names },
		func(n *network) map[string][]place { return n.hosts },
	} {
		for _, n := range who.nets {
			if n.config.NoDNS {
				continue
			}
			found = append(found, z.rotate(table(n)[name])...)
			if short, ok := strings.CutSuffix(name, "."+strings.ToLower(n.config.Name)); ok {
				found = append(found, z.rotate(table(n)[short])...)
			}
		}
		if len(found) > 0 {
			break
		}
	}
	if len(found) == 0 {
		return answer{}
	}
	a := answer{known: true, rcode: dnsmessage.RCodeSuccess}
	for _, p := range found {
		for _, addr := range []netip.Addr{p.e.IP, p.e.IP6} {
			if addr.IsValid() && !slices.Contains(a.addrs, addr) {
				a.addrs = append(a.addrs, addr)
			}
		}
	}
	return a
}

// rotate begins with another one each time: programs take the first. It is done for
// the containers of a name, not for addresses, so that one's IPv4 and IPv6 stay
// together.
func (z *zone) rotate(p []place) []place {
	if len(p) < 2 {
		return p
	}
	first := int(z.turn.Add(1)) % len(p)
	return append(slices.Clone(p[first:]), p[:first]...)
}
