package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// inside is where a server listens in a container or a namespace.
const inside = "7000"

// lab is what stands for as long as paths are measured: namespaces, containers and
// servers, most of them idle at any time.
type lab struct {
	w      *world
	host   string // an address of this host, not of its loopback where it has another
	server string // the port of the server on the host
	paths  []*path
	broken []string
	stops  []func() // in the order of their making
}

func (l *lab) broke(what string, err error) {
	l.broken = append(l.broken, fmt.Sprintf("%s: %v", what, err))
}

func (l *lab) close() {
	for _, stop := range slices.Backward(l.stops) {
		stop()
	}
}

// traffic is the program, as the host names it.
func (l *lab) traffic() string { return l.w.o.dir + "/bin/traffic" }

// build makes them all. One that fails is no reason to leave the others out.
func (l *lab) build() {
	l.host = hostAddress()
	for _, make := range []struct {
		name string
		of   func() error
	}{
		{"the host itself", l.hosts},
		{"veth, MTU 1500", func() error { return l.veth(1500) }},
		{"veth, MTU 65520", func() error { return l.veth(65520) }},
		{"slirp4netns alone", l.slirp},
		{"pasta alone", l.pasta},
		{"rc, bridge", func() error { return l.rc("bridge") }},
		{"rc, slirp4netns", func() error { return l.rc("slirp4netns") }},
		{"rc, pasta", func() error { return l.rc("pasta") }},
		{"podman, bridge", func() error { return l.podman("bridge") }},
		{"podman, slirp4netns", func() error { return l.podman("slirp4netns") }},
	} {
		fmt.Fprintln(os.Stderr, "network:", make.name)
		if err := make.of(); err != nil {
			l.broke("network of "+make.name, err)
		}
	}
}

func (l *lab) add(p path) {
	if p.traffic == "" {
		p.traffic = l.traffic()
	}
	l.paths = append(l.paths, &p)
}

// start leaves a command running until close.
func (l *lab) start(args ...string) (*exec.Cmd, error) {
	l.w.halt()
	cmd := l.w.command(args...)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	l.stops = append(l.stops, func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd, nil
}

// hosts is a server without anything between: what the machine itself can do.
func (l *lab) hosts() error {
	l.server = freePort()
	if _, err := l.start(l.traffic(), "serve", ":"+l.server); err != nil {
		return err
	}
	l.add(path{kind: between, name: "host loopback", tool: "host", address: "127.0.0.1:" + l.server})
	l.add(path{kind: out, name: "host, no container", tool: "host", address: net.JoinHostPort(l.host, l.server)})
	l.add(path{kind: in, name: "host, no container", tool: "host", address: net.JoinHostPort(l.host, l.server)})
	return l.up(nil, l.traffic(), "127.0.0.1:"+l.server)
}

// enter is in front of a command in the namespaces of a process.
func enter(pid int) []string {
	return []string{"nsenter", "--preserve-credentials", "-U", "-n", "-t", strconv.Itoa(pid)}
}

// namespace is a process in a user and a network namespace of its own, or with an
// outer one in that process's user namespace.
func (l *lab) namespace(outer int) (pid int, err error) {
	args := []string{"unshare", "--map-root-user", "--net", l.traffic(), "wait"}
	if outer != 0 {
		args = append(enter(outer), "unshare", "--net", l.traffic(), "wait")
	}
	cmd, err := l.start(args...)
	if err != nil {
		return 0, err
	}
	// Its name changes with the last exec, when both namespaces are made.
	return cmd.Process.Pid, wait("a namespace", func() bool { return nameOf(fmt.Sprintf("/proc/%d", cmd.Process.Pid)) == "traffic" })
}

// veth is two plain namespaces joined by a pair: what a bridge is held against.
func (l *lab) veth(mtu int) error {
	a, err := l.namespace(0)
	if err != nil {
		return err
	}
	b, err := l.namespace(a)
	if err != nil {
		return err
	}
	m := strconv.Itoa(mtu)
	for _, args := range [][]string{
		append(enter(a), "ip", "link", "add", "v0", "mtu", m, "type", "veth", "peer", "name", "v0", "mtu", m, "netns", strconv.Itoa(b)),
		append(enter(a), "ip", "address", "add", "10.98.0.1/24", "dev", "v0"),
		append(enter(b), "ip", "address", "add", "10.98.0.2/24", "dev", "v0"),
		append(enter(a), "ip", "link", "set", "v0", "up"), append(enter(b), "ip", "link", "set", "v0", "up"),
		append(enter(b), "ip", "link", "set", "lo", "up"),
	} {
		if _, err := l.w.said(args); err != nil {
			return err
		}
	}
	if _, err := l.start(append(enter(b), l.traffic(), "serve", ":"+inside)...); err != nil {
		return err
	}
	l.add(path{kind: between, name: "veth between two namespaces, MTU " + m, tool: "veth", network: m, client: enter(a), address: "10.98.0.2:" + inside})
	return l.up(enter(a), l.traffic(), "10.98.0.2:"+inside)
}

// slirp is slirp4netns beside a plain namespace, with the flags that rc gives it.
func (l *lab) slirp() error {
	a, err := l.namespace(0)
	if err != nil {
		return err
	}
	if _, err := l.start("slirp4netns", "--configure", "--mtu=65520", "--disable-host-loopback", "--enable-sandbox", "--enable-seccomp", strconv.Itoa(a), "tap0"); err != nil {
		return err
	}
	address := net.JoinHostPort(l.host, l.server)
	l.add(path{kind: out, name: "slirp4netns alone", tool: "slirp4netns", client: enter(a), address: address})
	return l.up(enter(a), l.traffic(), address)
}

// pasta makes its own namespaces. It would give its inside the host's own address,
// from which that is not to be reached: another one here.
func (l *lab) pasta() error {
	port := freePort()
	cmd, err := l.start("pasta", "--config-net", "-f", "-q", "-a", "10.97.0.2", "-n", "24", "-g", "10.97.0.1",
		"-t", port+":"+inside, "-u", "none", "-T", "none", "-U", "none", "--", l.traffic(), "serve", ":"+inside)
	if err != nil {
		return err
	}
	child := 0
	if err := wait("pasta's command", func() bool { child = childOf(cmd.Process.Pid); return child != 0 }); err != nil {
		return err
	}
	address := net.JoinHostPort(l.host, l.server)
	l.add(path{kind: out, name: "pasta alone", tool: "pasta", client: enter(child), address: address})
	l.add(path{kind: in, name: "pasta alone", tool: "pasta", address: net.JoinHostPort(l.host, port)})
	return errors.Join(l.up(enter(child), l.traffic(), address), l.up(nil, l.traffic(), net.JoinHostPort(l.host, port)))
}

func childOf(parent int) int {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", parent))
	for _, list := range lists {
		text, _ := os.ReadFile(list)
		for _, word := range strings.Fields(string(text)) {
			if pid, err := strconv.Atoi(word); err == nil && nameOf("/proc/"+word) == "traffic" {
				return pid
			}
		}
	}
	return 0
}

// up waits until a server answers.
func (l *lab) up(client []string, traffic, address string) error {
	var last error
	err := wait("an answer of "+address, func() bool {
		_, last = l.w.said(append(slices.Clone(client), traffic, "small", address, "1ms"))
		return last == nil
	})
	if err != nil {
		return errors.Join(err, last)
	}
	return nil
}

func wait(what string, done func() bool) error {
	for deadline := time.Now().Add(10 * time.Second); !done(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: not within 10 s", what)
		}
	}
	return nil
}

// freePort is one that nobody has now.
func freePort() string {
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		return "0"
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// hostAddress is what a client elsewhere would name this host by.
func hostAddress() string {
	all, _ := net.InterfaceAddrs()
	for _, a := range all {
		if ip, ok := a.(*net.IPNet); ok && ip.IP.To4() != nil && ip.IP.IsGlobalUnicast() {
			return ip.IP.String()
		}
	}
	return "127.0.0.1"
}

// said runs a command of the user's to its end and returns what it printed.
func (w *world) said(args []string) (string, error) {
	w.halt()
	defer w.halt()
	return w.tell(args)
}

// tell is said at the end, too.
func (w *world) tell(args []string) (string, error) {
	var text, errs bytes.Buffer
	cmd := w.command(args...)
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &text, &errs, time.Second
	hung := time.AfterFunc(limit, func() { _ = cmd.Process.Kill() })
	defer hung.Stop()
	if err := cmd.Start(); err != nil {
		return "", err
	}
	if err := cmd.Wait(); err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(errs.Bytes()))
	}
	return strings.TrimSpace(text.String()), nil
}
