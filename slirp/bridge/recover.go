package bridge

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/slirp"
)

// What Open finds again is written into the links themselves (ip -d link, "alias"; at
// most 255 bytes). A container cannot: its end is another link, in another namespace.
//
//	bridge   rc1 NETWORK FLAGS NAME
//	veth     rc1 CONTAINER NETWORK12 NETNS INTERFACE MAC IP IP6
const aliasMark = "rc1"

func (n *network) alias() string {
	flags := "-"
	if n.Internal {
		flags += "i"
	}
	if n.NoDNS {
		flags += "n"
	}
	return strings.Join([]string{aliasMark, n.ID, flags, n.Name}, " ")
}

func (p *port) alias() string {
	text := func(a netip.Addr) string {
		if a.IsValid() {
			return a.String()
		}
		return "-"
	}
	return strings.Join([]string{aliasMark, p.id, short(p.net.ID), strconv.FormatUint(p.netns, 10), p.status.Interface,
		p.mac.String(), text(p.ip), text(p.ip6)}, " ")
}

// link is what a message about a link says.
type link struct {
	index, mtu, master int
	name, alias        string
	up                 bool // it carries packets now
}

// parseLink reads struct ifinfomsg and its attributes.
func parseLink(m netlink.Message) (link, bool) {
	if len(m.Data) < unix.SizeofIfInfomsg || m.Header.Type != unix.RTM_NEWLINK {
		return link{}, false
	}
	l := link{index: int(int32(binary.NativeEndian.Uint32(m.Data[4:])))}
	ad, err := netlink.NewAttributeDecoder(m.Data[unix.SizeofIfInfomsg:])
	if err != nil {
		return link{}, false
	}
	for ad.Next() {
		switch ad.Type() {
		case unix.IFLA_IFNAME:
			l.name = ad.String()
		case unix.IFLA_IFALIAS:
			l.alias = ad.String()
		case unix.IFLA_MTU:
			l.mtu = int(ad.Uint32())
		case unix.IFLA_MASTER:
			l.master = int(ad.Uint32())
		case unix.IFLA_OPERSTATE:
			l.up = ad.Uint8() == operUp
		}
	}
	return l, ad.Err() == nil
}

// recover finds what lives in N0, and puts the filter around it.
func (w *World) recover() error {
	links, err := w.links()
	if err != nil {
		return err
	}
	addresses, err := w.addresses()
	if err != nil {
		return err
	}
	w.index = firstIndex
	for _, l := range links {
		w.index = max(w.index, l.index)
		if strings.HasPrefix(l.name, "rc-") {
			w.findNetwork(l, addresses[l.index])
		}
	}
	w.findBranches(links)
	for _, l := range links {
		w.findPort(l)
	}
	if err := w.filter.rebuild(w.networks, w.ports, DefaultWay); err != nil {
		return err
	}
	w.plan()
	return nil
}

// firstIndex leaves low ones to the links that the kernel numbers, here and inside.
const firstIndex = 99

func (w *World) links() ([]link, error) {
	got, err := w.route.get(request{what: "list links", kind: unix.RTM_GETLINK, flag: netlink.Dump, body: ifinfomsg(0, false)})
	if err != nil {
		return nil, err
	}
	var links []link
	for _, m := range got {
		if l, ok := parseLink(m); ok {
			links = append(links, l)
		}
	}
	return links, nil
}

// addresses are those of each link.
func (w *World) addresses() (map[int][]netip.Prefix, error) {
	got, err := w.route.get(request{what: "list addresses", kind: unix.RTM_GETADDR, flag: netlink.Dump, body: make([]byte, unix.SizeofIfAddrmsg)})
	if err != nil {
		return nil, err
	}
	all := map[int][]netip.Prefix{}
	for _, m := range got {
		if len(m.Data) < unix.SizeofIfAddrmsg || m.Header.Type != unix.RTM_NEWADDR {
			continue
		}
		index := int(binary.NativeEndian.Uint32(m.Data[4:]))
		ad, err := netlink.NewAttributeDecoder(m.Data[unix.SizeofIfAddrmsg:])
		if err != nil {
			return nil, err
		}
		for ad.Next() {
			if a, ok := netip.AddrFromSlice(ad.Bytes()); ok && ad.Type() == unix.IFA_ADDRESS && !a.IsLinkLocalUnicast() {
				all[index] = append(all[index], netip.PrefixFrom(a, int(m.Data[1])))
			}
		}
		if err := ad.Err(); err != nil {
			return nil, fmt.Errorf("list addresses: %w", err)
		}
	}
	return all, nil
}

// findNetwork takes over a bridge. One that is not whole (we were killed while we made
// it) is removed: nobody is on it.
func (w *World) findNetwork(l link, addresses []netip.Prefix) {
	f := strings.SplitN(l.alias, " ", 4)
	if len(f) == 4 && f[0] == aliasMark {
		n := slirp.Network{ID: f[1], Name: f[3], MTU: l.mtu, Internal: strings.Contains(f[2], "i"), NoDNS: strings.Contains(f[2], "n")}
		for _, a := range addresses {
			n.Subnets = append(n.Subnets, slirp.Subnet{Prefix: a.Masked(), Gateway: a.Addr()})
		}
		if checkNetwork(n) == nil && bridgeName(n.ID) == l.name {
			w.networks[short(n.ID)] = w.newNetwork(n, l.index)
			return
		}
	}
	_ = w.route.run(deleteLink(l.name))
}

// findPort takes over a veth: its container has what it had. One that is not whole is
// removed likewise.
func (w *World) findPort(l link) {
	f := strings.Split(l.alias, " ")
	if !strings.HasPrefix(l.name, "v") {
		return
	}
	p, err := w.readPort(l, f)
	if err != nil {
		w.leaving = append(w.leaving, leaver{l.name, time.Now().Add(-heldLimit)})
		return
	}
	p.joined()
	w.ports[p.id] = append(w.ports[p.id], p)
	w.found = true
}

func (w *World) readPort(l link, f []string) (*port, error) {
	if len(f) != 8 || f[0] != aliasMark || w.networks[f[2]] == nil {
		return nil, os.ErrInvalid
	}
	on, there := w.networks[f[2]].at(l.master)
	if !there {
		return nil, os.ErrInvalid
	}
	p := &port{id: f[1], net: w.networks[f[2]], on: on, index: l.index, name: l.name, found: true}
	var err error
	if p.netns, err = strconv.ParseUint(f[3], 10, 64); err != nil {
		return nil, err
	}
	if p.mac, err = net.ParseMAC(f[5]); err != nil || len(p.mac) != 6 {
		return nil, os.ErrInvalid
	}
	if w.port(p.id, p.net) != nil {
		return nil, os.ErrExist // an earlier start of it, whose namespace is still there
	}
	for i, pool := range []*pool{p.net.v4, p.net.v6} {
		a, err := netip.ParseAddr(f[6+i])
		if (err == nil) != (pool != nil) || pool != nil && pool.refuse(p.id, a) != nil {
			return nil, os.ErrInvalid
		}
		if pool != nil {
			pool.taken[a] = p.id
			*[]*netip.Addr{&p.ip, &p.ip6}[i] = a
		}
	}
	p.describe(f[4], slirp.Endpoint{})
	return p, nil
}
