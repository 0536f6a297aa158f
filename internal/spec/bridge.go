package spec

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/slirp"
)

// maxAliases bounds the further names of a container on one network, so that an
// Attach stays below stage.MaxPacket.
const maxAliases = 64

// reserved are words of --network and of other tools, which name no network.
var reserved = []string{"host", "none", "default", "container", "private", "ns", "slirp4netns", "pasta"}

// CheckNetworkName checks the name of a network by Docker's rule (moby,
// daemon/names; one character is enough).
func CheckNetworkName(name string) error {
	op := "name a network " + quoted(name)
	if slices.Contains(reserved, name) {
		return hint.Newf(op, "choose another name", "the word has a meaning of its own after --network").WithCode(1)
	}
	if why := badName(name + "x"); why != "" {
		return hint.Newf(op, "use letters, digits, _ . and -, a letter or digit first, at most 127 of them", "%s", why).WithCode(1)
	}
	return nil
}

// bridge reads one --network that names a bridge network: NAME[:KEY=VALUE,…] as
// podman has it, or Docker's name=NAME,KEY=VALUE,….
func (b *builder) bridge(value string) error {
	use, err := ParseNetwork(value)
	if err != nil {
		return err
	}
	for _, have := range b.plan.Networks {
		if have.Name == use.Name {
			return refuse("--network", value, "name each network once", "network %s is named twice", use.Name)
		}
	}
	if b.plan.Networks = append(b.plan.Networks, *use); len(b.plan.Networks) > slirp.MaxEndpoints {
		return refuse("--network", value, "leave some out", "a container can be on %d networks at most", slirp.MaxEndpoints)
	}
	return nil
}

// NetworksOf are the bridge networks that o names, which Check has found right.
func NetworksOf(o *Options) []record.NetworkUse {
	b := newBuilder(&Input{Options: o})
	if b.network() != nil {
		return nil
	}
	return b.plan.Networks
}

// ParseNetwork reads the value of a --network that names a bridge network. That it
// exists is for the engine to see.
func ParseNetwork(value string) (*record.NetworkUse, error) {
	name, options, _ := strings.Cut(value, ":")
	long := strings.Contains(name, "=") // Docker's form: an address of IPv6 has its colons later
	if long {
		name, options = "", value
	}
	use := &record.NetworkUse{Name: name}
	for option := range strings.SplitSeq(options, ",") {
		if option == "" {
			continue
		}
		key, text, _ := strings.Cut(option, "=")
		if err := networkOption(use, key, text, long); err != nil {
			return nil, badFlag("--network", value, err, "the options are ip=, ip6=, mac=, alias= and interface_name=")
		}
	}
	if use.Name == "" && long {
		return nil, refuse("--network", value, "write NAME, or name=NAME,ip=ADDRESS", "no network is named")
	}
	if use.Name == "" || use.Name == "default" || use.Name == "private" {
		use.Name = slirp.DefaultNetwork
	}
	if err := CheckNetworkName(use.Name); err != nil {
		return nil, badFlag("--network", value, err, "")
	}
	return use, nil
}

// networkOption takes one option in. The names are podman's (podman-run(1),
// --network) and Docker's (docker/cli, opts/network.go).
func networkOption(use *record.NetworkUse, key, text string, long bool) error {
	switch key {
	case "name":
		if !long || use.Name != "" {
			return hint.Newf("", "", "the network is named already")
		}
		use.Name = text
		return nil
	case "ip":
		addr, err := netip.ParseAddr(text)
		if err == nil && addr.Is6() {
			return SetNetworkIP(use, "", text)
		}
		return SetNetworkIP(use, text, "")
	case "ip6":
		return SetNetworkIP(use, "", text)
	case "mac", "mac-address":
		return setMAC(use, text)
	case "alias":
		return AddAliases(use, []string{text})
	case "interface_name", "driver-opt":
		if key == "driver-opt" {
			name, ok := strings.CutPrefix(text, "com.docker.network.endpoint.ifname=")
			if !ok {
				return hint.Newf("", "leave it out", "%s is no option of a bridge here", quoted(text))
			}
			text = name
		}
		return setInterface(use, text)
	case "gw-priority":
		return hint.Newf("", "name the network first whose gateway shall be the way out", "the first network is the way out")
	}
	return hint.Newf("", "", "no such option: %s", quoted(key))
}

// SetNetworkIP takes --ip and --ip6 in; "" leaves an address as it is.
func SetNetworkIP(use *record.NetworkUse, ip, ip6 string) error {
	const twice, one = "give one", "two addresses of one kind"
	if ip != "" {
		addr, err := netip.ParseAddr(ip)
		switch {
		case err != nil || !addr.Is4():
			return hint.Newf("", "write an address of the network's subnet, as in 10.89.0.7", "%s is not an IPv4 address", quoted(ip))
		case use.IP.IsValid():
			return hint.Newf("", twice, one)
		}
		use.IP = addr
	}
	if ip6 != "" {
		addr, err := netip.ParseAddr(ip6)
		switch {
		case err != nil || !addr.Is6() || addr.Is4In6() || addr.Zone() != "":
			return hint.Newf("", "write an address of the network's subnet, as in fd00::7", "%s is not an IPv6 address", quoted(ip6))
		case use.IP6.IsValid():
			return hint.Newf("", twice, one)
		}
		use.IP6 = addr
	}
	return nil
}

// setMAC wants six pairs of hex digits, of one station (IEEE 802: the lowest bit of
// the first byte is that of groups).
func setMAC(use *record.NetworkUse, text string) error {
	const form = "write six pairs of hex digits, as in 02:42:ac:11:00:02"
	parts := strings.Split(strings.ReplaceAll(strings.ToLower(text), "-", ":"), ":")
	zero := true
	for _, p := range parts {
		n, err := strconv.ParseUint(p, 16, 8)
		if err != nil || len(p) != 2 || len(parts) != 6 {
			return hint.Newf("", form, "%s is not a MAC address", quoted(text))
		}
		zero = zero && n == 0
	}
	first, _ := strconv.ParseUint(parts[0], 16, 8)
	switch {
	case zero || first&1 != 0:
		return hint.Newf("", form, "%s is not the MAC address of one device", quoted(text))
	case use.MAC != "":
		return hint.Newf("", "give one", "two MAC addresses")
	}
	use.MAC = strings.Join(parts, ":")
	return nil
}

// setInterface wants a name that the kernel takes (dev_valid_name in its
// net/core/dev.c).
func setInterface(use *record.NetworkUse, name string) error {
	bad := name == "" || len(name) > 15 || name == "." || name == ".." || name == "lo" || name == slirp.Device
	for i := range len(name) {
		bad = bad || name[i] <= ' ' || name[i] > '~' || name[i] == '/' || name[i] == ':' || name[i] == '%'
	}
	if bad {
		return hint.Newf("", "write a name of 1 to 15 characters, as in eth1", "%s is not a name for an interface", quoted(name))
	}
	use.Interface = name
	return nil
}

// AddAliases adds further names of a container on a network, each once.
func AddAliases(use *record.NetworkUse, names []string) error {
	for _, name := range names {
		if err := slirp.CheckName(name); err != nil {
			return hint.New("", err, "write a host name")
		}
		if !slices.Contains(use.Aliases, name) {
			use.Aliases = append(use.Aliases, name)
		}
	}
	if len(use.Aliases) > maxAliases {
		return hint.Newf("", "leave some out", "more than %d names on one network", maxAliases)
	}
	return nil
}

// endpointFlags reads --ip, --ip6, --mac-address and --network-alias. As in Docker
// they are about the first network (docker/cli, container/opts.go,
// applyContainerOptions).
func (b *builder) endpointFlags() error {
	var use *record.NetworkUse
	if len(b.plan.Networks) > 0 {
		use = &b.plan.Networks[0]
	}
	for _, f := range []struct {
		flag   string
		values []string
		apply  func(use *record.NetworkUse, v string) error
	}{
		{"--ip", present(b.o.IP), func(u *record.NetworkUse, v string) error { return SetNetworkIP(u, v, "") }},
		{"--ip6", present(b.o.IP6), func(u *record.NetworkUse, v string) error { return SetNetworkIP(u, "", v) }},
		{"--mac-address", present(b.o.MAC), setMAC},
		{"--network-alias", b.o.NetworkAlias, func(u *record.NetworkUse, v string) error { return AddAliases(u, []string{v}) }},
	} {
		for _, v := range f.values {
			if use == nil {
				return refuse(f.flag, v, "name a bridge network: --network "+slirp.DefaultNetwork, "only bridge networks have addresses and names to choose")
			}
			if err := f.apply(use, v); err != nil {
				return badFlag(f.flag, v, err, "")
			}
		}
	}
	return nil
}

func present(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}
