package slirp

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// ParsePort reads one value of -p in Docker's forms
// (docs.docker.com/reference/cli/docker/container/run/#publish):
//
//	80                      container port, any free host port
//	8080:80  :80            host port (empty: any free one)
//	127.0.0.1:8080:80/udp   one address, one protocol
//	127.0.0.1::80           any free port of one address
//	[::1]:8080:80           an IPv6 address stands in brackets
//	8000-8010:9000-9010     as many host ports as container ports
//	8000-8010:80            the first free host port of the range
//	0:80                    any free one, too
//
// The error says what is wrong with which part.
func ParsePort(s string) ([]Port, error) {
	rest, proto, err := cutProto(s)
	if err != nil {
		return nil, err
	}
	ip, rest, err := cutIP(rest)
	if err != nil {
		return nil, err
	}
	hostText, containerText, hasHost := strings.Cut(rest, ":")
	if !hasHost {
		if ip != "" {
			return nil, fmt.Errorf("%q has an address and only one port", s)
		}
		hostText, containerText = "", rest
	}
	first, last, err := portRange("container port", containerText)
	if err != nil {
		return nil, err
	}
	var hostFirst, hostLast uint16
	// Docker takes a host port of 0 as bind(2) does: any free one.
	if hostText != "" && hostText != "0" {
		if hostFirst, hostLast, err = portRange("host port", hostText); err != nil {
			return nil, err
		}
	}
	return expand(Port{HostIP: ip, Proto: proto}, [2]uint16{hostFirst, hostLast}, [2]uint16{first, last})
}

// expand makes one Port for each container port.
func expand(p Port, host, container [2]uint16) ([]Port, error) {
	n, hosts := int(container[1])-int(container[0])+1, int(host[1])-int(host[0])+1
	switch {
	case n > MaxPorts:
		return nil, fmt.Errorf("%d ports at once are more than %d", n, MaxPorts)
	case host[0] == 0:
	case n == 1 && hosts > 1:
		p.HostPort, p.HostPortEnd, p.ContainerPort = host[0], host[1], container[0]
		return []Port{p}, nil
	case n != hosts:
		return nil, fmt.Errorf("%d host ports for %d container ports", hosts, n)
	}
	var ports []Port
	for i := range n {
		p.ContainerPort = container[0] + uint16(i)
		if host[0] != 0 {
			p.HostPort = host[0] + uint16(i)
		}
		ports = append(ports, p)
	}
	return ports, nil
}

func cutProto(s string) (rest, proto string, err error) {
	rest, proto, given := strings.Cut(s, "/")
	if !given {
		return rest, "tcp", nil
	}
	switch proto = strings.ToLower(proto); proto {
	case "tcp", "udp":
		return rest, proto, nil
	case "sctp":
		return "", "", errors.New("sctp cannot be published: slirp4netns carries tcp and udp")
	}
	return "", "", fmt.Errorf("unknown protocol %q, neither tcp nor udp", proto)
}

// cutIP takes the address off the front of IP:HOSTPORT:PORT.
func cutIP(s string) (ip, rest string, err error) {
	text := ""
	if strings.HasPrefix(s, "[") {
		end := strings.Index(s, "]:")
		if end < 0 {
			return "", "", fmt.Errorf("%q has no \"]:\" after the address", s)
		}
		text, rest = s[1:end], s[end+2:]
	} else {
		switch strings.Count(s, ":") {
		case 0, 1:
			return "", s, nil
		case 2:
			text, rest, _ = strings.Cut(s, ":")
		default:
			return "", "", fmt.Errorf("%q has too many colons; an IPv6 address stands in brackets", s)
		}
	}
	if text == "" {
		return "", rest, nil
	}
	addr, err := netip.ParseAddr(text)
	if err != nil || addr.Zone() != "" {
		return "", "", fmt.Errorf("%q is not an IP address", text)
	}
	if addr.Is6() != strings.HasPrefix(s, "[") {
		return "", "", fmt.Errorf("%q: brackets are for IPv6 addresses", s)
	}
	return addr.Unmap().String(), rest, nil
}

// portRange reads N or N-M, both ends included.
func portRange(what, s string) (first, last uint16, err error) {
	from, to, isRange := strings.Cut(s, "-")
	if first, err = portNumber(what, from); err != nil || !isRange {
		return first, first, err
	}
	if last, err = portNumber(what, to); err != nil {
		return 0, 0, err
	}
	if last < first {
		return 0, 0, fmt.Errorf("the range %s runs backwards", s)
	}
	return first, last, nil
}

func portNumber(what, s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 || s[0] == '+' {
		return 0, fmt.Errorf("%s %q is not a number from 1 to 65535", what, s)
	}
	return uint16(n), nil
}

// String is p as a user types it, for messages.
func (p Port) String() string {
	host := p.HostIP
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if host != "" {
		host += ":"
	}
	port := ""
	if p.HostPort != 0 {
		port = strconv.Itoa(int(p.HostPort))
	}
	if p.HostPortEnd != 0 {
		port += "-" + strconv.Itoa(int(p.HostPortEnd))
	}
	return host + port + ":" + strconv.Itoa(int(p.ContainerPort)) + "/" + p.Proto
}

// Check is what the keeper, which trusts nobody, asks of a port from a message.
func (p Port) Check() error {
	if p.Proto != "tcp" && p.Proto != "udp" {
		return fmt.Errorf("unknown protocol %q", p.Proto)
	}
	if p.ContainerPort == 0 {
		return errors.New("a container port of 0")
	}
	if p.HostPortEnd != 0 && (p.HostPort == 0 || p.HostPortEnd < p.HostPort) {
		return fmt.Errorf("host ports %d to %d", p.HostPort, p.HostPortEnd)
	}
	if p.HostIP == "" {
		return nil
	}
	if addr, err := netip.ParseAddr(p.HostIP); err != nil || addr.Zone() != "" {
		return fmt.Errorf("%q is not an IP address", p.HostIP)
	}
	return nil
}

// Names says whether pattern, what a user wants unpublished, means p: the container
// port and protocol are the same, and address and host port where pattern has them.
func Names(pattern, p Port) bool {
	if pattern.ContainerPort != p.ContainerPort || pattern.Proto != p.Proto {
		return false
	}
	if pattern.HostIP != "" && pattern.HostIP != p.HostIP {
		return false
	}
	last := max(pattern.HostPort, pattern.HostPortEnd)
	return pattern.HostPort == 0 || p.HostPort >= pattern.HostPort && p.HostPort <= last
}
