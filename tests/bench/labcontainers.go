package main

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
)

// mounted is the program, as containers call it.
const mounted = "/traffic"

// bench is the network that each tool makes.
const bench = "bench"

// pair is a server and a client in two containers of a tool.
type pair struct {
	tool, network  string
	front          []string // the tool's command line up to the verb
	remove         []string // and what ends containers at once
	server, client string   // names
	port           string   // the server's, published
}

func (l *lab) rc(network string) error {
	return l.containers(pair{tool: "rc", network: network, front: []string{"rc"}, remove: []string{"rm", "-f"}})
}

func (l *lab) podman(network string) error {
	return l.containers(pair{tool: "podman", network: network, front: l.w.podman(), remove: []string{"rm", "-f", "-t", "0"}})
}

// containers starts a pair and adds its paths: between the two only where they share
// a network, which they do on a bridge.
func (l *lab) containers(p pair) error {
	p.server, p.client, p.port = "server-"+p.network, "client-"+p.network, freePort()
	clear := func() {
		_, _ = l.w.said(p.line(append(p.remove, p.server, p.client)...))
		if p.network == "bridge" {
			_, _ = l.w.said(p.line("network", "rm", bench))
		}
	}
	clear() // what a bench that was killed has left
	l.stops = append(l.stops, clear)
	if err := l.run(p); err != nil {
		return err
	}
	exec := p.line("exec", p.client)
	err := errors.Join(l.try(p, out, net.JoinHostPort(l.host, l.server), exec), l.try(p, in, net.JoinHostPort(l.host, p.port), nil))
	if p.network != "bridge" {
		return err
	}
	ip, failed := l.inner(p)
	if failed != nil {
		return errors.Join(err, failed)
	}
	return errors.Join(err, l.try(p, between, net.JoinHostPort(ip, inside), exec))
}

// run starts the two. Their output goes to a log, and timed gives the command a file.
func (l *lab) run(p pair) error {
	network := p.network
	switch network {
	case "bridge":
		network = bench
		if _, err := l.w.said(p.line("network", "create", bench)); err != nil {
			return err
		}
	case "pasta":
		network += ":-a,10.96.0.2,-n,24,-g,10.96.0.1" // else it has the host's address (lab.pasta)
	}
	front := []string{"run", "-d", "--network", network, "-v", l.traffic() + ":" + mounted + ":ro", "--name"}
	if _, err := l.w.timed(p.line(append(front, p.server, "-p", p.port+":"+inside, image, mounted, "serve", ":"+inside)...)); err != nil {
		return err
	}
	_, err := l.w.timed(p.line(append(front, p.client, image, mounted, "wait")...))
	return err
}

// try adds a path and waits until somebody answers there.
func (l *lab) try(p pair, kind, address string, client []string) error {
	one := path{kind: kind, name: p.tool + ", " + p.network, tool: p.tool, network: p.network, client: client, address: address, traffic: l.traffic()}
	if client != nil {
		one.traffic = mounted
	}
	l.add(one)
	return l.up(client, one.traffic, address)
}

func (p pair) line(args ...string) []string { return slices.Concat(p.front, args) }

// inner is the server's address on its network, as busybox's ip shows it in there.
func (l *lab) inner(p pair) (string, error) {
	text, err := l.w.said(p.line("exec", p.server, "ip", "-4", "-o", "address"))
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) > 3 && f[2] == "inet" && !strings.HasPrefix(f[3], "127.") {
			ip, _, _ := strings.Cut(f[3], "/")
			return ip, nil
		}
	}
	return "", fmt.Errorf("%s has no address: %s", p.server, text)
}
