package slirp

import (
	"io"
	"net/netip"
	"os"
	"strings"
)

// maxResolver bounds what is read of the host's resolv.conf, in bytes.
const maxResolver = 64 << 10

// HostResolvConf reads the host's /etc/resolv.conf; "" when there is none,
// which glibc takes for a resolver on 127.0.0.1 (resolv.conf(5)).
func HostResolvConf() string { return readResolv("/etc/resolv.conf") }

func readResolv(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	data, _ := io.ReadAll(io.LimitReader(f, maxResolver))
	return string(data)
}

// HostNameServers are the addresses of the host's name servers, with the zones of
// link-local ones.
func HostNameServers() []netip.Addr {
	var list []netip.Addr
	servers, _, _ := parseResolv(HostResolvConf())
	for _, s := range servers {
		if addr, err := netip.ParseAddr(s); err == nil {
			list = append(list, addr)
		}
	}
	return list
}

// ResolvConf is the text of a container's resolv.conf. host is the host's own;
// its search list and options are kept where d says nothing. nameservers stand
// for the host's: slirp.Resolver with slirp4netns, which forwards to whatever
// the host uses, a resolver on 127.0.0.53 included; none with --network=host
// and --network=none, which keeps the host's. d.Servers goes before both.
func ResolvConf(d DNS, host string, nameservers ...string) string {
	servers, search, options := parseResolv(host)
	if len(nameservers) > 0 {
		servers = nameservers
	}
	if len(d.Servers) > 0 {
		servers = d.Servers
	}
	if len(d.Search) > 0 {
		search = d.Search
	}
	if len(d.Options) > 0 {
		options = d.Options
	}
	var b strings.Builder
	if len(search) > 0 && !(len(search) == 1 && search[0] == ".") { // Docker: `--dns-search .` is an empty list
		b.WriteString("search " + strings.Join(search, " ") + "\n")
	}
	for _, s := range servers {
		b.WriteString("nameserver " + s + "\n")
	}
	if len(options) > 0 {
		b.WriteString("options " + strings.Join(options, " ") + "\n")
	}
	return b.String()
}

// BridgeResolvConf is ResolvConf for a container on bridge networks, whose gateways
// answer: they know the names of containers, and pass other questions on to d.Servers
// or the host's resolvers. Without gateways (--disable-dns, or no network is left) it
// is what the host uses, as far as another network namespace reaches it.
func BridgeResolvConf(d DNS, host string, gateways ...string) string {
	if len(gateways) == 0 {
		return ResolvConf(d, host, outside(host)...)
	}
	if len(d.Search) == 0 {
		_, d.Search, _ = parseResolv(host)
	}
	if len(d.Search) != 1 || d.Search[0] != "." {
		d.Search = append([]string{Domain}, d.Search...)
	}
	d.Servers = nil
	return ResolvConf(d, host, gateways...)
}

// resolvedConf is where systemd-resolved writes the servers that it asks itself
// (systemd-resolved.service(8)); /etc/resolv.conf names its stub, 127.0.0.53.
var resolvedConf = "/run/systemd/resolve/resolv.conf"

// outside are the name servers of host that are not on its loopback; where all are,
// those behind systemd's stub, as Docker and podman take them. Nil: there is none.
func outside(host string) []string {
	for _, text := range []func() string{func() string { return host }, func() string { return readResolv(resolvedConf) }} {
		var list []string
		servers, _, _ := parseResolv(text())
		for _, s := range servers {
			if a, err := netip.ParseAddr(s); err == nil && !a.IsLoopback() && a.Zone() == "" {
				list = append(list, s)
			}
		}
		if len(list) > 0 {
			return list
		}
	}
	return nil
}

// parseResolv reads what resolv.conf(5) defines: several nameserver and options
// lines add up, the last of search and domain wins, comments start a line.
func parseResolv(text string) (servers, search, options []string) {
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		switch f[0] {
		case "nameserver":
			servers = append(servers, f[1])
		case "search", "domain":
			search = f[1:]
		case "options":
			options = append(options, f[1:]...)
		}
	}
	return servers, search, options
}
