package forward

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// tableName is ours in a container's namespace, for each family.
const tableName = "rc-ports"

// dialNftables is another one in tests, of a kernel without nf_tables.
var dialNftables = func() (*nftables.Conn, error) { return nftables.New() }

// canUDP prepares for UDP when the first client of it comes: a commit of nf_tables may
// take milliseconds.
func (d *door) canUDP() bool {
	if d.turned.udp == nil {
		var err error
		d.annex.in(func() { err = turnPackets(!d.turned.tcp, nil) })
		ok := err == nil
		d.turned.udp = &ok
	}
	return *d.turned.udp
}

// canTCP: where /proc/sys is read-only, nf_tables stands in for the sysctls.
func (d *door) canTCP() bool { return d.turned.tcp || d.canUDP() }

// turnPackets remembers who was sent to which service, and marks what goes back to them:
//
//	table ip rc-ports {
//	    set flows { type ipv4_addr . inet_service . inet_service; flags dynamic,timeout }
//	    chain output { type route hook output priority mangle
//	        meta l4proto tcp meta mark 0x7263 ct mark set 0x7263 accept
//	        meta l4proto tcp ct mark 0x7263 meta mark set 0x7263 accept
//	        meta l4proto != udp accept
//	        meta mark 0x7263 update @flows { ip saddr . udp sport . udp dport timeout 3m } accept
//	        update-if-there @flows { ip daddr . udp dport . udp sport } meta mark set 0x7263
//	    }
//	}
//
// A chain of type route looks the way up again when the mark has changed. What the
// container sends from the same port to anybody else is not touched. The rules for TCP
// are there with tcp only: they have the kernel track the container's connections.
// Known are in the sets from the beginning, the first ones without a gap.
func turnPackets(tcp bool, known []asKey) error {
	c, err := dialNftables()
	if err != nil {
		return err
	}
	type rest struct {
		set  *nftables.Set
		list []nftables.SetElement
	}
	var left []rest
	for _, family := range []nftables.TableFamily{nftables.TableFamilyIPv4, nftables.TableFamilyIPv6} {
		set, err := turnFamily(c, family, tcp)
		if err != nil {
			return err
		}
		left = append(left, rest{set, elements(known, family)})
	}
	for begin := true; begin || len(left) > 0; begin = false {
		left = slices.DeleteFunc(left, func(r rest) bool { return len(r.list) == 0 })
		for i, r := range left {
			n := min(len(r.list), maxElements)
			if err := c.SetAddElements(r.set, r.list[:n]); err != nil {
				return err
			}
			left[i].list = r.list[n:]
		}
		if err := c.Flush(); err != nil {
			return err
		}
	}
	return nil
}

// maxElements are in one message: of 48 bytes each, and an attribute has 65,535 (nla_len
// in netlink.h).
const maxElements = 1000

// elements are those of known that are of a family, as the set has them: each field of
// the key fills registers of 4 bytes.
func elements(known []asKey, family nftables.TableFamily) []nftables.SetElement {
	var list []nftables.SetElement
	for _, k := range known {
		if k.client.Addr().Is4() != (family == nftables.TableFamilyIPv4) {
			continue
		}
		b := k.client.Addr().AsSlice()
		b = append(binary.BigEndian.AppendUint16(b, k.client.Port()), 0, 0)
		b = append(binary.BigEndian.AppendUint16(b, k.inside), 0, 0)
		list = append(list, nftables.SetElement{Key: b, Timeout: remembered})
	}
	return list
}

// remembered is the life of an element after the last packet, of either side.
const remembered = flowLife + time.Minute

func turnFamily(c *nftables.Conn, family nftables.TableFamily, tcp bool) (*nftables.Set, error) {
	t := &nftables.Table{Family: family, Name: tableName}
	// Added, so that the deletion of what a keeper before us has left cannot fail.
	c.AddTable(t)
	c.DelTable(t)
	c.AddTable(t)
	address := nftables.TypeIPAddr
	if family == nftables.TableFamilyIPv6 {
		address = nftables.TypeIP6Addr
	}
	flows := &nftables.Set{
		Table: t, Name: "flows", Concatenation: true, Dynamic: true, HasTimeout: true, Size: 2 * maxFlows,
		KeyType: nftables.MustConcatSetType(address, nftables.TypeInetService, nftables.TypeInetService),
	}
	if err := c.AddSet(flows, nil); err != nil {
		return nil, err
	}
	accept := nftables.ChainPolicyAccept
	output := c.AddChain(&nftables.Chain{Name: "output", Table: t, Type: nftables.ChainTypeRoute,
		Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityMangle, Policy: &accept})
	marked, leave := binaryutil.NativeEndian.PutUint32(mark), &expr.Verdict{Kind: expr.VerdictAccept}
	remember := &expr.Dynset{SrcRegKey: firstReg, SetName: flows.Name, SetID: flows.ID,
		Operation: unix.NFT_DYNSET_OP_UPDATE, Timeout: remembered}
	rules := [][]expr.Any{
		{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, &expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: []byte{unix.IPPROTO_UDP}}, leave},
		append(append([]expr.Any{
			&expr.Meta{Key: expr.MetaKeyMARK, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: marked},
		}, key(family, true)...), remember, leave),
		append(key(family, false),
			&expr.Lookup{SourceRegister: firstReg, SetName: flows.Name, SetID: flows.ID}, remember,
			&expr.Immediate{Register: 1, Data: marked}, &expr.Meta{Key: expr.MetaKeyMARK, Register: 1, SourceRegister: true}),
	}
	if tcp {
		ofTCP := []expr.Any{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}}}
		rules = append([][]expr.Any{
			append(slices.Clone(ofTCP), &expr.Meta{Key: expr.MetaKeyMARK, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: marked},
				&expr.Ct{Key: expr.CtKeyMARK, Register: 1, SourceRegister: true}, leave),
			append(slices.Clone(ofTCP), &expr.Ct{Key: expr.CtKeyMARK, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: marked},
				&expr.Meta{Key: expr.MetaKeyMARK, Register: 1, SourceRegister: true}, leave),
		}, rules...)
	}
	for _, rule := range rules {
		c.AddRule(&nftables.Rule{Table: t, Chain: output, Exprs: rule})
	}
	return flows, nil
}

// firstReg is the first of the registers of 4 bytes (NFT_REG32_00, nf_tables.h): a key
// of several fields lies in them one after the other.
const firstReg = 8

// key loads the client's address and port and the server's port: of a packet that our
// socket sends as the client, or of the server's to the client.
func key(family nftables.TableFamily, fromClient bool) []expr.Any {
	address, size, source, target := uint32(12), uint32(4), uint32(0), uint32(2)
	if family == nftables.TableFamilyIPv6 {
		address, size = 8, 16
	}
	if !fromClient {
		address, source, target = address+size, target, source
	}
	next := firstReg + size/4
	return []expr.Any{
		&expr.Payload{OperationType: expr.PayloadLoad, DestRegister: firstReg, Base: expr.PayloadBaseNetworkHeader, Offset: address, Len: size},
		&expr.Payload{OperationType: expr.PayloadLoad, DestRegister: next, Base: expr.PayloadBaseTransportHeader, Offset: source, Len: 2},
		&expr.Payload{OperationType: expr.PayloadLoad, DestRegister: next + 1, Base: expr.PayloadBaseTransportHeader, Offset: target, Len: 2},
	}
}
