package names

import (
	"net/netip"

	"golang.org/x/net/dns/dnsmessage"
)

// ttl of what is answered here, in seconds. A container that comes back may have
// another address; a question costs some 20 µs. Not 0, at which nginx asks for every
// request that it passes on.
const ttl = 1

// maxRecords bounds one answer: 28 bytes each, so that 64 KiB hold it.
const maxRecords = 2000

// answer is what is known of a name. known is false where nobody here knows it.
type answer struct {
	known bool
	rcode dnsmessage.RCode
	addrs []netip.Addr // of both families, in the order of preference
	ptr   string       // a PTR's target
}

var nxdomain = answer{known: true, rcode: dnsmessage.RCodeNameError}

// reply is the packet that answers q from here, at most limit bytes; what does not
// fit is left out and TC set, so that the asker comes again by TCP (RFC 2181 9).
func (q *question) reply(a answer, limit int) []byte {
	h := dnsmessage.Header{
		ID: q.header.ID, Response: true, OpCode: q.header.OpCode, RCode: a.rcode,
		Authoritative: a.known, RecursionDesired: q.header.RecursionDesired, RecursionAvailable: true,
		CheckingDisabled: q.header.CheckingDisabled,
	}
	if q.edns {
		limit -= optRR
	}
	b := dnsmessage.NewBuilder(make([]byte, 0, minUDP), h)
	b.EnableCompression()
	// None of these can fail: the sections come in their order, and the name was
	// read from a packet. What could not be packed is left out of the packet.
	_ = b.StartQuestions()
	if q.q.Name.Length > 0 { // none in a packet whose question could not be read
		_ = b.Question(q.q)
	}
	_ = b.StartAnswers()
	truncated := !q.records(&b, a, limit)
	_ = b.StartAdditionals()
	if q.edns {
		q.opt(&b)
	}
	packet, err := b.Finish()
	if err != nil {
		return nil
	}
	if truncated {
		packet[2] |= flagTC
	}
	return packet
}

// records adds the answers of the asked type, false when they do not all fit. The
// names are compressed to 2 bytes, so that the sizes are known beforehand.
func (q *question) records(b *dnsmessage.Builder, a answer, limit int) bool {
	const head = 12 // pointer, type, class, TTL, length
	size := headerSize + int(q.q.Name.Length) + 1 + 4
	h := dnsmessage.ResourceHeader{Name: q.q.Name, Class: dnsmessage.ClassINET, TTL: ttl}
	n := 0
	for _, addr := range a.addrs {
		is4 := addr.Is4()
		if !wants(q.q.Type, is4) {
			continue
		}
		if size += head + addr.BitLen()/8; size > limit || n == maxRecords {
			return false
		}
		n++
		if is4 {
			_ = b.AResource(h, dnsmessage.AResource{A: addr.As4()})
		} else {
			_ = b.AAAAResource(h, dnsmessage.AAAAResource{AAAA: addr.As16()})
		}
	}
	if a.ptr != "" && (q.q.Type == dnsmessage.TypePTR || q.q.Type == dnsmessage.TypeALL) {
		name, err := dnsmessage.NewName(a.ptr + ".")
		if err != nil || size+head+int(name.Length)+1 > limit {
			return err != nil
		}
		_ = b.PTRResource(h, dnsmessage.PTRResource{PTR: name})
	}
	return true
}

// wants says whether a question of type t is about addresses of this family.
func wants(t dnsmessage.Type, is4 bool) bool {
	switch t {
	case dnsmessage.TypeA:
		return is4
	case dnsmessage.TypeAAAA:
		return !is4
	}
	return t == dnsmessage.TypeALL
}

// opt adds our OPT record (RFC 6891 7: to who sent one). A version that is not known
// is answered with BADVERS, 16, whose upper bits are in the record.
func (q *question) opt(b *dnsmessage.Builder) {
	rcode := dnsmessage.RCodeSuccess
	if q.badVers {
		rcode = 16
	}
	var h dnsmessage.ResourceHeader
	if h.SetEDNS0(maxUDP, rcode, q.dnssec) == nil {
		_ = b.OPTResource(h, dnsmessage.OPTResource{})
	}
}

// Bits of the header's third byte (RFC 1035 4.1.1).
const (
	flagTC = 0x02
	flagQR = 0x80
)
