package names

import (
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// query is the question as it goes to a resolver: built anew from what was read, so
// that nothing else of a container's packet gets there. Options of EDNS stay behind:
// they are between two neighbours (cookies, RFC 7873 4; padding, keepalive) or
// nobody's business (client subnet). The returned id is its first two bytes, random.
func (q *question) query(size int) ([]byte, error) {
	h := dnsmessage.Header{
		// The id and the socket's port are what an answer from elsewhere would have to
		// guess (RFC 5452); math/rand/v2 is seeded by the kernel (ChaCha8).
		ID: uint16(rand.Uint32()), RecursionDesired: q.header.RecursionDesired,
		AuthenticData: q.header.AuthenticData, CheckingDisabled: q.header.CheckingDisabled,
	}
	b := dnsmessage.NewBuilder(make([]byte, 0, minUDP), h)
	if err := b.StartQuestions(); err != nil {
		return nil, err
	}
	if err := b.Question(q.q); err != nil {
		return nil, err
	}
	if q.edns {
		if err := b.StartAdditionals(); err != nil {
			return nil, err
		}
		var o dnsmessage.ResourceHeader
		if err := errors.Join(o.SetEDNS0(size, dnsmessage.RCodeSuccess, q.dnssec), b.OPTResource(o, dnsmessage.OPTResource{})); err != nil {
			return nil, err
		}
	}
	return b.Finish()
}

// questionEnd is where the question of a query ends.
func (q *question) questionEnd() int {
	if q.q.Name.Length == 1 { // the root
		return headerSize + 1 + 4
	}
	return headerSize + int(q.q.Name.Length) + 1 + 4
}

// matches says whether reply answers query: its id, and its very question with
// letters of any case, of which the asker gets its own back (some programs check).
// A refusal without a question, as some servers send, matches too.
func matches(reply, query []byte, end int) bool {
	if len(reply) < headerSize || reply[2]&flagQR == 0 || reply[0] != query[0] || reply[1] != query[1] {
		return false
	}
	if binary.BigEndian.Uint16(reply[4:]) == 0 {
		return rcode(reply) != dnsmessage.RCodeSuccess
	}
	if binary.BigEndian.Uint16(reply[4:]) != 1 || len(reply) < end || [4]byte(reply[end-4:end]) != [4]byte(query[end-4:end]) {
		return false
	}
	for i := headerSize; i < end-4; i++ {
		if fold(reply[i]) != fold(query[i]) {
			return false
		}
	}
	copy(reply[headerSize:end], query[headerSize:end])
	return true
}

// fold makes a letter lower case; the length of a label, 63 at most, is none.
func fold(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

func rcode(packet []byte) dnsmessage.RCode { return dnsmessage.RCode(packet[3] & 0xf) }

// askUDP sends a query and waits for what answers it; the connected socket takes
// only what comes from its peer, and tells of a closed port (ICMP) at once.
func askUDP(c net.Conn, query []byte, end, size int) ([]byte, error) {
	if _, err := c.Write(query); err != nil {
		return nil, err
	}
	buf := make([]byte, size+1) // one more, to see what is too long
	for {
		n, err := c.Read(buf)
		if err != nil {
			return nil, err
		}
		if matches(buf[:n], query, end) {
			return buf[:n], nil
		}
	}
}

// errNoMatch is an answer to something else, over a connection of our own.
var errNoMatch = errors.New("not an answer to the question")

func askTCP(c net.Conn, query []byte, end int) ([]byte, error) {
	if err := writeFramed(c, query); err != nil {
		return nil, err
	}
	reply, err := readFramed(c, 1<<16)
	if err == nil && !matches(reply, query, end) {
		err = errNoMatch
	}
	return reply, err
}

// writeFramed writes one message of TCP, in one segment (RFC 7766 8).
func writeFramed(c net.Conn, packet []byte) error {
	out := make([]byte, 2, 2+len(packet))
	binary.BigEndian.PutUint16(out, uint16(len(packet)))
	_, err := c.Write(append(out, packet...))
	return err
}

// errTooLong is a message that no honest peer sends.
var errTooLong = errors.New("the message is too long")

// readFramed reads one message; what was read of its length may come much earlier
// than the rest, the deadlines are the caller's.
func readFramed(c net.Conn, most int) ([]byte, error) {
	var head [2]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint16(head[:]))
	if n < headerSize || n > most {
		return nil, errTooLong
	}
	packet := make([]byte, n)
	if err := c.SetReadDeadline(time.Now().Add(bodyTimeout)); err != nil {
		return nil, err
	}
	_, err := io.ReadFull(c, packet)
	return packet, err
}
