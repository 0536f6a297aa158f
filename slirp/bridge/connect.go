package bridge

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/slirp"
)

// port is one container on one network.
type port struct {
	id     string
	net    *network
	on     *branch // nil: on the network's own bridge
	index  int     // of both ends
	name   string  // of the end in N0
	netns  uint64  // the inode of the container's namespace: another start of it has another
	mac    net.HardwareAddr
	ip     netip.Addr
	ip6    netip.Addr
	status slirp.EndpointStatus
	found  bool
}

// Metrics of default routes: the first network's is the best.
const firstMetric = 100

// namesTried bounds the search for a free ethN inside, which the container decides.
const namesTried = 16

// Connect puts container id, whose network namespace is netns (borrowed), on one
// network; the bridge is made when it is the first. All or nothing. A container that
// is on it already, with the same netns, stays as it is: nothing changes on the wire,
// and the answer is what it has.
//
// The address is e.IP (or IP6) or a refusal: EADDRINUSE, naming the holder; ERANGE
// outside the subnet. Else one of e.Last that is free, else a free one of the range;
// ENOSPC when there is none. The interface is e.Interface (EEXIST: taken inside) or
// the first free ethN.
//
// Default routes: each network that is not internal brings one, the first the best
// (metric 100, 101, …), so that a container which leaves it goes on by the next.
//
// 0.7 ms where the bridge is there (BenchmarkConnect).
func (w *World) Connect(id string, netns *os.File, e slirp.Endpoint) (slirp.EndpointStatus, error) {
	status, _, err := w.Rejoin(id, netns, e)
	return status, err
}

// Rejoin is Connect that tells whether the container was on that network already.
func (w *World) Rejoin(id string, netns *os.File, e slirp.Endpoint) (status slirp.EndpointStatus, was bool, err error) {
	err = w.Do(func() (err error) {
		status, was, err = w.connect(id, netns, e)
		return err
	})
	if err != nil {
		return slirp.EndpointStatus{}, false, hint.New(fmt.Sprintf("connect container %s to network %q", short(id), e.Network.Name), err, fixFor(err))
	}
	return status, was, nil
}

func (w *World) connect(id string, netns *os.File, e slirp.Endpoint) (_ slirp.EndpointStatus, was bool, _ error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(netns.Fd()), &st); err != nil {
		return slirp.EndpointStatus{}, false, os.NewSyscallError("fstat", err)
	}
	if st.Ino == w.inode {
		return slirp.EndpointStatus{}, false, fmt.Errorf("its network namespace is the one of the bridges: %w", unix.EINVAL)
	}
	if id == "" || len(id) > 64 || strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return slirp.EndpointStatus{}, false, fmt.Errorf("the ID %q: %w", id, unix.EINVAL)
	}
	n, err := w.need(e.Network)
	if err != nil {
		return slirp.EndpointStatus{}, false, err
	}
	// Of an earlier start of it, whose end we were not told.
	w.forget(id, func(p *port) bool { return p.netns != st.Ino })
	if has := w.port(id, n); has != nil {
		has.found = false
		has.status.Network, has.status.Aliases = n.Name, e.Aliases
		return has.status, true, nil
	}
	p := &port{id: id, net: n, netns: st.Ino}
	if err := p.lease(e); err != nil {
		p.release()
		return slirp.EndpointStatus{}, false, err
	}
	if err := w.wire(p, netns, e); err != nil {
		p.release()
		return slirp.EndpointStatus{}, false, err
	}
	p.joined()
	w.ports[id] = append(w.ports[id], p)
	return p.status, false, nil
}

// joined counts the port in, and left out again.
func (p *port) joined() {
	p.net.ports++
	if p.on != nil {
		p.on.ports++
	}
}

// master is the index of the bridge that the port is on.
func (p *port) master() int {
	if p.on != nil {
		return p.on.index
	}
	return p.net.index
}

// port is where id is on network n; nil when it is not.
func (w *World) port(id string, n *network) *port {
	for _, p := range w.ports[id] {
		if p.net == n {
			return p
		}
	}
	return nil
}

// lease gives the port its addresses; release takes back what it has.
func (p *port) lease(e slirp.Endpoint) (err error) {
	if e.IP.IsValid() && p.net.v4 == nil {
		return fmt.Errorf("%s: the network has no IPv4: %w", e.IP, unix.EAFNOSUPPORT)
	}
	if e.IP6.IsValid() && p.net.v6 == nil {
		return fmt.Errorf("%s: the network has no IPv6: %w", e.IP6, unix.EAFNOSUPPORT)
	}
	// The range comes with the container: Open has not found it in any link.
	var within [2]netip.Prefix
	for _, s := range e.Network.Subnets {
		within[b2i(s.Prefix.Addr().Is6())] = s.Range
	}
	if p.net.v4 != nil {
		if p.ip, err = p.net.v4.take(p.id, e.IP, e.Last, within[0]); err != nil {
			return err
		}
	}
	if p.net.v6 != nil {
		if p.ip6, err = p.net.v6.take(p.id, e.IP6, e.Last, within[1]); err != nil {
			return err
		}
	}
	p.mac, err = p.chooseMAC(e.MAC)
	return err
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// chooseMAC checks one that was asked for. It must be of one station, and nobody's
// here; others may answer to it on other networks.
func (p *port) chooseMAC(want string) (net.HardwareAddr, error) {
	if want == "" {
		if p.ip.IsValid() {
			return macOf(p.ip), nil
		}
		return macOf(p.ip6), nil
	}
	mac, err := net.ParseMAC(want)
	switch {
	case err != nil:
		return nil, fmt.Errorf("the MAC address %q: %w", want, unix.EINVAL)
	case len(mac) != 6 || mac[0]&1 != 0 || mac.String() == "00:00:00:00:00:00":
		return nil, fmt.Errorf("%s is not the address of one interface (6 bytes, the first even): %w", want, unix.EADDRNOTAVAIL)
	case mac.String() == macOf(p.net.gateways()[0]).String():
		return nil, fmt.Errorf("%s belongs to the gateway: %w", mac, unix.EADDRINUSE)
	}
	return mac, nil
}

func (p *port) release() {
	if p.net.v4 != nil {
		p.net.v4.free(p.id, p.ip)
	}
	if p.net.v6 != nil {
		p.net.v6.free(p.id, p.ip6)
	}
}

// addresses are what the port's container may send from.
func (p *port) addresses() []netip.Addr {
	var list []netip.Addr
	if p.ip.IsValid() {
		list = append(list, p.ip)
	}
	if p.ip6.IsValid() {
		list = append(list, p.ip6, linkLocal(p.mac))
	}
	return list
}

// wire makes the pair of interfaces, gives the inner end its addresses and routes, and
// lets the outer one through the filter.
func (w *World) wire(p *port, netns *os.File, e slirp.Endpoint) error {
	if err := w.macFree(p); err != nil {
		return err
	}
	in, err := w.dialIn(netns)
	if err != nil {
		return err
	}
	defer in.close()
	name, err := w.makePair(p, netns, e.Interface)
	if err != nil {
		return err
	}
	p.describe(name, e)
	err = w.configure(p, in)
	if err == nil {
		err = w.filter.admit(p)
	}
	if err == nil {
		w.lead(p)
	}
	if err == nil {
		err = w.settle(p, in)
	}
	if err != nil {
		// Both ends go with one; the container never ran with it.
		err = errors.Join(err, w.route.run(deleteLink(p.name)))
	}
	return err
}

// macFree keeps one MAC one container's on a network. It looks at every port: as text,
// the MACs of 300 were a third of a millisecond of each start.
func (w *World) macFree(p *port) error {
	for id, ports := range w.ports {
		for _, other := range ports {
			if other.net == p.net && bytes.Equal(other.mac, p.mac) && id != p.id {
				return fmt.Errorf("the MAC address %s belongs to container %s: %w", p.mac, short(id), unix.EADDRINUSE)
			}
		}
	}
	return nil
}

// makePair returns the name that the inner end got.
func (w *World) makePair(p *port, netns *os.File, want string) (string, error) {
	p.on = w.place(p.net)
	for i := len(w.ports[p.id]); ; i++ {
		inside := want
		if inside == "" {
			inside = "eth" + strconv.Itoa(i)
		}
		index := w.nextIndex()
		pr := pair{index: index, name: "v" + strconv.FormatInt(int64(index), 36), master: p.master(), mtu: p.net.MTU,
			inside: inside, mac: p.mac, netns: netns}
		err := w.route.run(newPair(pr))
		if err == nil {
			p.index, p.name = index, pr.name
			return inside, nil
		}
		// EEXIST is either name or our index, EBUSY the index inside. Which one is in no
		// errno; all of them have passed after some steps, if it is not the name asked for.
		if !errors.Is(err, unix.EEXIST) && !errors.Is(err, unix.EBUSY) || i >= len(w.ports[p.id])+namesTried || want != "" && i > len(w.ports[p.id])+1 {
			return "", err
		}
	}
}

// describe fills in the status.
func (p *port) describe(inside string, e slirp.Endpoint) {
	p.status = slirp.EndpointStatus{Network: p.net.Name, NetworkID: p.net.ID, Interface: inside, MAC: p.mac.String(), Aliases: e.Aliases}
	if p.net.v4 != nil {
		p.status.IP, p.status.Prefix, p.status.Gateway = p.ip, p.net.v4.Prefix.Bits(), p.net.v4.Gateway
	}
	if p.net.v6 != nil {
		p.status.IP6, p.status.Prefix6, p.status.Gateway6 = p.ip6, p.net.v6.Prefix.Bits(), p.net.v6.Gateway
	}
	if !p.net.NoDNS {
		p.status.DNS = p.net.gateways()
	}
}

// configure gives the inner end addresses and routes, by one system call in the
// container's namespace, and waits until it carries packets. IPv6 comes first: a worker
// has to do with its addresses, while we go on.
func (w *World) configure(p *port, in *rtnl) error {
	metric := firstMetric + len(w.ports[p.id])
	var requests, routes []request
	if w.ipv6 {
		requests = append(requests, noLinkLocal(p.index))
	}
	requests = append(requests, setUp(p.index))
	if p.net.v6 != nil {
		requests = append(requests, newAddress(p.index, netip.PrefixFrom(p.ip6, p.net.v6.Prefix.Bits())),
			newAddress(p.index, netip.PrefixFrom(linkLocal(p.mac), 64)))
		routes = append(routes, newDefault(p.index, p.net.v6.Gateway, metric))
	}
	if p.net.v4 != nil {
		requests = append(requests, newAddress(p.index, netip.PrefixFrom(p.ip, p.net.v4.Prefix.Bits())))
		routes = append(routes, newDefault(p.index, p.net.v4.Gateway, metric))
	}
	if !p.net.Internal {
		requests = append(requests, routes...)
	}
	return in.settle(p.index, requests...)
}

// settle gives the outer end the words by which Open knows it, and waits until that
// one, too, carries packets: one ARP that is lost costs the container a second.
func (w *World) settle(p *port, in *rtnl) error {
	err := w.route.settle(p.index, setAlias(p.index, p.alias(), 0, false))
	if p.net.ports == 0 {
		err = errors.Join(err, w.route.settle(p.net.index)) // a bridge is up while one of its ports is
	}
	if p.net.v6 != nil {
		in.settleAddress(p.ip6)
		if p.net.ports == 0 {
			w.route.settleAddress(p.net.v6.Gateway)
		}
	}
	return err
}

// dialIn opens a socket of rtnetlink in another namespace.
func (w *World) dialIn(netns *os.File) (r *rtnl, err error) {
	err = w.thread.visit(netns, func() error {
		r, err = dial(unix.NETLINK_ROUTE, w.route.buffer)
		return err
	})
	return r, err
}
