package bridge

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// branch is a further bridge of a network with many containers: joined to the
// network's own by a pair of interfaces, and one segment with it. Linux goes over all
// ports of a bridge ten times for each that comes or goes (numbers, states, features,
// the list of what lies below), under rtnl: 0.5 ms more each way beside 300
// (perf, Linux 6.18). The first containers of a network are on its own bridge.
//
//	rc-<network> 10.88.0.1 ─┬─ veth ── eth0 of container 1 … 64
//	                        ├─ bt-… ─ bt-… br-… ─┬─ veth ── container 65 … 128
//	                        └─ bt-… ─ bt-… br-… ─┴─ …
type branch struct {
	index int // of the bridge
	trunk [2]int
	ports int // containers
}

// branchPorts is how many containers one bridge has, before there is another. A test
// has fewer.
var branchPorts = 64

const (
	branchPrefix = "br-"
	trunkPrefix  = "bt-"
)

func (b *branch) name() string { return branchPrefix + strconv.FormatInt(int64(b.index), 36) }
func (b *branch) trunkName(i int) string {
	return trunkPrefix + strconv.FormatInt(int64(b.trunk[i]), 36)
}

// alias is what Open knows it by. It is written last: a branch without is not whole.
func (b *branch) alias(n *network) string { return aliasMark + " " + short(n.ID) }

// mac is not the gateway's, whose frames must go on to the network's own bridge.
func (b *branch) mac() net.HardwareAddr {
	return binary.BigEndian.AppendUint32(net.HardwareAddr{0x02, 0x44}, uint32(b.index))
}

// place is the bridge for one more container: nil is the network's own. A branch that
// cannot be made is no reason to refuse a container.
func (w *World) place(n *network) *branch {
	own := n.ports
	for _, b := range n.branches {
		own -= b.ports
	}
	if own < branchPorts {
		return nil
	}
	for _, b := range n.branches {
		if b.ports < branchPorts {
			return b
		}
	}
	b, err := w.grow(n)
	if err != nil {
		return nil
	}
	return b
}

// grow makes a branch: the filter first, as for a network.
func (w *World) grow(n *network) (*branch, error) {
	b := &branch{index: w.nextIndex(), trunk: [2]int{w.nextIndex(), w.nextIndex()}}
	if err := w.filter.addBranch(b); err != nil {
		return nil, err
	}
	err := w.route.run(newBridge(b.index, b.name(), b.mac()), newTrunk(b, n), enslave(b.trunk[1], b.index),
		setAlias(b.index, b.alias(n), n.MTU, true))
	for _, index := range []int{b.trunk[0], b.trunk[1], b.index} {
		if err == nil {
			err = w.route.settle(index)
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("extend the network: %w", err), w.cutBranch(b))
	}
	n.branches = append(n.branches, b)
	return b, nil
}

// cutBranch removes a branch, on which nobody is.
func (w *World) cutBranch(b *branch) error {
	for _, name := range []string{b.trunkName(0), b.name()} {
		if err := w.route.run(deleteLink(name)); err != nil && !errors.Is(err, unix.ENODEV) {
			return err
		}
	}
	return w.filter.removeBranch(b)
}

// newTrunk makes the pair that joins a branch to its network, the first end on that
// one's bridge. The other is given to the branch by enslave: a peer's master is not
// heeded (veth_newlink of drivers/net/veth.c).
func newTrunk(b *branch, n *network) request {
	ends := func(ae *netlink.AttributeEncoder, name string) {
		ae.String(unix.IFLA_IFNAME, name)
		ae.Uint32(unix.IFLA_MTU, uint32(n.MTU))
	}
	data, err := body(ifinfomsg(b.trunk[0], true), func(ae *netlink.AttributeEncoder) {
		ends(ae, b.trunkName(0))
		ae.Uint32(unix.IFLA_MASTER, uint32(n.index))
		ae.Nested(unix.IFLA_LINKINFO, func(info *netlink.AttributeEncoder) error {
			info.String(unix.IFLA_INFO_KIND, "veth")
			info.Nested(unix.IFLA_INFO_DATA, func(data *netlink.AttributeEncoder) error {
				data.Do(unix.NLA_F_NESTED|vethInfoPeer, func() ([]byte, error) {
					return body(ifinfomsg(b.trunk[1], false), func(peer *netlink.AttributeEncoder) { ends(peer, b.trunkName(1)) })
				})
				return nil
			})
			return nil
		})
	})
	return request{"make the interface " + b.trunkName(0), unix.RTM_NEWLINK, create, data, err}
}

// enslave puts a link on a bridge, and brings it up.
func enslave(index, master int) request {
	b, err := body(ifinfomsg(index, true), func(ae *netlink.AttributeEncoder) { ae.Uint32(unix.IFLA_MASTER, uint32(master)) })
	return request{"put the interface on its bridge", unix.RTM_SETLINK, 0, b, err}
}

// lead tells each bridge of a network the way to a port's MAC. They would learn it from
// its first packet; but who had the same address a minute ago may have been on another
// of them, and what his neighbours remember of him would lead there.
func (w *World) lead(p *port) {
	if len(p.net.branches) == 0 {
		return
	}
	requests := []request{wayTo(p.index, p.mac)} // on the bridge that it is on
	if p.on != nil {
		requests = append(requests, wayTo(p.on.trunk[0], p.mac))
	}
	for _, b := range p.net.branches {
		if b != p.on {
			requests = append(requests, wayTo(b.trunk[1], p.mac))
		}
	}
	_ = w.route.run(requests...) // they learn without it, too
}

// wayTo has a bridge send what is for a MAC by that port, as if it had learned so.
func wayTo(index int, mac net.HardwareAddr) request {
	header := make([]byte, unix.SizeofNdMsg)
	header[0], header[10] = unix.AF_BRIDGE, unix.NTF_MASTER
	binary.NativeEndian.PutUint32(header[4:], uint32(index))
	binary.NativeEndian.PutUint16(header[8:], unix.NUD_REACHABLE)
	b, err := body(header, func(ae *netlink.AttributeEncoder) { ae.Bytes(unix.NDA_LLADDR, mac) })
	return request{"say where a MAC is", unix.RTM_NEWNEIGH, netlink.Create | netlink.Replace, b, err}
}

// queueTrunks lets through what comes by the trunks of branches, or no more: the filter
// has seen it where it came in from a container.
func (f *filter) queueTrunks(list []*branch, do func(*nftables.Set, []nftables.SetElement) error) {
	var ends []nftables.SetElement
	for _, b := range list {
		for _, index := range b.trunk {
			ends = append(ends, nftables.SetElement{Key: binary.NativeEndian.AppendUint32(nil, uint32(index))})
		}
	}
	if f.ports != nil && len(ends) > 0 {
		_ = do(f.trunks, ends)
	}
}

// queueBranch has N0 itself heed nothing that is sent to a branch's bridge: it is no
// gateway.
func (f *filter) queueBranch(b *branch, do func(*nftables.Set, []nftables.SetElement) error) {
	_ = do(f.source, []nftables.SetElement{{Key: ifname(b.name()), VerdictData: &expr.Verdict{Kind: expr.VerdictDrop}}})
}

func (f *filter) addBranch(b *branch) error {
	f.queueTrunks([]*branch{b}, f.conn.SetAddElements)
	f.queueBranch(b, f.conn.SetAddElements)
	return f.flush()
}

func (f *filter) removeBranch(b *branch) error {
	f.queueTrunks([]*branch{b}, f.conn.SetDeleteElements)
	f.queueBranch(b, f.conn.SetDeleteElements)
	return f.flush()
}

// findBranches takes over the branches of networks that Open has found. What is not
// whole is removed; nobody is on it.
func (w *World) findBranches(links []link) {
	known := map[int]*branch{} // by the index of a bridge
	for _, l := range links {
		if !strings.HasPrefix(l.name, branchPrefix) {
			continue
		}
		mark, id, _ := strings.Cut(l.alias, " ")
		if n := w.networks[id]; n != nil && mark == aliasMark {
			b := &branch{index: l.index}
			n.branches, known[l.index] = append(n.branches, b), b
			continue
		}
		_ = w.route.run(deleteLink(l.name))
	}
	defer w.dropTorn()
	for _, l := range links {
		if !strings.HasPrefix(l.name, trunkPrefix) {
			continue
		}
		if b := known[l.master]; b != nil {
			// Its peer was numbered right before it, by grow.
			b.trunk = [2]int{l.index - 1, l.index}
			continue
		}
		if !w.isNetwork(l.master) {
			_ = w.route.run(deleteLink(l.name)) // both ends go
		}
	}
}

// dropTorn removes the branches that lead nowhere.
func (w *World) dropTorn() {
	for _, n := range w.networks {
		n.branches = slices.DeleteFunc(n.branches, func(b *branch) bool {
			torn := b.trunk[1] == 0
			if torn {
				_ = w.route.run(deleteLink(b.name()))
			}
			return torn
		})
	}
}

// at is the bridge of that index, if it is one of the network's: nil is its own.
func (n *network) at(index int) (on *branch, there bool) {
	for _, b := range n.branches {
		if b.index == index {
			return b, true
		}
	}
	return nil, n.index == index
}

func (w *World) isNetwork(index int) bool {
	for _, n := range w.networks {
		if n.index == index {
			return true
		}
	}
	return false
}
