package spec

import (
	"net/netip"
	"strings"

	"github.com/rc-containers/rc/slirp"
)

// resolver checks --dns, --dns-search, --dns-option and --add-host.
func (b *builder) resolver() error {
	if b.plan.Network.Kind == KindContainer {
		// The files belong to the container that made the network (moby,
		// daemon/runconfig, ErrConflictNetworkAndDNS and its sisters).
		for _, f := range []struct {
			flag   string
			values []string
		}{{"--dns", b.o.DNS}, {"--dns-search", b.o.DNSSearch}, {"--dns-option", b.o.DNSOption}, {"--add-host", b.o.AddHost}} {
			if len(f.values) > 0 {
				return refuse(f.flag, f.values[0], "give it to "+quoted(b.plan.Network.Container), "the name resolution of a joined network is that of the container that made it")
			}
		}
	}
	for _, s := range b.o.DNS {
		if _, err := netip.ParseAddr(s); err != nil {
			return refuse("--dns", s, "give the address of a name server, as in 9.9.9.9", "not an IP address")
		}
	}
	for _, s := range b.o.DNSSearch {
		if s != "." && !domain(s) { // "." is Docker's word for no search list at all
			return refuse("--dns-search", s, `give a domain, or "." for none`, "not a domain")
		}
	}
	for _, s := range b.o.DNSOption {
		if s == "" || strings.ContainsAny(s, " \t\r\n\x00") {
			return refuse("--dns-option", s, "give one option of resolv.conf(5), as in ndots:2", "not one word")
		}
	}
	d := &b.plan.DNS
	d.Servers, d.Search, d.Options = b.o.DNS, b.o.DNSSearch, b.o.DNSOption
	for _, s := range b.o.AddHost {
		host, err := b.addHost(s)
		if err != nil {
			return err
		}
		d.AddHosts = append(d.AddHosts, host)
	}
	return nil
}

// addHost reads NAME:IP or NAME=IP (docker/cli, opts/hosts.go), where IP may be
// host-gateway, the host as the container sees it.
func (b *builder) addHost(s string) (string, error) {
	const form = "write NAME:IP, as in db:10.1.2.3"
	i := strings.IndexAny(s, ":=")
	if i <= 0 || i == len(s)-1 {
		return "", refuse("--add-host", s, form, "not a name and an address")
	}
	name, ip := s[:i], s[i+1:]
	if !domain(name) {
		return "", refuse("--add-host", s, form, "%s is not a host name", quoted(name))
	}
	if ip == slirp.HostGateway {
		switch kind := b.plan.Network.Kind; {
		case kind == KindHost:
			return name + ":127.0.0.1", nil
		case kind.Kept():
			return name + ":" + ip, nil // looked up at each start: the host may have moved
		}
		return "", refuse("--add-host", s, "leave it out", "a container without a network cannot reach the host")
	}
	if len(ip) > 2 && ip[0] == '[' && ip[len(ip)-1] == ']' {
		ip = ip[1 : len(ip)-1]
	}
	if _, err := netip.ParseAddr(ip); err != nil {
		return "", refuse("--add-host", s, form, "%s is not an IP address", quoted(ip))
	}
	return name + ":" + ip, nil
}

// domain tells whether s can stand in resolv.conf or hosts: one word of a name's
// characters, no label longer than DNS allows (RFC 1035, section 2.3.4).
// Underscores are common and harmless.
func domain(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(s, "."), ".") {
		if label == "" || len(label) > 63 {
			return false
		}
		for i := range len(label) {
			if !alnum(label[i]) && label[i] != '-' && label[i] != '_' {
				return false
			}
		}
	}
	return true
}
