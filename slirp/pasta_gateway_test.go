package slirp

import (
	"net"
	"os"
	"slices"
	"strings"
	"testing"
)

func TestPastaLoopback(t *testing.T) {
	table, _ := os.ReadFile("/proc/net/route")
	host := DefaultGateway(string(table))
	for _, c := range []struct {
		options []string
		want    string
	}{
		{nil, host}, {[]string{"-m", "1500"}, host}, {[]string{"-g"}, host}, {[]string{"-g", "nonsense"}, host},
		{[]string{"-g", "192.0.2.9"}, "192.0.2.9"}, {[]string{"--gateway=192.0.2.9", "-4"}, "192.0.2.9"},
		{[]string{"--gateway", "192.0.2.9", "--map-host-loopback", "169.254.1.9"}, "169.254.1.9"},
	} {
		if got := PastaLoopback(c.options); got != c.want {
			t.Errorf("%q: %q, want %q", c.options, got, c.want)
		}
	}
}

// TestHostAddress6 is the one that the kernel would send from, which is one of ours.
func TestHostAddress6(t *testing.T) {
	got := HostAddress6()
	if !got.IsValid() {
		t.Skip("this host has no way out by IPv6")
	}
	list, err := net.InterfaceAddrs()
	if err != nil || !slices.ContainsFunc(list, func(a net.Addr) bool { return strings.HasPrefix(a.String(), got.String()+"/") }) {
		t.Errorf("%v is none of %v, %v", got, list, err)
	}
}
