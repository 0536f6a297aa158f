package bridge

import (
	"encoding/binary"
	"errors"
	"os"
	"testing"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// rulesOf counts the rules of IPv4 with a priority of the relay's.
func rulesOf(t *testing.T, w *World) (n int) {
	t.Helper()
	err := w.Do(func() error {
		header := make([]byte, unix.SizeofRtMsg)
		header[0] = unix.AF_INET
		list, err := w.route.get(request{what: "list rules", kind: unix.RTM_GETRULE, flag: netlink.Dump, body: header})
		for _, m := range list {
			ad, err := netlink.NewAttributeDecoder(m.Data[unix.SizeofRtMsg:])
			if err != nil {
				return err
			}
			for ad.Next() {
				if p := binary.NativeEndian.Uint32(append(ad.Bytes(), 0, 0, 0, 0)); ad.Type() == unix.FRA_PRIORITY && p >= rulesOut && p < rulesOut+3 {
					n++
				}
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// One relay at a time; the next keeper takes over what the last one left, and adds
// nothing to it.
func TestOutIsTakenOver(t *testing.T) {
	w := open(t, nil, Options{})
	first, err := w.OpenOut(false)
	if err != nil {
		t.Skip("this kernel cannot: ", err)
	}
	if err := w.Lead(first); err != nil {
		t.Fatal(err)
	}
	if first.Listen6 >= 0 || first.Listen4 < 0 || first.Tun < 0 || first.Pass < 0 {
		t.Errorf("%+v", first)
	}
	if _, err := w.OpenOut(false); !errors.Is(err, unix.EBUSY) {
		t.Errorf("a second relay: %v", err)
	}
	first.Close()
	if first.Tun != -1 || first.Listen4 != -1 {
		t.Errorf("%+v", first)
	}
	first.Close() // is no matter
	n0, err := unix.FcntlInt(w.File().Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(n0), "N0")
	defer file.Close()
	w.Close()
	w = open(t, file, Options{})
	if links := linksOf(t, w, "tcp-"); len(links) != 2 {
		t.Errorf("%q", links)
	}
	if len(w.filter.relays) != 0 {
		t.Error("connections are led to a relay that is not there")
	}
	again, err := w.OpenOut(true)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if err := w.Lead(again); err != nil {
		t.Fatal(err)
	}
	if w.ipv6 && again.Listen6 < 0 {
		t.Errorf("%+v", again)
	}
	if n := rulesOf(t, w); n != 3 {
		t.Errorf("%d rules", n)
	}
}

// A relay that is not one is refused, and nothing is changed.
func TestLeadToNothing(t *testing.T) {
	w := open(t, nil, Options{})
	if err := w.Lead(&Out{Tun: -1, Listen4: 1 << 20, Listen6: -1, Pass: -1}); !errors.Is(err, unix.EBADF) {
		t.Errorf("%v", err)
	}
	if len(w.filter.relays) != 0 {
		t.Error("it was led there")
	}
	if err := w.Lead(nil); err != nil {
		t.Error(err)
	}
}
