package bridge

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// TestRefusals: the first refusal of a batch is told, by name and in the kernel's words;
// what comes after it is carried out; and the socket is as good as before.
func TestRefusals(t *testing.T) {
	w := open(t, nil, Options{})
	err := w.Do(func() error {
		other := newAddress(1, netip.MustParsePrefix("10.77.1.1/24"))
		err := w.route.run(setUp(7777), deleteLink("none-such"), other)
		if !errors.Is(err, unix.ENODEV) || !strings.HasPrefix(err.Error(), "bring the interface up: ") {
			t.Errorf("the first refusal: %v", err)
		}
		if err := w.route.run(other); !errors.Is(err, unix.EEXIST) {
			t.Errorf("the request after a refused one was not carried out: %v", err)
		}
		err = w.route.run(setUp(1), newDefault(1, netip.MustParseAddr("10.77.0.1"), 5))
		if !errors.Is(err, unix.ENETUNREACH) || !strings.Contains(err.Error(), "gateway") {
			t.Errorf("without the kernel's words: %v", err)
		}
		if _, err := w.linkIndex("none-such"); !errors.Is(err, unix.ENODEV) {
			t.Errorf("a link that there is not: %v", err)
		}
		if i, err := w.linkIndex("lo"); err != nil || i != 1 {
			t.Errorf("lo is link %d: %v", i, err)
		}
		return w.route.run(setUp(1))
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestRefusedBatch: nf_tables says no to a whole batch by one word for one of its
// messages, and nobody waits for more.
func TestRefusedBatch(t *testing.T) {
	w := open(t, nil, Options{})
	if w.filter.noPorts != nil {
		t.Skip(w.filter.noPorts)
	}
	err := w.Do(func() error {
		good, _ := newElements(w.filter.sender4, []nftables.SetElement{{Key: senderKey(9, macOf(netip.MustParseAddr("10.1.1.1")), netip.MustParseAddr("10.1.1.1"))}})
		none := *w.filter.sender4
		none.Name = "none-such"
		bad, _ := newElements(&none, []nftables.SetElement{{Key: make([]byte, 16)}})
		for _, list := range [][]request{{good, bad}, {bad, good}} {
			begin := nfRequest(unix.NFNL_MSG_BATCH_BEGIN, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES, nil)
			if err := w.filter.transact(append([]request{begin}, list...)); !errors.Is(err, unix.ENOENT) {
				t.Errorf("a set that there is not: %v", err)
			}
		}
		begin := nfRequest(unix.NFNL_MSG_BATCH_BEGIN, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES, nil)
		return w.filter.transact([]request{begin, good})
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestTornList: a list that changed while it was read is no list.
func TestTornList(t *testing.T) {
	flags := netlink.Multi
	message := func(kind uint16, flags netlink.HeaderFlags) []byte {
		r := rtnl{}
		return r.appendMessage(nil, kind, flags, make([]byte, 4))
	}
	list := request{kind: unix.RTM_GETLINK, flag: netlink.Dump}
	for _, c := range []struct {
		packets [][]byte
		torn    bool
		got     int
	}{
		{[][]byte{message(unix.RTM_NEWLINK, flags), message(unix.NLMSG_DONE, flags)}, false, 1},
		{[][]byte{message(unix.RTM_NEWLINK, flags), message(unix.NLMSG_DONE, flags|netlink.DumpInterrupted)}, true, 1},
		{[][]byte{message(unix.RTM_NEWLINK, flags|netlink.DumpInterrupted), message(unix.RTM_NEWLINK, flags), message(unix.NLMSG_DONE, flags)}, true, 2},
	} {
		g := gathered{requests: []request{list}, first: 1}
		for _, p := range c.packets {
			g.take(p)
		}
		if g.err != nil || !g.whole || g.torn != c.torn || len(g.got) != c.got {
			t.Errorf("%+v, want torn %v, %d", g, c.torn, c.got)
		}
	}
}

// FuzzAnswer: what the kernel says is parsed as anything that anybody says.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte{20, 0, 0, 0, 2, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0xed, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, data []byte) {
		g := gathered{requests: []request{{what: "x"}, {what: "y"}}, first: 1, until: 1}
		g.take(data)
		for _, m := range g.got {
			parseLink(m)
		}
	})
}
