package engine

import (
	"encoding/hex"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/slirp"
)

// uplinkSubnet is slirp4netns's own (slirp4netns(1), "CIDR"): the way out of all
// bridge networks goes through it.
var uplinkSubnet = netip.MustParsePrefix("10.0.2.0/24")

// avoided is what a new network's subnet must not overlap.
type avoided struct {
	networks map[netip.Prefix]string // of other networks, and whose they are
	host     []netip.Prefix          // of the host's routes and name servers
}

// overlaps says whose a subnet that overlaps p is; "" for nobody's.
func (a *avoided) overlaps(p netip.Prefix) string {
	for q, name := range a.networks {
		if q.Overlaps(p) {
			return name + " (" + q.String() + ")"
		}
	}
	if i := slices.IndexFunc(a.host, p.Overlaps); i >= 0 {
		return "the host's route to " + a.host[i].String()
	}
	return ""
}

// hostRoutes are the texts of the host's routes, of IPv4 and of IPv6.
func hostRoutes() (four, six string) {
	read := func(path string) string {
		data, _ := os.ReadFile(path) // none without IPv6
		return string(data)
	}
	return read("/proc/net/route"), read("/proc/net/ipv6_route")
}

// onlySix tells whether the host's way out is one of IPv6 alone: a default network
// without IPv6 would lead nowhere. (Else it has none, as Docker's and podman's.)
func onlySix(four, six string) bool {
	const reject = 0x200 // RTF_REJECT: a route that says there is none
	leadsOut := func(text string, dest, bits, flags, device int, zero string) bool {
		for line := range strings.Lines(text) {
			f := strings.Fields(line)
			if len(f) <= max(dest, bits, flags, device) || f[dest] != zero || strings.Trim(f[bits], "0") != "" || f[device] == "lo" {
				continue
			}
			if n, err := strconv.ParseUint(f[flags], 16, 32); err == nil && n&reject == 0 {
				return true
			}
		}
		return false
	}
	return !leadsOut(four, 1, 7, 3, 0, "00000000") && leadsOut(six, 0, 1, 8, 9, strings.Repeat("0", 32))
}

// hostNetworks are what the host reaches by a route of its own: a container on an
// overlapping subnet would not get there any more.
func hostNetworks() []netip.Prefix {
	four, six := hostRoutes()
	list := append(slirp.Routes4(four), routes6(six)...)
	for _, s := range slirp.HostNameServers() {
		if !s.IsLoopback() {
			list = append(list, netip.PrefixFrom(s.WithZone(""), s.BitLen()))
		}
	}
	return list
}

// routes6 reads /proc/net/ipv6_route (rt6_info_route in net/ipv6/route.c). Only
// routes to unicast addresses that more than one link can have count.
func routes6(text string) []netip.Prefix {
	var list []netip.Prefix
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 10 {
			continue
		}
		raw, err1 := hex.DecodeString(f[0])
		bits, err2 := strconv.ParseUint(f[1], 16, 8)
		addr, ok := netip.AddrFromSlice(raw)
		if err1 != nil || err2 != nil || !ok || bits == 0 || bits > 128 || addr.IsLoopback() || addr.IsMulticast() || addr.IsLinkLocalUnicast() {
			continue
		}
		list = append(list, netip.PrefixFrom(addr, int(bits)).Masked())
	}
	return list
}

// freeSubnet chooses a subnet of IPv4. The default network gets a large one, since
// hundreds of containers can be on it: podman's 10.88.0.0/16 or one of Docker's; the
// others podman's /24 from 10.89.0.0 on (containers.conf(5), default_subnet_pools).
func freeSubnet(name string, a *avoided) (netip.Prefix, error) {
	if name == slirp.DefaultNetwork {
		large := []netip.Prefix{netip.MustParsePrefix("10.88.0.0/16")}
		for i := byte(18); i < 32; i++ {
			large = append(large, netip.PrefixFrom(netip.AddrFrom4([4]byte{172, i, 0, 0}), 16))
		}
		for _, p := range large {
			if a.overlaps(p) == "" {
				return p, nil
			}
		}
	}
	for i := 89 << 8; i < 256<<8; i++ {
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 24)
		if a.overlaps(p) == "" {
			return p, nil
		}
	}
	return netip.Prefix{}, hint.Newf("choose a subnet", "name one: --subnet 192.168.77.0/24", "all from 10.89.0.0 to 10.255.255.0 are in use, by networks or by the host's routes")
}

// freeSubnet6 makes a unique local subnet (RFC 4193, section 3.2): 40 random bits.
func freeSubnet6(a *avoided) (netip.Prefix, error) {
	for range 16 {
		b := [16]byte{0: 0xfd}
		if _, err := unix.Getrandom(b[1:6], 0); err != nil {
			return netip.Prefix{}, hint.New("choose a subnet of IPv6", err, "name one: --subnet fd00:1:2:3::/64")
		}
		if p := netip.PrefixFrom(netip.AddrFrom16(b), 64); a.overlaps(p) == "" {
			return p, nil
		}
	}
	return netip.Prefix{}, hint.Newf("choose a subnet of IPv6", "name one: --subnet fd00:1:2:3::/64", "random ones are all in use")
}
