package bridge

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// answerLimit is how long the kernel may take over one batch. It answers before
// sendmsg returns; only a lock that is held by others (rtnl) makes it wait.
const answerLimit = 10 * time.Second

// rtnl is a socket of rtnetlink(7), of the namespace that its opener was in.
type rtnl struct{ conn *netlink.Conn }

func dialRoute() (*rtnl, error) {
	c, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return nil, fmt.Errorf("open a socket of rtnetlink: %w", err)
	}
	// What is wrong comes back in words (netlink(7), NETLINK_EXT_ACK). A kernel that does
	// not know the option says it by the number alone. NETLINK_CAP_ACK beside it is what
	// the library cannot read.
	_ = c.SetOption(netlink.ExtendedAcknowledge, true)
	return &rtnl{c}, nil
}

// close may be called on nil: a World that did not come up has no socket.
func (r *rtnl) close() {
	if r != nil {
		_ = r.conn.Close()
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

// run sends all requests in one system call and returns the first refusal. The kernel
// carries out those after a refused one too.
func (r *rtnl) run(requests ...request) error {
	messages := make([]netlink.Message, len(requests))
	for i, q := range requests {
		if q.err != nil {
			return fmt.Errorf("%s: %w", q.what, q.err)
		}
		messages[i] = netlink.Message{Data: q.body,
			Header: netlink.Header{Type: netlink.HeaderType(q.kind), Flags: q.flag | netlink.Request | netlink.Acknowledge}}
	}
	_ = r.conn.SetDeadline(time.Now().Add(answerLimit))
	if _, err := r.conn.SendMessages(messages); err != nil {
		return fmt.Errorf("%s: %w", requests[0].what, err)
	}
	var first error
	for _, q := range requests {
		_, err := r.conn.Receive()
		if err != nil && first == nil {
			first = fmt.Errorf("%s: %w", q.what, err)
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break // an answer that is never read would be taken for the next one's
		}
	}
	return first
}

// get sends one request that is answered by messages: a dump, or one object.
func (r *rtnl) get(q request) ([]netlink.Message, error) {
	if q.err != nil {
		return nil, fmt.Errorf("%s: %w", q.what, q.err)
	}
	_ = r.conn.SetDeadline(time.Now().Add(answerLimit))
	got, err := r.conn.Execute(netlink.Message{Data: q.body,
		Header: netlink.Header{Type: netlink.HeaderType(q.kind), Flags: q.flag | netlink.Request}})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", q.what, err)
	}
	return got, nil
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
