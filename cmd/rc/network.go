package main

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"github.com/rc-containers/rc/internal/engine"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/spec"
)

// networkCommands are the verbs of networks.
func networkCommands() []*command {
	return []*command{
		networkCreateCommand(), networkLsCommand(), networkInspectCommand(), networkRmCommand(), networkPruneCommand(),
		networkConnectCommand(), networkDisconnectCommand(), networkExistsCommand(),
	}
}

type networkCreateOptions struct {
	engine.NetworkOptions
	driver, ipam string
	labels       []string
	ipv4         bool
}

func networkCreateCommand() *command {
	o := &networkCreateOptions{}
	return &command{
		name: "network create", args: "[NETWORK]", short: "Make a network",
		long: `Containers on one network find each other by name, and reach no other network of
yours. Subnets that are not named are chosen so that they overlap no other network's
and no route of the host. The name is printed.`,
		examples: []string{"rc network create app", "rc network create --subnet 192.168.77.0/24 --gateway 192.168.77.254 app",
			"rc network create --ipv6 --internal db"},
		flags: func(fs *pflag.FlagSet) {
			fs.StringVarP(&o.driver, "driver", "d", "bridge", "make it by this `DRIVER`: bridge")
			fs.StringArrayVar(&o.Subnets, "subnet", nil, "use this `SUBNET`: ADDRESS/BITS, one of IPv4 and one of IPv6")
			fs.StringArrayVar(&o.Gateways, "gateway", nil, "give the network itself this `ADDRESS` (default the first of the subnet)")
			fs.StringArrayVar(&o.Ranges, "ip-range", nil, "choose containers' addresses in this `RANGE`: ADDRESS/BITS")
			fs.BoolVar(&o.IPv6, "ipv6", false, "with IPv6, too")
			fs.BoolVar(&o.ipv4, "ipv4", true, "with IPv4; =false for IPv6 alone")
			fs.BoolVar(&o.Internal, "internal", false, "without a way out")
			fs.BoolVar(&o.NoDNS, "disable-dns", false, "do not answer for containers' names")
			fs.BoolVar(&o.Ignore, "ignore", false, "leave one that exists as it is")
			fs.StringArrayVar(&o.labels, "label", nil, "attach the label `KEY=VALUE`")
			fs.StringArrayVarP(&o.Options, "opt", "o", nil, "set this `OPTION`: mtu=BYTES, isolate=true")
			fs.StringVar(&o.ipam, "ipam-driver", "default", "choose addresses by this `DRIVER`: default")
			_ = fs.MarkHidden("ipam-driver")
			refuseFlags(fs, "there is no cluster", "leave it out", "attachable!", "config-from", "config-only!", "ingress!", "scope")
			refuseFlags(fs, "every address has its container, or is free", "keep some out by --ip-range", "aux-address")
			refuseFlags(fs, "there are no drivers of addresses", "leave it out", "ipam-opt")
			refuseFlags(fs, "the bridge is in a namespace of yours, and no interface of the host", "leave it out", "interface-name")
			refuseFlags(fs, "the network asks the resolvers of the host as they are now", "give the container some: rc run --dns", "dns")
			refuseFlags(fs, "the way out is the network's gateway", "leave it out", "route")
		},
		run: o.run,
	}
}

func (o *networkCreateOptions) run(g *global, args []string) (int, error) {
	switch {
	case o.driver != "bridge" && o.driver != "default" && o.driver != "":
		return 0, hint.Newf("--driver "+o.driver, "leave it out, or use the host's network: rc run --network host",
			"there is no driver but bridge: others put an interface on the host, which takes its root").WithCode(1)
	case o.ipam != "default" && o.ipam != "host-local" && o.ipam != "":
		return 0, hint.Newf("--ipam-driver "+o.ipam, "leave it out", "rc itself chooses the addresses").WithCode(1)
	case len(args) > 1:
		return 0, noArgs("network create", args[1:])
	}
	o.Name, o.NoIPv4 = strings.Join(args, ""), !o.ipv4
	var err error
	if o.NetworkOptions.Labels, err = labelsOf(o.labels); err != nil {
		return 0, err
	}
	e, err := g.open()
	if err != nil {
		return 0, err
	}
	defer e.Close()
	n, err := e.CreateNetwork(&o.NetworkOptions)
	if err == nil {
		fmt.Fprintln(stdout, n.Name)
	}
	return 0, err
}

func networkRmCommand() *command {
	force := false
	return &command{
		name: "network rm", aliases: []string{"network remove"}, args: "NETWORK...", short: "Remove networks",
		long: "A network that a container is on, running or not, stays, and the refusal names the\ncontainer. When one of several cannot be removed, the others are, and the exit code is 1.\n" +
			"The default network, bridge, is made again with its next container.",
		examples: []string{"rc network rm app"},
		flags: func(fs *pflag.FlagSet) {
			fs.BoolVarP(&force, "force", "f", false, "remove its containers first; one that does not exist is no error")
		},
		run: func(g *global, args []string) (int, error) {
			if len(args) == 0 {
				return 0, hint.Newf("rc network rm", "see `rc network rm --help`", "no network is named")
			}
			return withEngine(g, "network rm", args, func(e *engine.Engine) (int, error) {
				return eachOf(args, func(ref string) error { return removeNetwork(e, ref, force) })
			})
		},
	}
}

func removeNetwork(e *engine.Engine, ref string, force bool) error {
	removed, err := e.RemoveNetwork(ref, force)
	for _, id := range removed {
		e.Warn("container " + id[:12] + " was on network " + ref + ": removed")
	}
	if err == nil || force && isNoNetwork(err) {
		fmt.Fprintln(stdout, ref)
		return nil
	}
	return err
}

// networkUseOptions are the flags of `network connect`.
type networkUseOptions struct {
	ip, ip6, mac string
	aliases      []string
	driverOpts   []string
}

func networkConnectCommand() *command {
	o := &networkUseOptions{}
	return &command{
		name: "network connect", args: "NETWORK CONTAINER", short: "Put a container on a network more",
		long:     "One that runs gets the interface at once; one that does not, when it is started.\nBoth keep it for later starts.",
		examples: []string{"rc network connect db web", "rc network connect --ip 10.89.1.7 --alias api db web"},
		flags: func(fs *pflag.FlagSet) {
			fs.StringVar(&o.ip, "ip", "", "have this IPv4 `ADDRESS`")
			fs.StringVar(&o.ip6, "ip6", "", "have this IPv6 `ADDRESS`")
			fs.StringVar(&o.mac, "mac-address", "", "have this MAC `ADDRESS`")
			fs.StringArrayVar(&o.aliases, "alias", nil, "answer to this `NAME`, too")
			fs.StringArrayVar(&o.driverOpts, "driver-opt", nil, "com.docker.network.endpoint.ifname=`NAME` names the interface inside")
			refuseFlags(fs, "containers on one network find each other by name", "use --alias for another name", "link")
			refuseFlags(fs, "the kernel chooses link-local addresses", "leave it out, or use --ip6", "link-local-ip")
			refuseFlags(fs, "the first network of a container is its way out", "leave it out", "gw-priority")
		},
		run: func(g *global, args []string) (int, error) {
			if err := twoArgs("network connect", args); err != nil {
				return 0, err
			}
			use, err := o.use(args[0])
			if err != nil {
				return 0, err
			}
			return withEngine(g, "network connect", args, func(e *engine.Engine) (int, error) { return 0, e.Connect(*use, args[1]) })
		},
	}
}

// use checks the flags as those of --network are.
func (o *networkUseOptions) use(network string) (*record.NetworkUse, error) {
	if strings.ContainsAny(network, ":,=") {
		return nil, hint.Newf(fmt.Sprintf("network %q", network), "give addresses and names by --ip, --ip6 and --alias", "not the name of a network").WithCode(1)
	}
	value := "name=" + network
	for _, option := range []struct{ key, value string }{{"ip", o.ip}, {"ip6", o.ip6}, {"mac-address", o.mac}} {
		if option.value != "" {
			value += "," + option.key + "=" + option.value
		}
	}
	for _, alias := range o.aliases {
		value += ",alias=" + alias
	}
	for _, opt := range o.driverOpts {
		value += ",driver-opt=" + opt
	}
	use, err := spec.ParseNetwork(value)
	if err != nil {
		return nil, exitOne(err)
	}
	return use, nil
}

func networkDisconnectCommand() *command {
	force := false
	return &command{
		name: "network disconnect", args: "NETWORK CONTAINER", short: "Take a container off a network",
		long:     "One that runs loses the interface at once, with the connections over it.",
		examples: []string{"rc network disconnect db web"},
		flags: func(fs *pflag.FlagSet) {
			fs.BoolVarP(&force, "force", "f", false, "take it off its record even if the interface cannot be removed now")
		},
		run: func(g *global, args []string) (int, error) {
			if err := twoArgs("network disconnect", args); err != nil {
				return 0, err
			}
			return withEngine(g, "network disconnect", args, func(e *engine.Engine) (int, error) {
				return 0, e.Disconnect(args[0], args[1], force)
			})
		},
	}
}

func twoArgs(name string, args []string) error {
	if len(args) != 2 {
		return hint.Newf("rc "+name, "see `rc "+name+" --help`", "a network and a container are to be named, and %d words are given", len(args))
	}
	return nil
}

func networkExistsCommand() *command {
	return &command{
		name: "network exists", args: "NETWORK", short: "Say by the exit code whether a network exists",
		long: "0 if it does, 1 if not.", examples: []string{"rc network exists app || rc network create app"},
		run: func(g *global, args []string) (int, error) {
			if len(args) != 1 {
				return 0, hint.Newf("rc network exists", "see `rc network exists --help`", "one network is to be named, and %d words are given", len(args))
			}
			return withEngine(g, "network exists", args, func(e *engine.Engine) (int, error) {
				_, err := e.Network(args[0])
				if isNoNetwork(err) {
					return 1, nil
				}
				return 0, err
			})
		},
	}
}
