package bridge

import (
	"fmt"
	"net/netip"
	"strconv"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/slirp"
)

// Way is the way out of N0: the tap that slirp4netns makes in it.
type Way struct {
	Device string       // slirp.Device
	Prefix netip.Prefix // its network, as given to slirp4netns by --cidr; a /24
	IPv6   bool         // started with --enable-ipv6
}

// DefaultWay is how slirp4netns comes up without --cidr.
var DefaultWay = Way{Device: slirp.Device, Prefix: netip.MustParsePrefix("10.0.2.0/24")}

// Slirp4netns are the arguments that start one for N0. The new process must inherit
// (os/exec: ExtraFiles) N0 (World.File) as descriptor n0, and the writing end of a pipe
// as descriptor ready, on which it writes "1" when the tap is there: then call Uplink.
//
// slirp4netns PID joins the user namespace of PID first, and joining the one that one
// is in already is EINVAL (setns(2)). With --netns-type=path and no --userns-path it
// leaves that step out (its main.c, nsenter), joins the network namespace at the path
// alone, and keeps the caller's user namespace, U0; sandbox and seccomp work as ever.
// The path is a descriptor that the process has inherited: no id of a process or thread
// that could be another's by then. -r without -c is a refusal in some versions, so -c
// is given too; Uplink sets the same again, and what -c leaves out.
func Slirp4netns(n0, ready int, way Way) []string {
	args := []string{"-c", "-r", strconv.Itoa(ready), "--mtu", strconv.Itoa(slirp.MTU), "--cidr", way.Prefix.String(),
		"--disable-host-loopback", "--enable-sandbox", "--enable-seccomp"}
	if way.IPv6 {
		args = append(args, "--enable-ipv6")
	}
	return append(args, "--netns-type=path", "/proc/self/fd/"+strconv.Itoa(n0), way.Device)
}

// WayOut chooses the prefix of slirp4netns: the first that overlaps neither taken (the
// host's routes: what is behind it there could not be reached) nor a network in N0.
func (w *World) WayOut(taken []netip.Prefix, ipv6 bool) Way {
	way := DefaultWay
	way.IPv6 = ipv6 && w.ipv6
	_ = w.Do(func() error {
		for _, n := range w.networks {
			for _, p := range n.pools() {
				taken = append(taken, p.Prefix)
			}
		}
		return nil
	})
	for _, c := range []string{"10.0.2.0/24", "10.211.2.0/24", "172.29.250.0/24", "192.168.250.0/24"} {
		way.Prefix = netip.MustParsePrefix(c)
		if !overlapsAny(way.Prefix, taken) {
			return way
		}
	}
	return DefaultWay // as good as any
}

func overlapsAny(p netip.Prefix, list []netip.Prefix) bool {
	for _, other := range list {
		if other.Bits() > 0 && p.Overlaps(other) { // a default route is not taken by anybody
			return true
		}
	}
	return false
}

// Uplink gives the tap that a slirp4netns has just made its addresses, brings it up
// and sends everything there that leaves N0. It is called again after each restart of
// slirp4netns; connections of the containers have ended then, since they lived in it.
func (w *World) Uplink(way Way) error {
	err := w.Do(func() error {
		if way.Device != w.filter.way.Device || way.Prefix != w.filter.way.Prefix {
			if err := w.filter.rebuild(w.networks, w.ports, way); err != nil {
				return err
			}
		}
		return w.raiseTap(way)
	})
	if err != nil {
		return hint.New("lead the containers out by "+way.Device, err, "")
	}
	return nil
}

// linkIndex is ENODEV for a name that there is not.
func (w *World) linkIndex(name string) (int, error) {
	b, err := body(ifinfomsg(0, false), func(ae *netlink.AttributeEncoder) { ae.String(unix.IFLA_IFNAME, name) })
	got, err := w.route.get(request{"find " + name, unix.RTM_GETLINK, 0, b, err})
	if err != nil {
		return 0, err
	}
	for _, m := range got {
		if l, ok := parseLink(m); ok && l.name == name {
			return l.index, nil
		}
	}
	return 0, fmt.Errorf("find %s: %w", name, unix.ENODEV)
}

func (w *World) raiseTap(way Way) error {
	index, err := w.linkIndex(way.Device)
	if err != nil {
		return err
	}
	w.index = max(w.index, index) // ours never meet those that the kernel chooses
	// slirp4netns(1): .2 is the gateway, .100 the guest.
	at := func(n byte) netip.Addr { a := way.Prefix.Addr().As4(); a[3] = n; return netip.AddrFrom4(a) }
	requests := []request{forwardV4(index), setMTU(index, slirp.MTU), setUp(index),
		replaced(newAddress(index, netip.PrefixFrom(at(100), way.Prefix.Bits()))), replaced(newDefault(index, at(2), 0))}
	if way.IPv6 && w.ipv6 {
		if err := setSysctl("net/ipv6/conf/"+way.Device+"/disable_ipv6", "0"); err != nil {
			return err
		}
		ip6 := uplink6.Addr().As16()
		ip6[15] = 100
		requests = append(requests, replaced(newAddress(index, netip.PrefixFrom(netip.AddrFrom16(ip6), uplink6.Bits()))))
		ip6[15] = 2
		requests = append(requests, replaced(newDefault(index, netip.AddrFrom16(ip6), 0)))
	}
	return w.route.run(requests...)
}

// replaced makes a request to create one that also does when it is there already.
func replaced(r request) request {
	r.flag = netlink.Create | netlink.Replace
	return r
}
