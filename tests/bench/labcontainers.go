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

// pair is a server and a client in two containers of a tool.
type pair struct {
	tool, network  string
	front          []string // the tool's command line up to the verb
	server, client string   // names
	port           string   // the server's, published
}

func (l *lab) rc(network string) error {
	return l.containers(pair{tool: "rc", network: network, front: []string{"rc"}})
}

func (l *lab) podman(network string) error {
	return l.containers(pair{tool: "podman", network: network, front: l.w.podman()})
}

// containers starts a pair and adds its paths: between the two only where they share
// a network, which they do on a bridge.
func (l *lab) containers(p pair) error {
	p.server, p.client, p.port = "server-"+p.network, "client-"+p.network, freePort()
	flag := p.network
	if p.network == "pasta" {
		flag += ":-a,10.96.0.2,-n,24,-g,10.96.0.1" // else it has the host's address (lab.pasta)
	}
	if p.network == "bridge" {
		flag = "bench"
		if _, err := l.w.said(p.line("network", "create", flag)); err != nil {
			return err
		}
		l.stops = append(l.stops, func() { _, _ = l.w.said(p.line("network", "rm", flag)) })
	}
	// Whatever of them was made.
	l.stops = append(l.stops, func() { _, _ = l.w.said(p.line("rm", "-f", "-t", "0", p.server, p.client)) })
	run := []string{"run", "-d", "--network", flag, "-v", l.traffic() + ":" + mounted + ":ro", "--name"}
	// Both in the background leave their output with a log: timed gives them a file.
	if _, err := l.w.timed(p.line(append(run, p.server, "-p", p.port+":"+inside, image, mounted, "serve", ":"+inside)...)); err != nil {
		return err
	}
	if _, err := l.w.timed(p.line(append(run, p.client, image, mounted, "wait")...)); err != nil {
		return err
	}
	exec := p.line("exec", p.client)
	name := p.tool + ", " + p.network
	add := func(kind, address string, client []string) error {
		one := path{kind: kind, name: name, tool: p.tool, network: p.network, client: client, address: address}
		if client != nil {
			one.traffic = mounted
		}
		l.add(one)
		return l.up(client, l.paths[len(l.paths)-1].traffic, address)
	}
	err := errors.Join(add(out, net.JoinHostPort(l.host, l.server), exec), add(in, net.JoinHostPort(l.host, p.port), nil))
	if p.network != "bridge" {
		return err
	}
	ip, failed := l.inner(p)
	if failed != nil {
		return errors.Join(err, failed)
	}
	return errors.Join(err, add(between, net.JoinHostPort(ip, inside), exec))
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
