package bridge

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// rtnl is a socket of netlink(7), of the namespace that its opener was in: of rtnetlink,
// but for the filter's.
//
// The system calls are made here, not by package netlink, whose sockets wait in Go's
// poller: each of its reads peeks first, starts goroutines for its deadline, and wakes
// threads for them. An attachment took 200 changes of thread by it, and 0.2 ms of waiting
// for a processor. The kernel has nothing to be waited for: it answers before write(2)
// returns (net/netlink/af_netlink.c, netlink_rcv_skb), and a long list goes on by reading
// it (netlink_recvmsg).
type rtnl struct {
	fd     int
	seq    uint32
	torn   bool    // the last list changed while it was read
	buffer *[]byte // shared by the sockets of one thread
}

// tornTries bounds how often a list is read that changes meanwhile (NLM_F_DUMP_INTR of
// linux/netlink.h): it may lack what was there all the time, and who is not in it would
// be taken for gone.
const tornTries = 10

// answerSize is the most that the kernel puts into one read of a list (af_netlink.c,
// netlink_recvmsg: max_recvmsg_len).
const answerSize = 32 << 10

func dialRoute() (*rtnl, error) { return dial(unix.NETLINK_ROUTE, new([]byte)) }

// dial opens a socket that reads into a buffer of the caller's.
func dial(protocol int, buffer *[]byte) (*rtnl, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
	if err != nil {
		return nil, fmt.Errorf("open a socket of netlink: %w", err)
	}
	// What is wrong comes back in words, without our own message (netlink(7),
	// NETLINK_EXT_ACK, NETLINK_CAP_ACK). Kernels that do not know it say it by number.
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_EXT_ACK, 1)
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1)
	return &rtnl{fd: fd, buffer: buffer}, nil
}

// close may be called on nil: a World that did not come up has no socket.
func (r *rtnl) close() {
	if r != nil {
		_ = unix.Close(r.fd)
	}
}

// request is one message, and what it is for.
type request struct {
	what string
	kind uint16
	flag netlink.HeaderFlags
	body []byte
	err  error // of encoding
}

// asks tells whether the answer is messages: requests come in fours, and the third gets
// (linux/rtnetlink.h).
func (q request) asks() bool { return q.kind&3 == unix.RTM_GETLINK&3 }

// lists tells whether they are many, with a word at the end.
func (q request) lists() bool { return q.asks() && q.flag&netlink.Dump == netlink.Dump }

// run sends all requests in one system call and returns the first refusal. The kernel
// carries out those after a refused one too.
func (r *rtnl) run(requests ...request) error {
	_, err := r.exchange(requests)
	return err
}

// get sends one request that is answered by messages: a dump, or one object. They are
// good until the next call.
func (r *rtnl) get(q request) ([]netlink.Message, error) {
	for range tornTries {
		got, err := r.exchange([]request{q})
		if err != nil || !r.torn {
			return got, err
		}
	}
	return nil, fmt.Errorf("%s: %w", q.what, unix.EAGAIN)
}

// exchange is run; the last of the requests may ask for something.
func (r *rtnl) exchange(requests []request) ([]netlink.Message, error) {
	last := len(requests) - 1
	if !requests[last].asks() {
		requests[last].flag |= netlink.Acknowledge // those before it answer only to refuse
	}
	return r.send(requests, last)
}

// send sends all requests and reads to the answer of the one numbered until.
func (r *rtnl) send(requests []request, until int) ([]netlink.Message, error) {
	first := r.seq + 1
	packet := make([]byte, 0, 1024)
	for _, q := range requests {
		if q.err != nil {
			return nil, fmt.Errorf("%s: %w", q.what, q.err)
		}
		packet = r.appendMessage(packet, q.kind, q.flag|netlink.Request, q.body)
	}
	if _, err := unix.Write(r.fd, packet); err != nil {
		return nil, fmt.Errorf("%s: %w", requests[0].what, os.NewSyscallError("write", err))
	}
	if *r.buffer == nil {
		*r.buffer = make([]byte, answerSize)
	}
	a := gathered{requests: requests, first: first, until: uint32(until)}
	defer func() { r.torn = a.torn }()
	for !a.whole {
		n, err := unix.Read(r.fd, *r.buffer)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil && a.err != nil: // a batch that is refused as a whole says no more
			return nil, a.err
		case err != nil:
			return nil, fmt.Errorf("%s: %w", requests[0].what, os.NewSyscallError("read", err))
		}
		data := (*r.buffer)[:n]
		if requests[until].lists() {
			data = slices.Clone(data) // more will be read
		}
		a.take(data)
	}
	return a.got, a.err
}

// appendMessage lays out struct nlmsghdr and a body; lengths are multiples of four.
func (r *rtnl) appendMessage(packet []byte, kind uint16, flags netlink.HeaderFlags, body []byte) []byte {
	r.seq++
	packet = binary.NativeEndian.AppendUint32(packet, uint32(unix.SizeofNlMsghdr+len(body)))
	packet = binary.NativeEndian.AppendUint16(packet, kind)
	packet = binary.NativeEndian.AppendUint16(packet, uint16(flags))
	packet = binary.NativeEndian.AppendUint32(packet, r.seq)
	packet = append(packet, 0, 0, 0, 0)
	packet = append(packet, body...)
	return append(packet, make([]byte, -len(body)&3)...)
}

// gathered is what has come for requests, the first of which had that number.
type gathered struct {
	requests     []request
	first, until uint32
	got          []netlink.Message
	err          error // the first refusal
	whole, torn  bool
}

// take looks at one packet.
func (a *gathered) take(data []byte) {
	for len(data) > 0 && !a.whole {
		m, size, err := parseMessage(data)
		if err != nil {
			a.err, a.whole = errors.Join(a.err, err), true
			return
		}
		data = data[size:]
		at := m.Header.Sequence - a.first
		if at >= uint32(len(a.requests)) {
			continue // of an exchange that was given up
		}
		a.torn = a.torn || m.Header.Flags&netlink.DumpInterrupted != 0
		if m.Header.Type == netlink.Error || m.Header.Type == netlink.Done {
			if err := refusal(m); err != nil && a.err == nil {
				a.err = fmt.Errorf("%s: %w", a.requests[at].what, err)
			}
			a.whole = at == a.until
			continue
		}
		a.got = append(a.got, m)
		a.whole = at == a.until && m.Header.Flags&netlink.Multi == 0
	}
}

// parseMessage reads one message and tells where the next begins.
func parseMessage(data []byte) (netlink.Message, int, error) {
	if len(data) < unix.SizeofNlMsghdr {
		return netlink.Message{}, 0, io.ErrUnexpectedEOF
	}
	length := binary.NativeEndian.Uint32(data)
	if length < unix.SizeofNlMsghdr || int64(length) > int64(len(data)) {
		return netlink.Message{}, 0, io.ErrUnexpectedEOF
	}
	m := netlink.Message{Data: data[unix.SizeofNlMsghdr:length], Header: netlink.Header{Length: length,
		Type: netlink.HeaderType(binary.NativeEndian.Uint16(data[4:])), Flags: netlink.HeaderFlags(binary.NativeEndian.Uint16(data[6:])),
		Sequence: binary.NativeEndian.Uint32(data[8:]), PID: binary.NativeEndian.Uint32(data[12:])}}
	return m, min(int(length+3)&^3, len(data)), nil
}

const (
	attributeOfMessage = 1 // NLMSGERR_ATTR_MSG of linux/netlink.h
	flagWords          = 0x200
	flagShort          = 0x100
)

// refusal is what struct nlmsgerr says (netlink(7)), nil for nothing: an errno, and
// the kernel's own words where it has some.
func refusal(m netlink.Message) error {
	if len(m.Data) < 4 {
		if m.Header.Type == netlink.Done {
			return nil
		}
		return io.ErrUnexpectedEOF
	}
	number := int32(binary.NativeEndian.Uint32(m.Data))
	if number >= 0 {
		return nil
	}
	errno := unix.Errno(-number)
	if m.Header.Type == netlink.Error && m.Header.Flags&flagWords != 0 && len(m.Data) >= 4+unix.SizeofNlMsghdr {
		at := 4 + unix.SizeofNlMsghdr
		if m.Header.Flags&flagShort == 0 {
			at = 4 + int(binary.NativeEndian.Uint32(m.Data[4:])+3)&^3
		}
		if words := wordsOf(m.Data[min(at, len(m.Data)):]); words != "" {
			return fmt.Errorf("%s: %w", words, errno)
		}
	}
	return errno
}

func wordsOf(attributes []byte) string {
	ad, err := netlink.NewAttributeDecoder(attributes)
	if err != nil {
		return ""
	}
	for ad.Next() {
		if ad.Type() == attributeOfMessage {
			return ad.String()
		}
	}
	return ""
}

// body puts the attributes behind a header that is laid out as C has it.
func body(header []byte, fill func(*netlink.AttributeEncoder)) ([]byte, error) {
	ae := netlink.NewAttributeEncoder()
	fill(ae)
	attributes, err := ae.Encode()
	return append(header, attributes...), err
}

// ifinfomsg is struct ifinfomsg of rtnetlink(7); up brings the link up.
func ifinfomsg(index int, up bool) []byte {
	b := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(b[4:], uint32(index))
	if up {
		binary.NativeEndian.PutUint32(b[8:], unix.IFF_UP)
		binary.NativeEndian.PutUint32(b[12:], unix.IFF_UP)
	}
	return b
}
