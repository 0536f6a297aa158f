package names

import (
	"net/netip"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

// Sizes in bytes. A question is a name of 255 at most, and an OPT record with
// a cookie or padding (RFC 7830 pads questions to 128).
const (
	headerSize  = 12
	maxQuestion = 2048
	minUDP      = 512 // what every asker takes (RFC 1035 4.2.1)
	// maxUDP bounds what a datagram of ours carries, whatever the asker says it
	// takes; what is longer comes by TCP. 4096 is RFC 6891 6.2.5's suggestion; no
	// wire with a smaller frame is on the way to a container.
	maxUDP = 4096
	optRR  = 11 // an OPT record without options
)

// question is what one packet asks.
type question struct {
	header  dnsmessage.Header
	q       dnsmessage.Question
	name    string // lower case, without the last dot
	edns    bool
	size    int // bytes that the asker takes by UDP
	dnssec  bool
	badVers bool // a version of EDNS that is not known
}

// parse reads one packet. rcode is RCodeSuccess when q is to be answered, else what
// to say instead; ok is false for what gets no answer at all: a packet without a
// header, and a response, to which an answer could begin a loop (RFC 1035 gives
// none; CVE-1999-0103 is the same with echo and chargen).
func parse(packet []byte) (q question, rcode dnsmessage.RCode, ok bool) {
	var p dnsmessage.Parser
	h, err := p.Start(packet)
	if err != nil || h.Response {
		return q, 0, false
	}
	q.header, q.size = h, minUDP
	if h.OpCode != 0 {
		return q, dnsmessage.RCodeNotImplemented, true
	}
	if q.q, err = p.Question(); err != nil {
		return q, dnsmessage.RCodeFormatError, true
	}
	q.name = lower(q.q.Name)
	// More than one question has no meaning (RFC 9619).
	if _, err = p.Question(); err != dnsmessage.ErrSectionDone {
		return q, dnsmessage.RCodeFormatError, true
	}
	if p.SkipAllAnswers() != nil || p.SkipAllAuthorities() != nil || !q.parseOPT(&p) {
		return q, dnsmessage.RCodeFormatError, true
	}
	return q, q.refusal(), true
}

// parseOPT looks for the record of EDNS (RFC 6891): false for two of them, or for
// garbage in their section.
func (q *question) parseOPT(p *dnsmessage.Parser) bool {
	for {
		h, err := p.AdditionalHeader()
		if err == dnsmessage.ErrSectionDone {
			return true
		}
		if err != nil || p.SkipAdditional() != nil {
			return false
		}
		if h.Type != dnsmessage.TypeOPT {
			continue
		}
		if q.edns || h.Name.Length != 1 { // RFC 6891 6.1.1: one, at the root
			return false
		}
		q.edns, q.dnssec, q.badVers = true, h.DNSSECAllowed(), h.TTL>>16&0xff != 0
		q.size = min(max(int(h.Class), minUDP), maxUDP)
	}
}

// refusal is what is said to questions that nobody here could answer.
func (q *question) refusal() dnsmessage.RCode {
	const ixfr = 251
	switch {
	case q.badVers:
		return dnsmessage.RCodeSuccess // BADVERS, which is in the OPT record: see reply
	case q.q.Class != dnsmessage.ClassINET:
		return dnsmessage.RCodeRefused // version.bind and its like (RFC 4892) tell only an attacker something
	case q.q.Type == dnsmessage.TypeAXFR, q.q.Type == ixfr, q.q.Type == dnsmessage.TypeOPT:
		return dnsmessage.RCodeRefused
	}
	return dnsmessage.RCodeSuccess
}

// lower is the name as it is looked up. Only ASCII has cases in DNS (RFC 4343).
func lower(n dnsmessage.Name) string {
	b := []byte(strings.TrimSuffix(n.String(), "."))
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// reverse is the address whose name a PTR question asks for (RFC 1035 3.5, RFC 3596
// 2.5); the zero Addr when the name is not that of a whole address.
func reverse(name string) netip.Addr {
	if rest, ok := strings.CutSuffix(name, ".in-addr.arpa"); ok {
		label := strings.Split(rest, ".")
		if len(label) != 4 {
			return netip.Addr{}
		}
		a, err := netip.ParseAddr(label[3] + "." + label[2] + "." + label[1] + "." + label[0])
		if err != nil || !a.Is4() {
			return netip.Addr{}
		}
		return a
	}
	rest, ok := strings.CutSuffix(name, ".ip6.arpa")
	if !ok || len(rest) != 63 {
		return netip.Addr{}
	}
	var a [16]byte
	for i := range 32 {
		digit := strings.IndexByte("0123456789abcdef", rest[62-2*i])
		if digit < 0 || i > 0 && rest[63-2*i] != '.' {
			return netip.Addr{}
		}
		a[i/2] = a[i/2]<<4 | byte(digit)
	}
	return netip.AddrFrom16(a)
}
