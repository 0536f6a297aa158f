package slirp

import (
	"slices"
	"strings"
	"testing"
)

func TestParsePasta(t *testing.T) {
	good := map[string][]string{
		"": nil,
		"--ipv4-only,-a,10.0.2.0,-n,24,-g,10.0.2.2,--dns-forward,10.0.2.3,-m,1500,--no-ndp,--no-dhcpv6,--no-dhcp": {"--ipv4-only", "-a", "10.0.2.0", "-n", "24", "-g", "10.0.2.2",
			"--dns-forward", "10.0.2.3", "-m", "1500", "--no-ndp", "--no-dhcpv6", "--no-dhcp"},
		"--map-gw":                  {"--map-gw"},
		"-t,auto,-T,5201":           {"-t", "auto", "-T", "5201"},
		"--outbound-if4=eth0,-4":    {"--outbound-if4=eth0", "-4"},
		"-t,192.0.2.1%eth0/5-9:105": {"-t", "192.0.2.1%eth0/5-9:105"},
	}
	for text, want := range good {
		if got, err := ParsePasta(text); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q, %v", text, got, err)
		}
	}
	// What would make it write elsewhere, join something else, or leave the keeper.
	for _, text := range []string{
		"--pcap,/home/me/.bashrc", "-p,x", "--log-file,x", "-l,x", "--pid,x", "-P,x", "--runas,0", "--userns,/proc/1/ns/user",
		"--netns,x", "--fd,3", "-F,3", "-e", "--stderr", "--trace", "1", "/bin/sh", "--", "-4f", "-a10.0.0.1", "-a=1", "--no-tcp=1", "",
		"-a", "-a,", "-a,-P", "-a,1 2", "-a,1\n", "-a," + strings.Repeat("1", 201), "-4" + strings.Repeat(",-4", maxPastaOptions), "--pci",
	} {
		if got, err := ParsePasta(text); err == nil && text != "" {
			t.Errorf("%q was taken: %q", text, got)
		}
	}
}
