package keeper

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rootless-containers/rootlesskit/v3/pkg/port"
	"github.com/rootless-containers/rootlesskit/v3/pkg/port/builtin"
	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/linux"
	"github.com/rc-containers/rc/slirp"
)

// published is the ports of one container. rootlesskit's builtin driver has two
// halves: the parent listens on the host, the child dials inside, and they meet
// at a socket. Both are goroutines here; the child enters the network namespace
// by a thread for each connection ("detached netns" in rootlesskit).
type published struct {
	driver port.ParentDriver
	ports  []slirp.Port
	ids    []int
	dir    *os.File // of socket and fifo
	quit   chan struct{}
	up     chan struct{} // the halves have met
	failed chan error
}

// readyLimit bounds the wait for the halves to meet, which takes as long as
// rootlesskit looks for nft or iptables: 3 ms beside slirp4netns's start.
const readyLimit = 5 * time.Second

// inside is where the services of a container are reached: its own addresses, and
// those that a client is shown as whose own address cannot be kept (one of the host's
// loopback, or of the other family). Zero ones are not there.
type inside struct{ IP, IP6, Gateway, Gateway6 netip.Addr }

// insideOf is a bridge network's part of it.
func insideOf(e slirp.EndpointStatus) inside { return inside{e.IP, e.IP6, e.Gateway, e.Gateway6} }

// insideSlirp is a slirp4netns of one container: whatever IPv6 address it gave itself
// is looked up when the first client of IPv6 comes.
func insideSlirp() inside {
	return inside{IP: netip.MustParseAddr(slirp.Address), Gateway: netip.MustParseAddr(slirp.Gateway)}
}

// publish listens on every port for the container called owner in messages; with an
// error on none. Clients wait until serve says where the services are. No ports are
// fine: others may be added later. It borrows netns.
func publish(runtimeDir, owner string, netns *os.File, ports []slirp.Port) (*published, []slirp.Port, error) {
	_ = owner
	p := &published{quit: make(chan struct{}), up: make(chan struct{}, 1), failed: make(chan error, 2)}
	if err := p.open(runtimeDir, netns); err != nil {
		p.close()
		return nil, nil, hint.New("publish ports", err, "")
	}
	chosen := make([]slirp.Port, 0, len(ports))
	for _, want := range ports {
		got, err := p.add(want)
		if err != nil {
			p.close()
			return nil, nil, err
		}
		chosen = append(chosen, got)
	}
	p.ports = chosen
	return p, chosen, nil
}

// open starts the two halves.
func (p *published) open(runtimeDir string, netns *os.File) error {
	path, err := os.MkdirTemp(runtimeDir, folderPrefix)
	if err != nil {
		return err
	}
	if p.dir, err = os.OpenFile(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0); err != nil {
		_ = os.Remove(path)
		return err
	}
	// By descriptor: the path may be longer than the 108 bytes of sun_path.
	p.driver, err = builtin.NewParentDriver(io.Discard, linux.ProcFD(p.dir), canBeTransparent(), "auto")
	if err != nil {
		return err
	}
	go func() {
		if err := p.driver.RunParentDriver(p.up, p.quit, nil); err != nil {
			p.failed <- err
		}
	}()
	go func() {
		if err := builtin.NewChildDriver(io.Discard).RunChildDriver(p.driver.OpaqueForChild(), p.quit, linux.ProcFD(netns)); err != nil {
			p.failed <- err
		}
	}()
	return nil
}

// canBeTransparent: rootlesskit keeps the client's address (for tcp) by a mark
// on its packets, set by nft or iptables inside; without them it says its own.
func canBeTransparent() bool {
	for _, name := range []string{"nft", "iptables"} {
		if _, err := exec.LookPath(name); err == nil {
			return true
		}
	}
	return false
}

// serve carries connections to the given addresses from now on; those that are open
// stay. Without any address (the container is on no network) new ones are refused.
func (p *published) serve(at inside) error {
	select {
	case <-p.up:
		return nil
	case err := <-p.failed:
		return hint.New("publish ports", err, "")
	case <-time.After(readyLimit):
		return hint.Newf("publish ports", "", "the port driver was not ready after %v", readyLimit)
	}
}

// close stops listening, and cuts open connections.
func (p *published) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	for _, id := range p.ids {
		_ = p.driver.RemovePort(ctx, id)
	}
	close(p.quit)
	if p.dir == nil {
		return
	}
	if path, err := os.Readlink(linux.ProcFD(p.dir)); err == nil {
		_ = os.RemoveAll(path)
	}
	_ = p.dir.Close()
}

// list is what is published now, with the host ports that were chosen.
func (p *published) list() []slirp.Port { return slices.Clone(p.ports) }

// change publishes more and fewer ports of a container that runs: all of it or, with an
// error, nothing. It returns what is published then. What is removed need not name the
// host's port where there is only one of that container port.
func (p *published) change(add, remove []slirp.Port) ([]slirp.Port, error) {
	return p.list(), hint.New("publish ports", unix.EOPNOTSUPP, "")
}

// add listens on one port, on the first free one where it may choose.
func (p *published) add(want slirp.Port) (slirp.Port, error) {
	var err error
	for try := range choices(want) {
		got := want
		got.HostPortEnd = 0
		if want.HostPort == 0 {
			if got.HostPort, err = freePort(want); err != nil {
				break
			}
		} else {
			got.HostPort += uint16(try)
		}
		var st *port.Status
		if st, err = p.driver.AddPort(context.Background(), specOf(got)); err == nil {
			p.ids = append(p.ids, st.ID)
			return got, nil
		}
		if !taken(err) {
			break
		}
	}
	return want, refusePort(want, err)
}

func choices(p slirp.Port) int {
	switch {
	case p.HostPort == 0:
		return 16 // somebody may take the free one before we do
	case p.HostPortEnd != 0:
		return int(p.HostPortEnd) - int(p.HostPort) + 1
	}
	return 1
}

// specOf is p in rootlesskit's words. The family is always said, or Go would
// listen on IPv6 too for 0.0.0.0. The address inside is the tap's, as with
// Docker: what listens on the container's loopback is not published.
func specOf(p slirp.Port) port.Spec {
	return port.Spec{
		Proto: p.Proto + family(p.HostIP), ParentIP: p.HostIP, ParentPort: int(p.HostPort),
		ChildIP: slirp.Address, ChildPort: int(p.ContainerPort),
	}
}

func family(ip string) string {
	addr, err := netip.ParseAddr(ip)
	switch {
	case err != nil: // "": both
		return ""
	case addr.Unmap().Is4():
		return "4"
	}
	return "6"
}

// freePort asks the kernel for a port that is free now.
func freePort(p slirp.Port) (uint16, error) {
	var addr net.Addr
	if p.Proto == "udp" {
		c, err := net.ListenPacket(p.Proto+family(p.HostIP), net.JoinHostPort(p.HostIP, "0"))
		if err != nil {
			return 0, err
		}
		addr = c.LocalAddr()
		_ = c.Close()
	} else {
		l, err := net.Listen(p.Proto+family(p.HostIP), net.JoinHostPort(p.HostIP, "0"))
		if err != nil {
			return 0, err
		}
		addr = l.Addr()
		_ = l.Close()
	}
	ap, err := netip.ParseAddrPort(addr.String())
	return ap.Port(), err
}

// taken also knows rootlesskit's own word for a port that this container
// publishes already.
func taken(err error) bool {
	return errors.Is(err, unix.EADDRINUSE) || strings.HasPrefix(err.Error(), "conflict with ID ")
}

// refusePort says what the kernel said and what to do about it.
func refusePort(p slirp.Port, err error) error {
	op := "publish port " + p.String()
	var errno syscall.Errno
	if taken(err) {
		errno = unix.EADDRINUSE
	} else if !errors.As(err, &errno) {
		return hint.New(op, err, "")
	}
	fix := ""
	switch errno {
	case unix.EADDRINUSE:
		fix = fmt.Sprintf("choose another host port, or see who has this one: ss -lnp 'sport = :%d'", p.HostPort)
	case unix.EACCES:
		fix = "publish a port that is not privileged"
		if start, ok := unprivilegedStart(); ok && int(p.HostPort) < start {
			fix = fmt.Sprintf("choose a host port from %d on, or let users have this one: `sudo sysctl net.ipv4.ip_unprivileged_port_start=%d`", start, p.HostPort)
		}
	case unix.EADDRNOTAVAIL:
		fix = "publish on an address that this host has: ip -brief address"
	case unix.EAFNOSUPPORT:
		fix = "this host has no such protocol: publish on an IPv4 address"
	}
	return hint.New(op, errno, fix)
}

func unprivilegedStart() (int, bool) {
	data, err := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start")
	if err != nil {
		return 0, false
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(data)))
	return n, err == nil
}
