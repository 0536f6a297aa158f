package engine

import (
	"os"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/spec"
	"github.com/rc-containers/rc/internal/stage/start"
	"github.com/rc-containers/rc/slirp"
)

// networkTexts are the resolver files of a container, by name. They are made anew
// at each start: the host may have moved to another network.
func (l *launch) networkTexts() (map[string]string, error) {
	c := &l.cfg
	if c.Network == string(spec.KindContainer) {
		return l.joinedTexts()
	}
	hosts := slirp.Hosts{Name: c.Spec.Hostname}
	var servers []string
	if c.Network == string(spec.KindSlirp) {
		hosts.IP, servers = slirp.Address, []string{slirp.Resolver}
	}
	if len(c.Again.DNS.AddHosts) > 0 {
		hosts.Gateway = gatewayAddress(c)
	}
	text, err := hosts.Text(c.Again.DNS)
	if err != nil {
		return nil, err
	}
	return map[string]string{
		"hosts":       text,
		"hostname":    c.Spec.Hostname + "\n",
		"resolv.conf": slirp.ResolvConf(c.Again.DNS, slirp.HostResolvConf(), servers...),
	}, nil
}

// gatewayAddress is what host-gateway means: the host's loopback where the
// network may reach it, else the address that others know the host by.
func gatewayAddress(c *start.Config) string {
	if c.Attach.HostLoopback {
		return slirp.Gateway
	}
	addr, err := slirp.HostAddress()
	if err != nil {
		return ""
	}
	return addr.String()
}

// joinedTexts takes over the files of the container whose network is joined.
func (l *launch) joinedTexts() (map[string]string, error) {
	id := l.cfg.Again.Join
	texts := map[string]string{"hostname": l.cfg.Spec.Hostname + "\n"}
	for _, name := range []string{"hosts", "resolv.conf"} {
		data, err := os.ReadFile(l.e.Store.Path("containers", id, name))
		if err != nil {
			return nil, hint.New("copy "+name+" of container "+shortID(id), rootCause(err), "")
		}
		texts[name] = string(data)
	}
	return texts, nil
}
