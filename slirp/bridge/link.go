package bridge

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

const (
	create = netlink.Create | netlink.Excl
	// Of linux/veth.h and linux/if_link.h; x/sys has them not.
	vethInfoPeer      = 1
	brMcastSnooping   = 23
	inet6AddrGenMode  = 8
	addrGenNone       = 1
	inetConf          = 1
	ipv4DevForwarding = 1
	operUp            = 6 // IF_OPER_UP of linux/if.h
)

// newBridge makes a bridge, down and without addresses. Its MAC is given, or it would
// become that of its lowest port, and change as containers come and go. It does not
// snoop on multicast: nobody on it asks for reports, and its timers would wake us.
func newBridge(index int, name string, mac net.HardwareAddr) request {
	b, err := body(ifinfomsg(index, false), func(ae *netlink.AttributeEncoder) {
		ae.String(unix.IFLA_IFNAME, name)
		ae.Bytes(unix.IFLA_ADDRESS, mac)
		ae.Nested(unix.IFLA_LINKINFO, func(info *netlink.AttributeEncoder) error {
			info.String(unix.IFLA_INFO_KIND, "bridge")
			info.Nested(unix.IFLA_INFO_DATA, func(data *netlink.AttributeEncoder) error {
				data.Uint8(brMcastSnooping, 0)
				return nil
			})
			return nil
		})
	})
	return request{"make bridge " + name, unix.RTM_NEWLINK, create, b, err}
}

// pair is a veth: the host end on a bridge in N0, the peer in a container. Both have
// the same index, which we choose: asking the kernel what it chose costs a round.
type pair struct {
	index, master int
	name          string
	mtu           int
	inside        string // the peer's name
	mac           net.HardwareAddr
	netns         *os.File
}

// newPair makes both ends where they belong, by one message: moving one afterwards
// costs a grace period of RCU. One queue each: the driver takes no lock on it, and
// more are only entries of sysfs to make (veth(4)).
func newPair(p pair) request {
	ends := func(ae *netlink.AttributeEncoder, name string) {
		ae.String(unix.IFLA_IFNAME, name)
		ae.Uint32(unix.IFLA_MTU, uint32(p.mtu))
		ae.Uint32(unix.IFLA_NUM_TX_QUEUES, 1)
		ae.Uint32(unix.IFLA_NUM_RX_QUEUES, 1)
	}
	b, err := body(ifinfomsg(p.index, true), func(ae *netlink.AttributeEncoder) {
		ends(ae, p.name)
		ae.Uint32(unix.IFLA_MASTER, uint32(p.master))
		ae.Nested(unix.IFLA_LINKINFO, func(info *netlink.AttributeEncoder) error {
			info.String(unix.IFLA_INFO_KIND, "veth")
			info.Nested(unix.IFLA_INFO_DATA, func(data *netlink.AttributeEncoder) error {
				data.Do(unix.NLA_F_NESTED|vethInfoPeer, func() ([]byte, error) {
					return body(ifinfomsg(p.index, false), func(peer *netlink.AttributeEncoder) {
						ends(peer, p.inside)
						peer.Bytes(unix.IFLA_ADDRESS, p.mac)
						peer.Uint32(unix.IFLA_NET_NS_FD, uint32(p.netns.Fd()))
					})
				})
				return nil
			})
			return nil
		})
	})
	return request{"make the interface " + p.inside, unix.RTM_NEWLINK, create, b, err}
}

// setAlias writes into a link what Open will read; mtu 0 leaves it.
func setAlias(index int, alias string, mtu int, up bool) request {
	b, err := body(ifinfomsg(index, up), func(ae *netlink.AttributeEncoder) {
		if mtu != 0 {
			ae.Uint32(unix.IFLA_MTU, uint32(mtu))
		}
		ae.String(unix.IFLA_IFALIAS, alias)
	})
	return request{"describe a link", unix.RTM_SETLINK, 0, b, err}
}

// setUp brings a link up.
func setUp(index int) request {
	return request{"bring the interface up", unix.RTM_SETLINK, 0, ifinfomsg(index, true), nil}
}

// noLinkLocal keeps the kernel from giving a link an address of fe80::/10 by itself: it
// would look for its double for a second (RFC 4862, 5.4) and ask for routers. It must
// come before setUp; within one message the kernel does it after.
func noLinkLocal(index int) request {
	return afSpec("configure IPv6", index, unix.AF_INET6, func(ae *netlink.AttributeEncoder) { ae.Uint8(inet6AddrGenMode, addrGenNone) })
}

// forwardV4 lets packets that come in by a link go on.
func forwardV4(index int) request {
	return afSpec("forward IPv4", index, unix.AF_INET, func(ae *netlink.AttributeEncoder) {
		ae.Nested(inetConf, func(conf *netlink.AttributeEncoder) error {
			conf.Uint32(ipv4DevForwarding, 1)
			return nil
		})
	})
}

func afSpec(what string, index int, family uint16, fill func(*netlink.AttributeEncoder)) request {
	b, err := body(ifinfomsg(index, false), func(ae *netlink.AttributeEncoder) {
		ae.Nested(unix.IFLA_AF_SPEC, func(spec *netlink.AttributeEncoder) error {
			spec.Nested(family, func(af *netlink.AttributeEncoder) error {
				fill(af)
				return nil
			})
			return nil
		})
	})
	return request{what, unix.RTM_SETLINK, 0, b, err}
}

// deleteLink goes by name: an index may be another's by now, our names never are.
func deleteLink(name string) request {
	b, err := body(ifinfomsg(0, false), func(ae *netlink.AttributeEncoder) { ae.String(unix.IFLA_IFNAME, name) })
	return request{"remove link " + name, unix.RTM_DELLINK, 0, b, err}
}

// newAddress gives a link an address. IPv6 without the search for its double, during
// which nobody could be answered from it: addresses are given out by us alone.
func newAddress(index int, a netip.Prefix) request {
	header := make([]byte, unix.SizeofIfAddrmsg)
	header[0], header[1] = family(a.Addr()), byte(a.Bits())
	if a.Addr().Is6() {
		header[2] = unix.IFA_F_NODAD
	}
	if a.Addr().IsLinkLocalUnicast() {
		header[3] = unix.RT_SCOPE_LINK
	}
	binary.NativeEndian.PutUint32(header[4:], uint32(index))
	b, err := body(header, func(ae *netlink.AttributeEncoder) {
		ae.Bytes(unix.IFA_LOCAL, a.Addr().AsSlice())
		ae.Bytes(unix.IFA_ADDRESS, a.Addr().AsSlice())
		if a.Addr().Is4() && a.Bits() < 31 {
			ae.Bytes(unix.IFA_BROADCAST, last(a).AsSlice())
		}
	})
	return request{"give it the address " + a.String(), unix.RTM_NEWADDR, create, b, err}
}

// segment is the size of TCP segments that a container asks for over its default route,
// in bytes. libslirp's window is 64 KiB: of its own 65,480 it has one on its way at a
// time, of these three (tests/bench: 40 % faster in; what goes out is not changed by it).
const segment = 21_800

// newDefault adds a default route.
func newDefault(index int, gateway netip.Addr, metric int) request {
	header := make([]byte, unix.SizeofRtMsg)
	header[0] = family(gateway)
	header[4], header[5], header[6], header[7] = unix.RT_TABLE_MAIN, unix.RTPROT_BOOT, unix.RT_SCOPE_UNIVERSE, unix.RTN_UNICAST
	b, err := body(header, func(ae *netlink.AttributeEncoder) {
		ae.Bytes(unix.RTA_GATEWAY, gateway.AsSlice())
		ae.Uint32(unix.RTA_OIF, uint32(index))
		ae.Uint32(unix.RTA_PRIORITY, uint32(metric))
		ae.Nested(unix.RTA_METRICS, func(m *netlink.AttributeEncoder) error {
			m.Uint32(unix.RTAX_ADVMSS, segment) // a smaller one of the link's MTU wins
			return nil
		})
	})
	return request{"add the route by " + gateway.String(), unix.RTM_NEWROUTE, netlink.Create, b, err}
}

// lost is the last of default routes: it drops.
func lost() request {
	header := make([]byte, unix.SizeofRtMsg)
	header[0], header[4], header[5], header[7] = unix.AF_INET, unix.RT_TABLE_MAIN, unix.RTPROT_BOOT, unix.RTN_BLACKHOLE
	b, err := body(header, func(ae *netlink.AttributeEncoder) { ae.Uint32(unix.RTA_PRIORITY, 1<<32-1) })
	return request{"add the last route", unix.RTM_NEWROUTE, netlink.Create, b, err}
}

func family(a netip.Addr) byte {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// setMTU sets the size of the packets of a link, in bytes.
func setMTU(index, mtu int) request {
	b, err := body(ifinfomsg(index, false), func(ae *netlink.AttributeEncoder) { ae.Uint32(unix.IFLA_MTU, uint32(mtu)) })
	return request{"set the MTU", unix.RTM_SETLINK, 0, b, err}
}

// getRoute asks where packets to a go.
func getRoute(a netip.Addr) request {
	header := make([]byte, unix.SizeofRtMsg)
	header[0], header[1] = family(a), byte(a.BitLen())
	b, err := body(header, func(ae *netlink.AttributeEncoder) { ae.Bytes(unix.RTA_DST, a.AsSlice()) })
	return request{"find the route to " + a.String(), unix.RTM_GETROUTE, 0, b, err}
}
