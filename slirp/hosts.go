package slirp

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// HostGateway is the word in --add-host that stands for the host's address.
const HostGateway = "host-gateway"

// Hosts describes a container for its hosts file.
type Hosts struct {
	Name    string // its host name; may be "" with the host's UTS namespace
	IP      string // its own address; "" without a network (127.0.1.1 then, as on Debian)
	Gateway string // what host-gateway stands for; "" makes its use an error
}

// localhost is what Docker writes. Nothing of the host's own file is copied: its
// names would be the host's business, and its 127.0.0.1 another machine.
const localhost = `127.0.0.1	localhost
::1	localhost ip6-localhost ip6-loopback
fe00::	ip6-localnet
ff00::	ip6-mcastprefix
ff02::1	ip6-allnodes
ff02::2	ip6-allrouters
`

// Text is the hosts file, with the --add-host entries of d before the
// container's own name, so that they may override it (hosts(5): the first wins).
func (h Hosts) Text(d DNS) (string, error) {
	var b strings.Builder
	b.WriteString(localhost)
	for _, entry := range d.AddHosts {
		name, ip, err := ParseAddHost(entry)
		if err != nil {
			return "", err
		}
		if ip == HostGateway {
			if ip = h.Gateway; ip == "" {
				return "", fmt.Errorf("%s: this network has no %s", entry, HostGateway)
			}
		}
		b.WriteString(ip + "\t" + name + "\n")
	}
	if h.Name != "" {
		ip := h.IP
		if ip == "" {
			ip = "127.0.1.1"
		}
		b.WriteString(HostsLine(ip, h.Name))
	}
	return b.String(), nil
}

// HostsLine is the line of a host with that address and name, and the short form of a
// name with a domain.
func HostsLine(ip, name string) string {
	if short, _, dotted := strings.Cut(name, "."); dotted && short != "" {
		name += " " + short
	}
	return ip + "\t" + name + "\n"
}

// ParseAddHost reads NAME:IP, NAME=IP, NAME:[IPV6] or NAME:host-gateway; ip is
// an address or the word HostGateway.
func ParseAddHost(s string) (name, ip string, err error) {
	i := strings.IndexAny(s, ":=")
	if i < 0 {
		return "", "", fmt.Errorf("%q is not NAME:IP", s)
	}
	name, ip = s[:i], s[i+1:]
	if err := CheckName(name); err != nil {
		return "", "", err
	}
	if ip == HostGateway {
		return name, ip, nil
	}
	if strings.HasPrefix(ip, "[") && strings.HasSuffix(ip, "]") {
		ip = ip[1 : len(ip)-1]
	}
	ip, err = CheckIP(ip)
	return name, ip, err
}

// CheckIP says whether s is an IPv4 or IPv6 address, and gives its usual form.
// A zone is refused: it names an interface, and those differ inside.
func CheckIP(s string) (string, error) {
	addr, err := netip.ParseAddr(s)
	if err != nil || addr.Zone() != "" {
		return "", fmt.Errorf("%q is not an IP address", s)
	}
	return addr.String(), nil
}

// CheckName says whether s can be a host or domain name: labels of 1 to 63
// letters, digits, '-' and '_' (RFC 1123 2.1; '_' as Docker and DNS-SD have it),
// 253 bytes at most (RFC 1035 2.3.4). A trailing dot is allowed.
func CheckName(s string) error {
	if s == "" {
		return errors.New("a host name is empty")
	}
	if len(s) > 253 {
		return fmt.Errorf("host name of %d bytes, 253 at most", len(s))
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(s, "."), ".") {
		if !validLabel(label) {
			return fmt.Errorf("%q is not a host name", s)
		}
	}
	return nil
}

func validLabel(s string) bool {
	if s == "" || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		c := s[i]
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && !('0' <= c && c <= '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}
