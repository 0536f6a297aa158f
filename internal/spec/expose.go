package spec

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/rc-containers/rc/slirp"
)

// ParseExpose reads --expose PORT[-PORT][/tcp|udp] into Docker's form, "80/tcp".
func ParseExpose(value string) ([]string, error) {
	const form = "write PORT[-PORT][/tcp|udp], as in 80 or 5000-5010/udp"
	ports, proto, typed := strings.Cut(value, "/")
	if !typed {
		proto = "tcp"
	}
	proto = strings.ToLower(proto)
	if proto != "tcp" && proto != "udp" {
		return nil, refuse("--expose", value, form, "only tcp and udp are published")
	}
	first, last, ranged := strings.Cut(ports, "-")
	if !ranged {
		last = first
	}
	from, err1 := strconv.ParseUint(first, 10, 16)
	to, err2 := strconv.ParseUint(last, 10, 16)
	if err1 != nil || err2 != nil || from == 0 || to < from || to-from >= slirp.MaxPorts {
		return nil, refuse("--expose", value, form, "not a port")
	}
	var list []string
	for p := from; p <= to; p++ {
		list = append(list, fmt.Sprintf("%d/%s", p, proto))
	}
	return list, nil
}

// expose reads --expose.
func (b *builder) expose() error {
	for _, value := range b.o.Expose {
		ports, err := ParseExpose(value)
		if err != nil {
			return err
		}
		for _, p := range ports {
			if !slices.Contains(b.plan.Exposed, p) {
				b.plan.Exposed = append(b.plan.Exposed, p)
			}
		}
	}
	return nil
}

// publishAll is -P: each port that the image or --expose names gets a free one of
// the host, unless -p has published it. As in Docker it means nothing where the
// network is not the container's own.
func (b *builder) publishAll() error {
	if !b.o.PublishAll || !b.plan.Network.Kind.Kept() {
		return nil
	}
	names := slices.Clone(b.plan.Exposed)
	for _, name := range slices.Sorted(maps.Keys(b.img.ExposedPorts)) {
		more, err := ParseExpose(name)
		if err != nil {
			b.warn("the image exposes " + quoted(name) + ", which cannot be published")
			continue
		}
		names = append(names, more...)
	}
	for _, name := range names {
		number, proto, _ := strings.Cut(name, "/")
		port, _ := strconv.ParseUint(number, 10, 16)
		known := slices.ContainsFunc(b.plan.Ports, func(p slirp.Port) bool { return p.ContainerPort == uint16(port) && p.Proto == proto })
		if !known {
			b.plan.Ports = append(b.plan.Ports, slirp.Port{ContainerPort: uint16(port), Proto: proto})
		}
	}
	if len(b.plan.Ports) > slirp.MaxPorts {
		return refuse("--publish-all", "true", "publish those that you need by -p", "%d ports at once are more than %d", len(b.plan.Ports), slirp.MaxPorts)
	}
	return nil
}
