package spec

import (
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/rc-containers/rc/slirp"
)

const validNetworks = "choose slirp4netns (the default), host, none or container:NAME"

// network reads --network. Docker's `default` and `bridge` are what a container
// gets without the flag, and so they are here.
func (b *builder) network() error {
	value := ""
	switch len(b.o.Network) {
	case 0:
	case 1:
		value = b.o.Network[0]
	default:
		return refuse("--network", b.o.Network[1], "give --network once", "a container is on one network here, and %s was given before", quoted(b.o.Network[0]))
	}
	kind, options, hasOptions := strings.Cut(value, ":")
	mode := &b.plan.Network
	switch kind {
	case "", "default", "bridge", "slirp4netns":
		mode.Kind = KindSlirp
	case "host":
		mode.Kind = KindHost
	case "none":
		mode.Kind = KindNone
	case "container":
		if options == "" {
			return refuse("--network", value, "write container:NAME or container:ID", "no container is named")
		}
		*mode = NamespaceMode{Kind: KindContainer, Container: options}
		hasOptions = false
	default:
		return refuse("--network", value, validNetworks, "no such network (networks of one's own making are not here yet)")
	}
	if hasOptions {
		if kind != "slirp4netns" {
			return refuse("--network", value, "leave out everything after "+strconv.Quote(kind), "only slirp4netns takes options")
		}
		if err := b.slirpOptions(value, options); err != nil {
			return err
		}
	}
	b.addNamespace(specs.NetworkNamespace, *mode)
	return nil
}

// slirpOptions reads what follows "slirp4netns:", in podman's spelling
// (podman-run(1), --network), the only tool that has such options.
func (b *builder) slirpOptions(value, options string) error {
	for option := range strings.SplitSeq(options, ",") {
		key, text, _ := strings.Cut(option, "=")
		switch key {
		case "allow_host_loopback", "enable_ipv6":
			on, err := strconv.ParseBool(text)
			if err != nil {
				return refuse("--network", value, "write "+key+"=true or "+key+"=false", "%s is neither true nor false", quoted(text))
			}
			if key == "enable_ipv6" {
				b.plan.IPv6 = on
			} else {
				b.plan.HostLoop = on
			}
		case "port_handler":
			// The only one we have, and podman's default: it keeps working, and it
			// shows the payload the client's address.
			if text != "rootlesskit" {
				return refuse("--network", value, "leave port_handler out", "ports are always published by rootlesskit")
			}
		default:
			return refuse("--network", value, "the options are allow_host_loopback=BOOL and enable_ipv6=BOOL", "slirp4netns has no option %s here", quoted(key))
		}
	}
	return nil
}

// publish reads -p.
func (b *builder) publish() error {
	for _, value := range b.o.Publish {
		ports, err := slirp.ParsePort(value)
		if err != nil {
			return badFlag("--publish", value, err, "write [IP:][HOSTPORT:]PORT[/udp]")
		}
		for _, p := range ports {
			if b.published(p) {
				return refuse("--publish", value, "give each host port once", "port %d/%s of the host is published twice", p.HostPort, p.Proto)
			}
			b.plan.Ports = append(b.plan.Ports, p)
		}
	}
	if len(b.plan.Ports) == 0 {
		return nil
	}
	first := b.o.Publish[0]
	switch b.plan.Network.Kind {
	case KindHost:
		// A warning and no refusal, as in Docker: scripts give -p whatever the network is.
		b.plan.Ports = nil
		b.warn("published ports are discarded with --network=host: what the container listens on is on the host already")
	case KindNone:
		return refuse("--publish", first, "leave out --publish or --network=none", "a container without a network cannot be reached")
	case KindContainer:
		return refuse("--publish", first, "publish the port when you run "+quoted(b.plan.Network.Container), "the ports of a joined network belong to the container that made it")
	}
	return nil
}

// published tells whether the host port of p is taken by an earlier -p. Ranges
// to choose from may overlap: the keeper takes what is free.
func (b *builder) published(p slirp.Port) bool {
	for _, q := range b.plan.Ports {
		if p.HostPort != 0 && p.HostPortEnd == 0 && q.HostPortEnd == 0 && p.HostPort == q.HostPort && p.Proto == q.Proto && p.HostIP == q.HostIP {
			return true
		}
	}
	return false
}
