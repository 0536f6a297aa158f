package slirp

import (
	"os"
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
