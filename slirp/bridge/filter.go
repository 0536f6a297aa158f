package bridge

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// ErrNoFilter says that this kernel has no nf_tables for us: errors.Is finds it below
// the refusal of Open. A container whose network nobody named falls back to a
// slirp4netns of its own.
var ErrNoFilter = errors.New("the kernel has no nf_tables for user namespaces")

// tableName is that of both tables: nft list table inet rc, in N0.
const tableName = "rc"

// filter is what keeps networks apart, and containers honest. In the table inet rc:
//
//	prerouting   from a bridge only with a source in its subnets
//	input        from a bridge to its own gateway: DNS, ping; nothing else
//	forward      from a bridge that is not internal, out by the tap; nothing else,
//	             so that nothing passes from one network to another; 8,192 open
//	             connections of a container's at most (count.go)
//	postrouting  masquerade by the tap
//	outgoing     connections to the world to the relay, if there is one (outrules.go)
//
// In the table bridge rc (where the kernel has it), on what comes in by a port: IPv4,
// IPv6 and ARP only, each only from the port's own MAC and addresses. So nobody takes
// over another's address by ARP or NDP, or plays the router.
//
// What differs between networks and ports is in sets: a container that starts adds
// elements, and no rule.
type filter struct {
	conn    *nftables.Conn
	netlink *netlink.Conn
	quick   *rtnl // of its own, for admit; nil until the first
	inet    *nftables.Table
	ports   *nftables.Table // nil: no nf_tables for bridges
	noPorts error
	noCount error // why nothing counts a container's connections: the kernel has no nft_connlimit

	gate4, gate6     *nftables.Set   // bridge . gateway
	ours, outward    *nftables.Set   // bridges; those with a way out
	source           *nftables.Set   // bridge: jump to its chain
	sender4, sender6 *nftables.Set   // port . MAC . address
	trunks           *nftables.Set   // ports that lead to another bridge of the same network
	outgoing, sent   *nftables.Chain // empty without relays
	asking4, asking6 *nftables.Set   // who sends SYNs to the world
	relays           []relayed
	way              Way // as the rules have it
	queued           int // messages since the last flush, about
}

// openFilter opens the socket, on the World's thread in N0.
func openFilter() (*filter, error) {
	f := &filter{}
	if err := f.dial(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoFilter, err)
	}
	return f, nil
}

// dialFilter and familyOfPorts are changed by tests, which then see another kernel.
var (
	dialFilter    = nftables.New
	familyOfPorts = nftables.TableFamilyBridge
)

func (f *filter) dial() error {
	c, err := dialFilter(nftables.AsLasting(), nftables.WithSockOptions(func(c *netlink.Conn) error {
		f.netlink = c
		return nil
	}))
	f.conn = c
	return err
}

// PortFilter says why nothing keeps the containers of one network from taking each
// other's addresses: this kernel's nf_tables knows no bridges. nil: something does.
func (w *World) PortFilter() error { return w.filter.noPorts }

// close may be called on nil: a World that did not come up has none.
func (f *filter) close() {
	if f == nil {
		return
	}
	if f.conn != nil {
		_ = f.conn.CloseLasting()
	}
	f.quick.close()
	f.quick = nil
}

// flush carries out what was queued, all or nothing.
func (f *filter) flush() error {
	f.queued = 0
	_ = f.netlink.SetDeadline(time.Now().Add(answerLimit))
	err := f.conn.Flush()
	if err == nil {
		return nil
	}
	// Answers to a refused batch may still be in the socket.
	f.close()
	if again := f.dial(); again != nil {
		return errors.Join(err, again)
	}
	return err
}

// rebuild makes both tables anew in place of those that are there, at once: what is
// known of networks and ports goes in with the same transaction.
func (f *filter) rebuild(networks map[string]*network, ports map[string][]*port, way Way) error {
	f.way = way
	err := f.try(networks, ports, true)
	for _, without := range [][2]bool{{false, true}, {true, false}, {true, true}} { // ports, counts
		if err == nil {
			break
		}
		f.noPorts, f.noCount = nil, nil
		if without[0] {
			f.noPorts = err
		}
		if without[1] {
			f.noCount = err
		}
		err = f.try(networks, ports, !without[0])
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoFilter, err)
	}
	return nil
}

func (f *filter) try(networks map[string]*network, ports map[string][]*port, bridgeFamily bool) error {
	f.ports = nil
	if bridgeFamily {
		if err := f.portTable(); err != nil {
			return err
		}
	}
	var all []*port
	for _, list := range ports {
		all = append(all, list...)
	}
	f.queuePorts(all, f.conn.SetAddElements)
	for _, n := range networks {
		f.queueTrunks(n.branches, f.conn.SetAddElements)
	}
	// Each message is answered, and the socket has room for some 250 answers.
	if err := f.flush(); err != nil {
		return err
	}
	if err := f.inetTable(); err != nil {
		return err
	}
	for _, n := range networks {
		f.queueNetwork(n)
		if f.queued += messagesOfNetwork + len(n.branches); f.queued > maxMessages {
			if err := f.flush(); err != nil {
				return err
			}
		}
	}
	return f.flush()
}

const (
	maxMessages       = 120 // besides those of the table itself, 70
	messagesOfNetwork = 12
)

// renew queues the removal of a table, if there is one, and its making. Adding first
// makes the removal succeed always.
func (f *filter) renew(family nftables.TableFamily) *nftables.Table {
	t := &nftables.Table{Family: family, Name: tableName}
	f.conn.AddTable(t)
	f.conn.DelTable(t)
	return f.conn.AddTable(t)
}

// add lets a network through: its bridge will be called has.bridge.
func (f *filter) add(has *network) error {
	f.queueNetwork(has)
	if err := f.flush(); err != nil {
		return fmt.Errorf("filter the network: %w", err)
	}
	return nil
}

func (f *filter) queueNetwork(n *network) {
	name := ifname(n.bridge)
	chain := f.conn.AddChain(&nftables.Chain{Table: f.inet, Name: n.bridge})
	for _, p := range n.pools() {
		f.rule(chain, source(p.Prefix), verdict(expr.VerdictReturn))
		gates, key := f.gates(p), append(append([]byte{}, name...), p.Gateway.AsSlice()...)
		_ = f.conn.SetAddElements(gates, []nftables.SetElement{{Key: key}})
	}
	if n.v6 != nil {
		f.rule(chain, source(netip.MustParsePrefix("fe80::/10")), verdict(expr.VerdictReturn))
	}
	f.rule(chain, verdict(expr.VerdictDrop))
	_ = f.conn.SetAddElements(f.source, []nftables.SetElement{{Key: name, VerdictData: &expr.Verdict{Kind: expr.VerdictJump, Chain: n.bridge}}})
	_ = f.conn.SetAddElements(f.ours, []nftables.SetElement{{Key: name}})
	if !n.Internal {
		_ = f.conn.SetAddElements(f.outward, []nftables.SetElement{{Key: name}})
	}
	for _, b := range n.branches {
		f.queueBranch(b, f.conn.SetAddElements)
	}
}

func (f *filter) gates(p *pool) *nftables.Set {
	if p.Gateway.Is4() {
		return f.gate4
	}
	return f.gate6
}

// remove forgets a network.
func (f *filter) remove(n *network) error {
	name := ifname(n.bridge)
	one := []nftables.SetElement{{Key: name}}
	_ = f.conn.SetDeleteElements(f.source, []nftables.SetElement{{Key: name, VerdictData: &expr.Verdict{Kind: expr.VerdictJump, Chain: n.bridge}}})
	_ = f.conn.SetDeleteElements(f.ours, one)
	if !n.Internal {
		_ = f.conn.SetDeleteElements(f.outward, one)
	}
	for _, p := range n.pools() {
		_ = f.conn.SetDeleteElements(f.gates(p), []nftables.SetElement{{Key: append(append([]byte{}, name...), p.Gateway.AsSlice()...)}})
	}
	chain := &nftables.Chain{Table: f.inet, Name: n.bridge}
	f.conn.FlushChain(chain)
	f.conn.DelChain(chain)
	return f.flush()
}

// expel forgets ports.
func (f *filter) expel(list ...*port) error {
	if f.ports == nil {
		return nil
	}
	f.queuePorts(list, f.conn.SetDeleteElements)
	err := f.flush()
	if !errors.Is(err, unix.ENOENT) {
		return err
	}
	// One of them was forgotten already (the tables were made anew since, or an answer
	// was lost), and the others were kept because of it.
	if err = nil; len(list) > 1 {
		for _, p := range list {
			err = errors.Join(err, f.expel(p))
		}
	}
	return err
}

// maxElements of one message: the length of an attribute is 16 bits.
const maxElements = 400

// queuePorts adds or deletes what ports may send from, all in few messages.
func (f *filter) queuePorts(list []*port, do func(*nftables.Set, []nftables.SetElement) error) {
	if f.ports == nil {
		return
	}
	var e4, e6 []nftables.SetElement
	for _, p := range list {
		for _, a := range p.addresses() {
			if e := (nftables.SetElement{Key: senderKey(p.index, p.mac, a)}); a.Is4() {
				e4 = append(e4, e)
			} else {
				e6 = append(e6, e)
			}
		}
	}
	for chunk := range slices.Chunk(e4, maxElements) {
		_ = do(f.sender4, chunk)
	}
	for chunk := range slices.Chunk(e6, maxElements) {
		_ = do(f.sender6, chunk)
	}
}
