package bridge

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// settings are N0's own, below /proc/sys. What else differs from the kernel's defaults
// is set on each link.
var settings = []struct {
	name, value string
	optional    bool // the kernel may be built without it
}{
	{"net/ipv4/ip_forward", "1", false},
	// A container that asks for a neighbour is told its own network's only: answers for
	// the gateways of all networks would be an address on each (weak host model).
	{"net/ipv4/conf/all/arp_ignore", "1", false},
	{"net/ipv4/conf/all/accept_redirects", "0", false},
	{"net/ipv4/conf/default/accept_redirects", "0", false},
	{"net/ipv4/conf/all/send_redirects", "0", false},
	{"net/ipv4/conf/default/send_redirects", "0", false},
	// Refusals are for our own containers, by veths that cost nothing: each must be said,
	// or some wait for a time-out. Unlimited, they also take nothing from the limit that
	// older kernels share between all namespaces (icmp_msgs_per_sec).
	{"net/ipv4/icmp_ratemask", "0", true},
	{"net/ipv6/icmp/ratelimit", "0", true},
	// Ends of veths need no IPv6 of their own; bridges that do are given it (raise). It
	// saves each start a link-local address, the search for its double, and reports.
	{"net/ipv6/conf/default/disable_ipv6", "1", true},
	{"net/ipv6/conf/default/accept_ra", "0", true},
	{"net/ipv6/conf/default/addr_gen_mode", "1", true},
	{"net/ipv6/conf/all/forwarding", "1", true},
	// Between ports of one bridge the filter of the bridge family decides. Sending each
	// packet through that of IP, and connection tracking, halves the throughput.
	{"net/bridge/bridge-nf-call-iptables", "0", true},
	{"net/bridge/bridge-nf-call-ip6tables", "0", true},
	{"net/bridge/bridge-nf-call-arptables", "0", true},
}

// ErrReadOnly is what a container engine does to /proc/sys of those inside: N0 cannot be
// made a router. errors.Is finds it below the refusal of Open.
var ErrReadOnly = errors.New("/proc/sys cannot be written here")

// prepare sets N0 up, or finds it so.
func (w *World) prepare() error {
	w.ipv6 = unix.Access("/proc/sys/net/ipv6/conf/all", unix.F_OK) == nil
	for _, s := range settings {
		err := setSysctl(s.name, s.value)
		switch {
		case err == nil || s.optional && errors.Is(err, fs.ErrNotExist):
		case errors.Is(err, unix.EROFS) || errors.Is(err, unix.EACCES):
			return fmt.Errorf("%w: %w", ErrReadOnly, err)
		default:
			return err
		}
	}
	return w.route.run(setUp(1), // lo, which is always the first
		// While slirp4netns is restarted there is no tap: what goes out then is lost in
		// silence and sent again by TCP a second later; a refusal would be final.
		replaced(lost()))
}

// fixFor is what to do about a refusal.
func fixFor(err error) string {
	var taken *takenBy
	switch {
	case errors.As(err, &taken):
		return "choose another --ip, or none"
	case errors.Is(err, errOverlap):
		return "choose another --subnet for one of them (rc network ls)"
	case errors.Is(err, ErrNoFilter):
		return "load it: `sudo modprobe nf_tables`; --network=slirp4netns works without it"
	case errors.Is(err, ErrReadOnly):
		return "run rc outside of this container, or that one with --security-opt systempaths=unconfined; --network=slirp4netns works without it"
	case errors.Is(err, unix.ENOSPC):
		return "remove containers from it, or make a network with a larger --subnet"
	case errors.Is(err, unix.EXFULL):
		return "a bridge has room for 1,023 containers: use another network"
	case errors.Is(err, os.ErrClosed):
		return "try again"
	}
	return ""
}
