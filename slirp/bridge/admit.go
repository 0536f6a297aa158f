package bridge

import (
	"errors"
	"fmt"
	"time"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// answerLimit is how long the kernel may take over what package nftables sends. It
// answers before sendmsg returns; only a lock that is held by others makes it wait.
const answerLimit = 10 * time.Second

// newElement is the message that adds elements to a set (linux/netfilter/nf_tables.h).
const newElement = unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_NEWSETELEM

// admit lets a port send from its own addresses: one transaction, written here because
// every start waits for it (see rtnl).
func (f *filter) admit(p *port) error {
	if f.ports == nil {
		return nil
	}
	requests := []request{nfRequest(unix.NFNL_MSG_BATCH_BEGIN, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES, nil)}
	rest := false // what only package nftables can say
	f.queuePorts([]*port{p}, func(s *nftables.Set, list []nftables.SetElement) error {
		if q, plain := newElements(s, list); plain {
			requests = append(requests, q)
			return nil
		}
		rest = true
		return f.conn.SetAddElements(s, list)
	})
	err := f.transact(requests)
	if rest {
		err = errors.Join(err, f.flush())
	}
	if err != nil {
		return fmt.Errorf("let the interface through the filter: %w", err)
	}
	return nil
}

// transact carries out what lies between a first and a last message, all or nothing.
func (f *filter) transact(requests []request) error {
	until := len(requests) - 1
	if until < 1 {
		return nil
	}
	if f.quick == nil {
		buffer := make([]byte, 4096)
		r, err := dial(unix.NETLINK_NETFILTER, &buffer)
		if err != nil {
			return err
		}
		f.quick = r
	}
	// The end of a batch is answered since Linux 6.10 only.
	requests[until].flag |= netlink.Acknowledge
	_, err := f.quick.send(append(requests, nfRequest(unix.NFNL_MSG_BATCH_END, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES, nil)), until)
	return err
}

// nfRequest puts struct nfgenmsg before a body: family, version 0, resource.
func nfRequest(kind uint16, family byte, resource byte, body []byte) request {
	return request{what: "change nf_tables", kind: kind, body: append([]byte{family, 0, 0, resource}, body...)}
}

// newElements adds elements that are keys and nothing else; plain says that they are.
func newElements(s *nftables.Set, list []nftables.SetElement) (q request, plain bool) {
	for _, e := range list {
		if e.Val != nil || e.KeyEnd != nil || e.VerdictData != nil || e.IntervalEnd || e.Timeout != 0 || e.Expires != 0 || e.Counter != nil || e.Comment != "" {
			return request{}, false
		}
	}
	ae := netlink.NewAttributeEncoder()
	ae.String(unix.NFTA_SET_ELEM_LIST_TABLE, s.Table.Name)
	ae.String(unix.NFTA_SET_ELEM_LIST_SET, s.Name)
	ae.Nested(unix.NFTA_SET_ELEM_LIST_ELEMENTS, func(all *netlink.AttributeEncoder) error {
		for _, e := range list {
			all.Nested(unix.NFTA_LIST_ELEM, func(one *netlink.AttributeEncoder) error {
				one.Nested(unix.NFTA_SET_ELEM_KEY, func(key *netlink.AttributeEncoder) error {
					key.Bytes(unix.NFTA_DATA_VALUE, e.Key)
					return nil
				})
				return nil
			})
		}
		return nil
	})
	attributes, err := ae.Encode()
	q = nfRequest(newElement, byte(s.Table.Family), 0, attributes)
	q.flag, q.err = netlink.Create, err
	return q, true
}
