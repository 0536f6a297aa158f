package bridge

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"
)

// TestLanes: a source address has its lane, whatever its port, and those beside it
// have others.
func TestLanes(t *testing.T) {
	for _, c := range []struct {
		at   string
		from func(i int) string
		n    int
	}{
		{"127.0.0.1:0", func(i int) string { return fmt.Sprintf("127.0.3.%d", i) }, 20},
		{"[::1]:0", func(int) string { return "::1" }, 1},
	} {
		socks, err := listenUDP("lo", netip.MustParseAddrPort(c.at))
		if err != nil {
			t.Skipf("no lanes here: %v", err)
		}
		to := socks[0].LocalAddr().(*net.UDPAddr)
		for i := range c.n {
			from := net.ParseIP(c.from(i + 1))
			for range 3 { // another port each
				d, err := net.DialUDP("udp", &net.UDPAddr{IP: from}, to)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := d.Write([]byte{1}); err != nil {
					t.Fatal(err)
				}
				d.Close()
			}
			want := int(from[15]) % lanes
			buf := make([]byte, 10)
			for k, s := range socks {
				_ = s.SetReadDeadline(time.Now().Add(2 * time.Millisecond))
				got := 0
				if k == want {
					_ = s.SetReadDeadline(time.Now().Add(2 * time.Second))
				}
				for ; k != want || got < 3; got++ {
					if _, _, err := s.ReadFrom(buf); err != nil {
						break
					}
				}
				if k == want && got != 3 || k != want && got != 0 {
					t.Errorf("%v: lane %d got %d", from, k, got)
				}
			}
		}
		for _, s := range socks {
			s.Close()
		}
	}
}
