package spec

import (
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/slirp"
)

// DefaultKind is the network of a container whose user names none.
const DefaultKind = KindBridge

// network reads --network and what belongs to it. Docker's `default` and podman's
// `private` are what a container gets without the flag.
func (b *builder) network() error {
	values := b.o.Network
	if len(values) == 0 {
		values, b.plan.Unnamed = []string{""}, true
	}
	for _, value := range values {
		if err := b.oneNetwork(value); err != nil {
			return err
		}
	}
	if err := b.endpointFlags(); err != nil {
		return err
	}
	if b.o.HostLoopback {
		switch kind := b.plan.Network.Kind; kind {
		case KindNone, KindContainer:
			return hint.Newf("--host-loopback", "leave it out", "with --network=%s there is no way to the host", kind)
		default:
			b.plan.HostLoop = true
		}
	}
	b.addNamespace(specs.NetworkNamespace, b.plan.Network)
	return nil
}

// oneNetwork reads one --network. Several can only be bridge networks.
func (b *builder) oneNetwork(value string) error {
	kind, options, hasOptions := strings.Cut(value, ":")
	mode := NamespaceMode{Kind: DefaultKind}
	switch kind {
	case "", "default", "private":
	case "slirp4netns", "pasta", "host", "none":
		mode.Kind = NamespaceKind(kind)
	case "container":
		mode = NamespaceMode{Kind: KindContainer, Container: options}
		if options == "" {
			return refuse("--network", value, "write container:NAME or container:ID", "no container is named")
		}
	case "ns":
		return refuse("--network", value, "join a container's: --network container:NAME", "a namespace without its user namespace cannot be used")
	default:
		mode.Kind = KindBridge
	}
	if have := b.plan.Network.Kind; have != "" && (have != KindBridge || mode.Kind != KindBridge) {
		return refuse("--network", value, "give --network once, or name bridge networks only", "it cannot be combined with %s, which was given before", quoted(b.o.Network[0]))
	}
	b.plan.Network = mode
	switch {
	case mode.Kind == KindBridge:
		return b.bridge(value)
	case !hasOptions || mode.Kind == KindContainer:
		return nil
	case mode.Kind == KindPasta:
		var err error
		if b.plan.PastaOptions, err = slirp.ParsePasta(options); err != nil {
			return badFlag("--network", value, err, "see pasta(1)")
		}
		return nil
	case mode.Kind != KindSlirp:
		return refuse("--network", value, "leave out everything after "+strconv.Quote(kind), "it takes no options")
	}
	return b.slirpOptions(value, options)
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
