package main

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/rc-containers/rc/internal/engine"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/slirp"
)

func renameCommand() *command {
	return &command{
		name: "rename", args: "CONTAINER NAME", short: "Give a container another name",
		long:     "Its host name, its id and its files stay.",
		examples: []string{"rc rename web web-old"},
		run: func(g *global, args []string) (int, error) {
			if len(args) != 2 {
				return 0, hint.Newf("rc rename", "see `rc rename --help`", "a container and its new name are needed")
			}
			return withEngine(g, "rename", args, func(e *engine.Engine) (int, error) {
				return 0, e.Rename(args[0], args[1])
			})
		},
	}
}

func portCommand() *command {
	return &command{
		name: "port", args: "CONTAINER [PORT[/PROTO]]", short: "Show where a container's ports are published",
		long:     "With a port, only the addresses of the host that lead to it.",
		examples: []string{"rc port web", "rc port web 80/tcp"},
		run: func(g *global, args []string) (int, error) {
			if len(args) > 2 {
				return 0, hint.Newf("rc port", "see `rc port --help`", "a container and perhaps a port are needed")
			}
			return withEngine(g, "port", args, func(e *engine.Engine) (int, error) { return 0, showPorts(e, args) })
		},
	}
}

func showPorts(e *engine.Engine, args []string) error {
	ports, err := e.Ports(args[0])
	if err != nil {
		return err
	}
	slices.SortStableFunc(ports, func(a, b slirp.Port) int {
		if a.ContainerPort != b.ContainerPort {
			return int(a.ContainerPort) - int(b.ContainerPort)
		}
		return strings.Compare(a.Proto, b.Proto)
	})
	if len(args) == 1 {
		for _, p := range ports {
			fmt.Fprintf(stdout, "%d/%s -> %s\n", p.ContainerPort, p.Proto, net.JoinHostPort(hostAddress(p), strconv.Itoa(int(p.HostPort))))
		}
		return nil
	}
	number, proto, named := strings.Cut(args[1], "/")
	if !named {
		proto = "tcp"
	}
	port, err := strconv.ParseUint(number, 10, 16)
	if err != nil {
		return hint.Newf("rc port "+args[0]+" "+args[1], "write it as in 80 or 53/udp", "no port").WithCode(1)
	}
	found := false
	for _, p := range ports {
		if p.ContainerPort == uint16(port) && p.Proto == strings.ToLower(proto) {
			fmt.Fprintln(stdout, net.JoinHostPort(hostAddress(p), strconv.Itoa(int(p.HostPort))))
			found = true
		}
	}
	if !found {
		return hint.Newf("rc port "+args[0], "see `rc port "+args[0]+"`", "no public port '%d/%s' published", port, proto).WithCode(1)
	}
	return nil
}
