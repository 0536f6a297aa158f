package bridge

import (
	"encoding/binary"
	"net"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// The rules are lists of expressions, as nft --debug=netlink shows them. A register is
// 4 bytes (NFT_REG32_00 is 8); what a set's key is made of lies in consecutive ones.
const (
	reg0 = unix.NFT_REG32_00
	// Where fields are, in bytes.
	offEtherSource = 6
	offSource4     = 12
	offDest4       = 16
	offSource6     = 8
	offDest6       = 24
	offArpSender   = 8  // its MAC
	offArpAddress  = 14 // its IPv4 address (RFC 826, Ethernet)
	offNDTarget    = 8  // of an ICMPv6 message (RFC 4861, 4.4)

	icmpv6Solicit, icmpv6Advert, icmpv6Report = 135, 136, 143
	icmpv6RouterAdvert, icmpv6Redirect        = 134, 137
)

// uplink6 is slirp4netns's own IPv6 network, always (slirp4netns(1), --enable-ipv6).
var uplink6 = netip.MustParsePrefix("fd00::/64")

type rule []expr.Any

func (f *filter) rule(c *nftables.Chain, parts ...rule) {
	var all []expr.Any
	for _, p := range parts {
		all = append(all, p...)
	}
	f.conn.AddRule(&nftables.Rule{Table: c.Table, Chain: c, Exprs: all})
}

func (f *filter) set(s nftables.Set) *nftables.Set {
	if err := f.conn.AddSet(&s, nil); err != nil {
		panic(err) // of its own texts only; the kernel is asked by flush
	}
	return &s
}

// inetTable queues the table of what N0 itself receives, forwards and sends.
func (f *filter) inetTable() error {
	t := f.renew(nftables.TableFamilyINet)
	f.inet = t
	f.gate4 = f.set(nftables.Set{Table: t, Name: "gate4", Concatenation: true, KeyType: nftables.MustConcatSetType(nftables.TypeIFName, nftables.TypeIPAddr)})
	f.gate6 = f.set(nftables.Set{Table: t, Name: "gate6", Concatenation: true, KeyType: nftables.MustConcatSetType(nftables.TypeIFName, nftables.TypeIP6Addr)})
	f.ours = f.set(nftables.Set{Table: t, Name: "ours", KeyType: nftables.TypeIFName, KeyByteOrder: binaryutil.NativeEndian})
	f.outward = f.set(nftables.Set{Table: t, Name: "outward", KeyType: nftables.TypeIFName, KeyByteOrder: binaryutil.NativeEndian})
	f.source = f.set(nftables.Set{Table: t, Name: "source", KeyType: nftables.TypeIFName, KeyByteOrder: binaryutil.NativeEndian, IsMap: true, DataType: nftables.TypeVerdict})

	// -300 is before connection tracking: what is dropped takes no entry of it.
	pre := f.chain(t, "prerouting", nftables.ChainHookPrerouting, nftables.ChainPriorityRaw, nftables.ChainPolicyAccept)
	f.rule(pre, rule{&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: reg0}, &expr.Lookup{SourceRegister: reg0, DestRegister: 0, IsDestRegSet: true, SetName: f.source.Name, SetID: f.source.ID}})
	f.untracked(t, pre)
	f.outChains(t, pre)
	f.inputChain(t)
	f.forwardChain(t)
	nat := f.conn.AddChain(&nftables.Chain{Table: t, Name: "postrouting", Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource})
	f.rule(nat, outBy(f.way.Device), rule{&expr.Masq{}})
	return nil
}

func (f *filter) chain(t *nftables.Table, name string, hook *nftables.ChainHook, priority *nftables.ChainPriority, policy nftables.ChainPolicy) *nftables.Chain {
	return f.conn.AddChain(&nftables.Chain{Table: t, Name: name, Type: nftables.ChainTypeFilter, Hooknum: hook, Priority: priority, Policy: &policy})
}

// inputChain: what containers may ask of N0 itself is the resolver, and an echo, each
// at the gateway of the network they are on. N0 has sockets of nobody else.
func (f *filter) inputChain(t *nftables.Table) {
	c := f.chain(t, "input", nftables.ChainHookInput, nftables.ChainPriorityFilter, nftables.ChainPolicyDrop)
	accept := verdict(expr.VerdictAccept)
	f.rule(c, established(), accept)
	f.rule(c, inBy("lo"), accept)
	f.rule(c, marked(markHere), accept) // by outgoing
	for _, kind := range []byte{icmpv6Solicit, icmpv6Advert} {
		f.rule(c, l4(unix.IPPROTO_ICMPV6), icmpType(kind), accept)
	}
	gateway := f.conn.AddChain(&nftables.Chain{Table: t, Name: "gateway"})
	jump := rule{&expr.Verdict{Kind: expr.VerdictJump, Chain: gateway.Name}}
	f.rule(c, family4(), bridgeAnd(offDest4, 4), in(f.gate4), jump)
	f.rule(c, family6(), bridgeAnd(offDest6, 16), in(f.gate6), jump)
	for _, proto := range []byte{unix.IPPROTO_UDP, unix.IPPROTO_TCP} {
		f.rule(gateway, l4(proto), destPort(53), accept)
	}
	f.rule(gateway, l4(unix.IPPROTO_ICMP), icmpType(8), accept)
	f.rule(gateway, l4(unix.IPPROTO_ICMPV6), icmpType(128), accept)
	f.refuse(c, rule{}, unix.NFT_REJECT_ICMPX_PORT_UNREACH)
}

// refuse says no to what came by our bridges. ICMPv6 is too quick for a TCP that is
// still in connect(2): it counts as a hint only (tcp_v6_err), and it tries for minutes.
func (f *filter) refuse(c *nftables.Chain, what rule, code uint8) {
	f.rule(c, what, inBySet(f.ours), family6(), l4(unix.IPPROTO_TCP), rule{&expr.Reject{Type: unix.NFT_REJECT_TCP_RST}})
	f.rule(c, what, inBySet(f.ours), reject(code))
}

// forwardChain: out by the tap, if the network is not internal, and not to slirp4netns
// itself; the answers back. A refusal is said, so that nobody waits for a time-out.
func (f *filter) forwardChain(t *nftables.Table) {
	c := f.chain(t, "forward", nftables.ChainHookForward, nftables.ChainPriorityFilter, nftables.ChainPolicyDrop)
	f.rule(c, established(), verdict(expr.VerdictAccept))
	const code = unix.NFT_REJECT_ICMPX_ADMIN_PROHIBITED
	f.refuse(c, destination(f.way.Prefix), code)
	f.refuse(c, destination(uplink6), code)
	counted := rule{&expr.Verdict{Kind: expr.VerdictGoto, Chain: f.counted(t, code).Name}}
	f.rule(c, inBySet(f.outward), outBy(f.way.Device), counted)
	f.outForward(c, counted)
	f.refuse(c, rule{}, code)
}

// portTable queues the table of what comes in by the ports of bridges.
func (f *filter) portTable() error {
	t := f.renew(familyOfPorts)
	f.ports = t
	f.sender4 = f.set(nftables.Set{Table: t, Name: "sender4", Concatenation: true,
		KeyType: nftables.MustConcatSetType(nftables.TypeIFIndex, nftables.TypeEtherAddr, nftables.TypeIPAddr)})
	f.sender6 = f.set(nftables.Set{Table: t, Name: "sender6", Concatenation: true,
		KeyType: nftables.MustConcatSetType(nftables.TypeIFIndex, nftables.TypeEtherAddr, nftables.TypeIP6Addr)})
	c := f.chain(t, "ports", nftables.ChainHookPrerouting, nftables.ChainPriorityRaw, nftables.ChainPolicyDrop)
	accept, drop := verdict(expr.VerdictAccept), verdict(expr.VerdictDrop)
	f.trunks = f.set(nftables.Set{Table: t, Name: "trunks", KeyType: nftables.TypeIFIndex, KeyByteOrder: binaryutil.NativeEndian})
	f.rule(c, rule{meta(expr.MetaKeyIIF)}, in(f.trunks), accept)
	f.rule(c, protocol(unix.ETH_P_IP), sender(network3, offSource4, 4), in(f.sender4), accept)
	// Both MACs of ARP must be the port's, the frame's and the one that it announces.
	f.rule(c, protocol(unix.ETH_P_ARP), sender(network3, offArpAddress, 4), in(f.sender4),
		rule{payload(network3, offArpSender, 6, reg0+1)}, in(f.sender4), accept)
	for _, kind := range []byte{icmpv6RouterAdvert, icmpv6Redirect} {
		f.rule(c, protocol(unix.ETH_P_IPV6), l4(unix.IPPROTO_ICMPV6), icmpType(kind), drop)
	}
	// Who has an address is said only by who has it, and not with another's as source.
	f.rule(c, protocol(unix.ETH_P_IPV6), l4(unix.IPPROTO_ICMPV6), icmpType(icmpv6Advert),
		sender(transport, offNDTarget, 16), notIn(f.sender6), drop)
	f.rule(c, protocol(unix.ETH_P_IPV6), sender(network3, offSource6, 16), in(f.sender6), accept)
	// From ::, a search for a double of an address (RFC 4862) and reports of multicast
	// groups (RFC 3810) harm nobody: we have no search that would heed them.
	for _, kind := range []byte{icmpv6Solicit, icmpv6Report} {
		f.rule(c, protocol(unix.ETH_P_IPV6), source(netip.MustParsePrefix("::/128")), l4(unix.IPPROTO_ICMPV6), icmpType(kind), accept)
	}
	return nil
}

const (
	link2     = expr.PayloadBaseLLHeader
	network3  = expr.PayloadBaseNetworkHeader
	transport = expr.PayloadBaseTransportHeader
)

func payload(base expr.PayloadBase, offset, length, register uint32) expr.Any {
	return &expr.Payload{DestRegister: register, Base: base, Offset: offset, Len: length}
}

// sender loads the key of the sets of senders: index of the port, MAC of the frame, and
// an address somewhere in the packet.
func sender(base expr.PayloadBase, offset, length uint32) rule {
	return rule{&expr.Meta{Key: expr.MetaKeyIIF, Register: reg0}, payload(link2, offEtherSource, 6, reg0+1), payload(base, offset, length, reg0+3)}
}

// senderKey is an element of them. Each part begins at a multiple of 4 bytes.
func senderKey(index int, mac net.HardwareAddr, a netip.Addr) []byte {
	key := binary.NativeEndian.AppendUint32(nil, uint32(index))
	key = append(append(key, mac...), 0, 0)
	return append(key, a.AsSlice()...)
}

// bridgeAnd loads the key of the sets of gateways.
func bridgeAnd(offset, length uint32) rule {
	return rule{&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: reg0}, payload(network3, offset, length, reg0+4)}
}

func in(s *nftables.Set) rule {
	return rule{&expr.Lookup{SourceRegister: reg0, SetName: s.Name, SetID: s.ID}}
}

func notIn(s *nftables.Set) rule {
	return rule{&expr.Lookup{SourceRegister: reg0, SetName: s.Name, SetID: s.ID, Invert: true}}
}

func inBySet(s *nftables.Set) rule {
	return append(rule{&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: reg0}}, in(s)...)
}

func verdict(k expr.VerdictKind) rule { return rule{&expr.Verdict{Kind: k}} }

// reject says no: by ICMP or ICMPv6, as it came.
func reject(code uint8) rule {
	return rule{&expr.Reject{Type: unix.NFT_REJECT_ICMPX_UNREACH, Code: code}}
}

func is(load expr.Any, data ...byte) rule {
	return rule{load, &expr.Cmp{Op: expr.CmpOpEq, Register: reg0, Data: data}}
}

func meta(key expr.MetaKey) expr.Any { return &expr.Meta{Key: key, Register: reg0} }

func inBy(name string) rule  { return is(meta(expr.MetaKeyIIFNAME), ifname(name)...) }
func outBy(name string) rule { return is(meta(expr.MetaKeyOIFNAME), ifname(name)...) }
func family4() rule          { return is(meta(expr.MetaKeyNFPROTO), unix.NFPROTO_IPV4) }
func family6() rule          { return is(meta(expr.MetaKeyNFPROTO), unix.NFPROTO_IPV6) }
func l4(proto byte) rule     { return is(meta(expr.MetaKeyL4PROTO), proto) }
func icmpType(t byte) rule   { return is(payload(transport, 0, 1, reg0), t) }

func destPort(n uint16) rule {
	return is(payload(transport, 2, 2, reg0), binary.BigEndian.AppendUint16(nil, n)...)
}

// protocol is the type of the frame.
func protocol(t uint16) rule {
	return is(meta(expr.MetaKeyPROTOCOL), binary.BigEndian.AppendUint16(nil, t)...)
}

func established() rule {
	return rule{&expr.Ct{Key: expr.CtKeySTATE, Register: reg0},
		&expr.Bitwise{SourceRegister: reg0, DestRegister: reg0, Len: 4, Xor: make([]byte, 4),
			Mask: binary.NativeEndian.AppendUint32(nil, expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: reg0, Data: make([]byte, 4)}}
}

func source(p netip.Prefix) rule { return address(p, offSource4, offSource6) }

func destination(p netip.Prefix) rule { return address(p, offDest4, offDest6) }

// address compares a field of the IP header. What looks at both families in one chain
// asks for the family first: the fields of the other lie elsewhere.
func address(p netip.Prefix, off4, off6 uint32) rule {
	kind, offset, length := uint16(unix.ETH_P_IP), off4, uint32(4)
	if p.Addr().Is6() {
		kind, offset, length = unix.ETH_P_IPV6, off6, 16
	}
	mask := make([]byte, length)
	for i := range p.Bits() {
		mask[i/8] |= 1 << (7 - i%8)
	}
	return append(protocol(kind), payload(network3, offset, length, reg0),
		&expr.Bitwise{SourceRegister: reg0, DestRegister: reg0, Len: length, Mask: mask, Xor: make([]byte, length)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: reg0, Data: p.Addr().AsSlice()})
}

// ifname is a name as nf_tables compares it, IFNAMSIZ bytes.
func ifname(s string) []byte {
	b := make([]byte, unix.IFNAMSIZ)
	copy(b, s)
	return b
}
