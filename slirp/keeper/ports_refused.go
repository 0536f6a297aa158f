package keeper

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/slirp"
	"github.com/rc-containers/rc/slirp/forward"
)

// refusePort says what the kernel said and what to do about it. asker, the container
// that wants the port, has no need to hear of itself.
func refusePort(asker string, p slirp.Port, err error) error {
	op := "publish port " + p.String()
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return hint.New(op, err, "")
	}
	fix := ""
	switch errno {
	case unix.EADDRINUSE:
		fix = takenBy(p, asker)
	case unix.EACCES:
		fix = "publish a port that is not privileged"
		if start, ok := unprivilegedStart(); ok && int(p.HostPort) < start {
			fix = fmt.Sprintf("choose a host port from %d on, or let users have this one: `sudo sysctl net.ipv4.ip_unprivileged_port_start=%d`", start, p.HostPort)
		}
	case unix.EADDRNOTAVAIL:
		fix = "publish on an address that this host has: ip -brief address"
	case unix.EAFNOSUPPORT:
		fix = "this host has no such protocol: publish on an IPv4 address"
	case unix.EINVAL:
		if addr, err := netip.ParseAddr(p.HostIP); err == nil && addr.IsLinkLocalUnicast() {
			// ipv6(7): such an address is one together with its interface.
			fix = "a link-local address is on every interface: publish on another one, or on [::]"
		}
	case unix.EMFILE, unix.ENFILE:
		fix = "publish fewer ports, or allow more descriptors: ulimit -Hn"
	}
	return hint.New(op, errno, fix)
}

// takenBy names the container that has the port, if one of ours has.
func takenBy(p slirp.Port, asker string) string {
	switch owner := holders.of(p); owner {
	case "":
	case asker:
		return "give each of its ports another host port"
	default:
		return fmt.Sprintf("container %s publishes it: choose another host port, or: rc stop %s", owner, owner)
	}
	table := "-lntp"
	if p.Proto == "udp" {
		table = "-lnup"
	}
	filter := fmt.Sprintf("sport = :%d", p.HostPort)
	if p.HostPortEnd != 0 {
		filter = fmt.Sprintf("sport >= :%d and sport <= :%d", p.HostPort, p.HostPortEnd)
	}
	return fmt.Sprintf("choose another host port, or see who has this one: ss %s '%s'", table, filter)
}

func unprivilegedStart() (int, bool) {
	data, err := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start")
	if err != nil {
		return 0, false
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(data)))
	return n, err == nil
}

// holders are the host's ports that containers have, for messages only: the kernel
// decides who gets one.
var holders = register{owner: map[forward.Port]string{}}

type register struct {
	mu    sync.Mutex
	owner map[forward.Port]string
}

func (r *register) enter(owner string, o opened) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.owner[o.gate] = owner
}

func (r *register) leave(list []opened) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, o := range list {
		delete(r.owner, o.gate)
	}
}

// of finds who is in the way of p: the same port of an address that it shares.
func (r *register) of(p slirp.Port) string {
	addr, err := netip.ParseAddr(p.HostIP)
	everywhere := err != nil || addr.IsUnspecified()
	r.mu.Lock()
	defer r.mu.Unlock()
	for gate, owner := range r.owner {
		port, its := gate.Host.Port(), gate.Host.Addr()
		if gate.Proto != p.Proto || port < p.HostPort || port > max(p.HostPort, p.HostPortEnd) {
			continue
		}
		if everywhere || !its.IsValid() || its.IsUnspecified() || its == addr.Unmap() {
			return owner
		}
	}
	return ""
}
