package engine

import (
	"os"
	"slices"
	"strings"

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
	hosts, d := slirp.Hosts{Name: c.Spec.Hostname}, c.Again.DNS
	kind := spec.NamespaceKind(c.Network)
	switch kind {
	case spec.KindSlirp:
		hosts.IP = slirp.Address
	case spec.KindBridge:
		hosts.Name = "" // its address is the keeper's to choose: the shim writes the line
	}
	if kind.Kept() {
		hosts.Gateway = gatewayAddress(c)
		d.AddHosts = hostNames(d.AddHosts, hosts.Gateway, kind)
	}
	text, err := hosts.Text(d)
	if err != nil {
		return nil, err
	}
	return map[string]string{"hosts": text, "hostname": c.Spec.Hostname + "\n", "resolv.conf": resolvConf(c)}, nil
}

// resolvConf is the text of a container that does not share another's network.
func resolvConf(c *start.Config) string {
	host := slirp.HostResolvConf()
	switch spec.NamespaceKind(c.Network) {
	case spec.KindSlirp:
		return slirp.ResolvConf(c.Again.DNS, host, slirp.Resolver)
	case spec.KindPasta:
		server := slirp.PastaResolver
		if slices.Contains(c.Attach.PastaOptions, "-6") || slices.Contains(c.Attach.PastaOptions, "--ipv6-only") {
			server = slirp.PastaResolver6
		}
		return slirp.ResolvConf(c.Again.DNS, host, server)
	case spec.KindBridge:
		return slirp.BridgeResolvConf(c.Again.DNS, host, resolvers(c.Attach.Endpoints)...)
	}
	return slirp.ResolvConf(c.Again.DNS, host)
}

// resolvers are the gateways that answer for names, of each network one, and three
// at most: who resolves asks no more (resolv.conf(5), MAXNS).
func resolvers(ends []slirp.Endpoint) []string {
	var list []string
	for i := range ends {
		if n := &ends[i].Network; !n.NoDNS && len(n.Subnets) > 0 && len(list) < 3 {
			list = append(list, n.Subnets[0].Gateway.String())
		}
	}
	return list
}

// hostNames are the lines that the user adds, without those that ask for the host's
// address where it has none (it is offline). On a network of its own the container
// finds the host by podman's and Docker's name in this file; on bridges the keeper
// answers for them, and follows the host to another address.
func hostNames(typed []string, gateway string, kind spec.NamespaceKind) []string {
	list := slices.Clone(typed)
	if gateway == "" {
		return slices.DeleteFunc(list, func(s string) bool { return strings.HasSuffix(s, slirp.HostGateway) })
	}
	if kind != spec.KindBridge {
		list = append(list, "host.containers.internal:"+gateway, "host.docker.internal:"+gateway)
	}
	return list
}

// gatewayAddress is what host-gateway means: the host's loopback where the
// network may reach it, else the address that others know the host by; "" of a host
// that is offline.
func gatewayAddress(c *start.Config) string {
	if c.Attach.HostLoopback {
		if spec.NamespaceKind(c.Network) == spec.KindPasta {
			return slirp.PastaLoopback(c.Attach.PastaOptions)
		}
		return slirp.Gateway
	}
	addr, err := slirp.HostAddress()
	if err != nil {
		addr = slirp.HostAddress6()
	}
	if !addr.IsValid() {
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
			return nil, hint.New("copy "+name+" of container "+shortID(id), hint.Cause(err), "")
		}
		texts[name] = string(data)
	}
	return texts, nil
}
