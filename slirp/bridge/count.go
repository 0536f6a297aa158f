package bridge

import (
	"os"
	"strconv"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Connection tracking in N0 is everybody's: nf_conntrack_max entries (nf_conntrack-
// sysctl.rst), and where they are used up nobody's first packet goes out. So each
// address has a part of them, and what goes to a gateway or comes from there takes none:
// a container may ask 5,000 questions a second, each an entry for half a minute.

// fewest and most bound what one container may have open to the world, of each family.
// nf_conncount walks through those of the address when one is added, since Linux 5.19 at
// most once a jiffy: with 8,000 open a new one costs 0.05 ms more (BenchmarkTracked).
const (
	fewestTracked = 512
	mostTracked   = 8192
	partOfTracked = 8 // of the kernel's maximum
)

// whenOver matches above the limit; tests give it a value that no kernel knows.
var whenOver uint32 = expr.NFT_CONNLIMIT_F_INV

// maxTracked is what one address may have open, from what the kernel allows N0.
var maxTracked = func() uint32 {
	text, err := os.ReadFile("/proc/sys/net/netfilter/nf_conntrack_max")
	if err != nil {
		return fewestTracked
	}
	all, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return fewestTracked
	}
	return uint32(min(max(all/partOfTracked, fewestTracked), mostTracked))
}

// untracked are questions to a gateway, and its answers:
//
//	prerouting  iifname . ip daddr @gate4 notrack
//	output      oifname . ip saddr @gate4 udp sport 53 notrack     (tcp; echo replies)
//
// What else N0 sends may be of a connection that is tracked, and has to be known.
func (f *filter) untracked(t *nftables.Table, pre *nftables.Chain) {
	notrack := rule{&expr.Notrack{}}
	f.rule(pre, family4(), bridgeAnd(offDest4, 4), in(f.gate4), notrack)
	f.rule(pre, family6(), bridgeAnd(offDest6, 16), in(f.gate6), notrack)
	out := f.chain(t, "output", nftables.ChainHookOutput, nftables.ChainPriorityRaw, nftables.ChainPolicyAccept)
	from4, from6 := append(family4(), fromGateway(offSource4, 4)...), append(family6(), fromGateway(offSource6, 16)...)
	for _, proto := range []byte{unix.IPPROTO_UDP, unix.IPPROTO_TCP} {
		f.rule(out, l4(proto), sourcePort(53), from4, in(f.gate4), notrack)
		f.rule(out, l4(proto), sourcePort(53), from6, in(f.gate6), notrack)
	}
	f.rule(out, l4(unix.IPPROTO_ICMP), icmpType(0), from4, in(f.gate4), notrack)
	f.rule(out, l4(unix.IPPROTO_ICMPV6), icmpType(129), from6, in(f.gate6), notrack)
}

// fromGateway loads the key of the sets of gateways from a packet that goes out.
func fromGateway(offset, length uint32) rule {
	return rule{&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: reg0}, payload(network3, offset, length, reg0+4)}
}

// sourcePort is destPort's other half.
func sourcePort(n byte) rule { return is(payload(transport, 0, 2, reg0), 0, n) }

// counted is a chain that lets a new connection to the world go, or refuses it where its
// container has too many open already:
//
//	add @tracked4 { ip saddr ct count over 8192 } goto crowded
//
// One that is closed is not counted, though its entry stays for a while: the kernel
// gives such entries up first (early_drop). The sets forget an address by themselves.
func (f *filter) counted(t *nftables.Table, code uint8) *nftables.Chain {
	crowded := f.conn.AddChain(&nftables.Chain{Table: t, Name: "crowded"})
	f.refuse(crowded, rule{}, code)
	c := f.conn.AddChain(&nftables.Chain{Table: t, Name: "counted"})
	if f.noCount == nil {
		over := &expr.Connlimit{Count: maxTracked(), Flags: whenOver}
		for _, kind := range []struct {
			name           string
			family         rule
			offset, length uint32
			key            nftables.SetDatatype
		}{{"tracked4", family4(), offSource4, 4, nftables.TypeIPAddr}, {"tracked6", family6(), offSource6, 16, nftables.TypeIP6Addr}} {
			set := f.set(nftables.Set{Table: t, Name: kind.name, Dynamic: true, Size: 1 << 16, KeyType: kind.key})
			f.rule(c, kind.family, rule{payload(network3, kind.offset, kind.length, reg0),
				&expr.Dynset{SrcRegKey: reg0, SetName: set.Name, SetID: set.ID, Operation: unix.NFT_DYNSET_OP_ADD, Exprs: []expr.Any{over}},
				&expr.Verdict{Kind: expr.VerdictGoto, Chain: crowded.Name}})
		}
	}
	f.rule(c, verdict(expr.VerdictAccept))
	return c
}
