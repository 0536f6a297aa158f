package keeper

import (
	"fmt"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/slirp"
)

// describe reads what pasta has set up: it copies what the host has, so only the
// namespace knows.
func (p *pasta) describe(a *attachment) (*slirp.Attached, inside, error) {
	const op = "start pasta"
	got, err := describeDevice(a.sock, p.device)
	if err != nil {
		return nil, inside{}, hint.New(op, err, "")
	}
	// /proc/PID/net is that of the process's namespace, whoever reads it.
	if table, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/route", a.target.pid)); err == nil {
		got.Gateway = slirp.DefaultGateway(string(table))
	}
	if err := a.target.alive(); err != nil { // it was that process's, not a later one's
		return nil, inside{}, hint.New(op, err, "")
	}
	got.DNS = []string{p.resolver}
	at := inside{find: true}
	at.IP, _ = netip.ParseAddr(got.IP)
	at.Gateway, _ = netip.ParseAddr(got.Gateway)
	return got, at, nil
}

// describeDevice: no IPv4 address is no error (--ipv6-only).
func describeDevice(sock *os.File, device string) (*slirp.Attached, error) {
	got := &slirp.Attached{MTU: slirp.MTU}
	fd := int(sock.Fd())
	r, err := unix.NewIfreq(device)
	if err != nil {
		return nil, fmt.Errorf("interface %q: %w", device, err)
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFMTU, r); err != nil {
		return nil, fmt.Errorf("interface %s: SIOCGIFMTU: %w", device, err)
	}
	got.MTU = int(r.Uint32())
	if unix.IoctlIfreq(fd, unix.SIOCGIFADDR, r) != nil {
		return got, nil // EADDRNOTAVAIL
	}
	addr, err := r.Inet4Addr()
	if err != nil {
		return nil, err
	}
	got.IP = net.IP(addr).String()
	if unix.IoctlIfreq(fd, unix.SIOCGIFNETMASK, r) == nil {
		if mask, err := r.Inet4Addr(); err == nil {
			got.Prefix, _ = net.IPMask(mask).Size()
		}
	}
	return got, nil
}
