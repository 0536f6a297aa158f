package bridge

import (
	"encoding/binary"
	"fmt"
	"os"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// outChains queues the two chains of a relay's:
//
//	outgoing   of prerouting, behind the check of the source. From the tun: a SYN goes
//	           to the listener, anything else is an answer to a container. From a bridge
//	           with a way out: a SYN, if not for its gateway, gets markAsk; what belongs
//	           to a socket of the relay's, markHere
//	sent       what those sockets send takes no entry of connection tracking either
//
// They are empty while there is none.
func (f *filter) outChains(t *nftables.Table, pre *nftables.Chain) {
	f.outgoing = f.conn.AddChain(&nftables.Chain{Table: t, Name: "outgoing"})
	f.rule(pre, rule{&expr.Verdict{Kind: expr.VerdictJump, Chain: f.outgoing.Name}})
	f.asking4 = f.set(nftables.Set{Table: t, Name: "asking4", Dynamic: true, HasTimeout: true, Size: 1 << 16, KeyType: nftables.TypeIPAddr})
	f.asking6 = f.set(nftables.Set{Table: t, Name: "asking6", Dynamic: true, HasTimeout: true, Size: 1 << 16, KeyType: nftables.TypeIP6Addr})
	f.sent = f.chain(t, "sent", nftables.ChainHookOutput, nftables.ChainPriorityRaw, nftables.ChainPolicyAccept)
	f.fillOut()
}

// outForward lets SYNs of containers out by the tun, and answers in by it; and what the
// relay has no room for to slirp4netns, through the chain counted.
func (f *filter) outForward(c *nftables.Chain, counted rule) {
	accept := verdict(expr.VerdictAccept)
	f.rule(c, inBySet(f.outward), outBy(outDevice), accept)
	f.rule(c, inBy(outDevice), accept)
	f.rule(c, inBy(passDevice), outBy(f.way.Device), counted)
}

// relayed is a family whose connections go through a relay.
type relayed struct {
	family  byte // of nf_tables
	port    uint16
	address []byte // of the listener
}

// notGate is a packet of that family that is not for the bridge's own gateway.
func (r relayed) notGate(f *filter) rule {
	if r.family == unix.NFPROTO_IPV4 {
		return append(bridgeAnd(offDest4, 4), notIn(f.gate4)...)
	}
	return append(bridgeAnd(offDest6, 16), notIn(f.gate6)...)
}

// One address's SYNs in a second, and in a row. The tun holds 500 packets, of everybody: who
// floods it with 100,000 a second would leave to another one connection in a second. An
// idle processor answers this many.
const askRate, askBurst = 10_000, 5_000

// tooMany matches what is above it:
//
//	update @asking4 { ip saddr timeout 1m limit rate over 10000/second burst 5000 packets }
func (r relayed) tooMany(f *filter) rule {
	set, load := f.asking4, payload(network3, offSource4, 4, reg0)
	if r.family == unix.NFPROTO_IPV6 {
		set, load = f.asking6, payload(network3, offSource6, 16, reg0)
	}
	return rule{load, &expr.Dynset{SrcRegKey: reg0, SetName: set.Name, SetID: set.ID, Operation: unix.NFT_DYNSET_OP_UPDATE, Timeout: time.Minute,
		Exprs: []expr.Any{&expr.Limit{Type: expr.LimitTypePkts, Rate: askRate, Burst: askBurst, Unit: expr.LimitTimeSecond, Over: true}}}}
}

// relayedBy are the families that o has a listener for.
func relayedBy(o *Out) (list []relayed, err error) {
	for _, fd := range []int{o.Listen4, o.Listen6} {
		if fd < 0 {
			continue
		}
		sa, err := unix.Getsockname(fd)
		if err != nil {
			return nil, os.NewSyscallError("getsockname", err)
		}
		switch sa := sa.(type) {
		case *unix.SockaddrInet4:
			list = append(list, relayed{unix.NFPROTO_IPV4, uint16(sa.Port), sa.Addr[:]})
		case *unix.SockaddrInet6:
			list = append(list, relayed{unix.NFPROTO_IPV6, uint16(sa.Port), sa.Addr[:]})
		}
	}
	return list, nil
}

// lead replaces the rules by those for o, or none.
func (f *filter) lead(o *Out) error {
	var list []relayed
	if o != nil {
		var err error
		if list, err = relayedBy(o); err != nil {
			return err
		}
	}
	before := f.relays
	f.relays = list
	f.conn.FlushChain(f.outgoing)
	f.conn.FlushChain(f.sent)
	f.fillOut()
	if err := f.flush(); err != nil {
		f.relays = before
		return fmt.Errorf("lead TCP to the relay: %w", err)
	}
	return nil
}

func (f *filter) fillOut() {
	if len(f.relays) == 0 {
		return
	}
	accept, tcp := verdict(expr.VerdictAccept), l4(unix.IPPROTO_TCP)
	for _, r := range f.relays {
		f.rule(f.outgoing, inBy(outDevice), nfproto(r.family), tcp, syn(), mark(markHere), r.proxy(), accept)
	}
	f.rule(f.outgoing, inBy(outDevice), rule{&expr.Notrack{}}, accept)
	for _, r := range f.relays {
		f.rule(f.outgoing, inBySet(f.outward), nfproto(r.family), tcp, syn(), r.tooMany(f), verdict(expr.VerdictDrop))
		f.rule(f.outgoing, inBySet(f.outward), nfproto(r.family), tcp, syn(), r.notGate(f), mark(markAsk), accept)
	}
	// Established ones, half-made ones and those in TIME_WAIT; the listeners have another
	// address than anything that comes here.
	f.rule(f.outgoing, inBySet(f.outward), tcp,
		rule{&expr.Socket{Key: expr.SocketKeyTransparent, Register: reg0}, &expr.Cmp{Op: expr.CmpOpEq, Register: reg0, Data: []byte{1}}},
		mark(markHere), accept)
	f.rule(f.sent, marked(markSent), rule{&expr.Notrack{}})
}

// proxy gives the packet to the listener, whatever its destination
// (Documentation/networking/tproxy.rst).
func (r relayed) proxy() rule {
	return rule{
		&expr.Immediate{Register: reg0, Data: r.address},
		&expr.Immediate{Register: reg0 + 4, Data: binary.BigEndian.AppendUint16(nil, r.port)},
		&expr.TProxy{Family: r.family, RegAddr: reg0, RegPort: reg0 + 4}}
}

func nfproto(family byte) rule { return is(meta(expr.MetaKeyNFPROTO), family) }

func marked(m uint32) rule {
	return is(meta(expr.MetaKeyMARK), binary.NativeEndian.AppendUint32(nil, m)...)
}

// mark sets one, and keeps the packet from connection tracking.
func mark(m uint32) rule {
	return rule{&expr.Notrack{}, &expr.Immediate{Register: reg0, Data: binary.NativeEndian.AppendUint32(nil, m)},
		&expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: reg0}}
}

// syn is the first packet of a connection: SYN without FIN, RST, ACK.
func syn() rule {
	return rule{payload(transport, 13, 1, reg0), &expr.Bitwise{SourceRegister: reg0, DestRegister: reg0, Len: 1, Mask: []byte{0x17}, Xor: []byte{0}},
		&expr.Cmp{Op: expr.CmpOpEq, Register: reg0, Data: []byte{0x02}}}
}
