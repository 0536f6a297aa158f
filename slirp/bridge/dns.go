package bridge

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
)

// ListenDNS opens sockets on port 53 of the gateways of a network that exists
// (somebody is on it); none for a network without DNS. The caller closes them, at the
// latest when Options.Dropped names the network. ENOENT: there is no such network.
func (w *World) ListenDNS(networkID string) (udp []net.PacketConn, tcp []net.Listener, err error) {
	err = w.Do(func() error {
		n := w.networks[short(networkID)]
		if n == nil {
			return fmt.Errorf("there is no such network: %w", unix.ENOENT)
		}
		if n.NoDNS {
			return nil
		}
		for _, a := range n.gateways() {
			u, t, err := listen(n.bridge, netip.AddrPortFrom(a, 53))
			if err != nil {
				return err
			}
			udp, tcp = append(udp, u...), append(tcp, t)
		}
		return nil
	})
	if err != nil {
		for _, u := range udp {
			_ = u.Close()
		}
		for _, t := range tcp {
			_ = t.Close()
		}
		return nil, nil, hint.New("listen for questions of DNS on network "+short(networkID), err, "")
	}
	return udp, tcp, nil
}

// listen opens the sockets on one gateway, in the namespace of this thread. They are
// bound to the bridge too: a packet for that address which came in by another is
// somebody else's.
func listen(bridge string, at netip.AddrPort) ([]net.PacketConn, net.Listener, error) {
	udp, err := listenUDP(bridge, at)
	if err != nil {
		return nil, nil, err
	}
	c := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) (err error) {
		cerr := raw.Control(func(fd uintptr) { err = unix.BindToDevice(int(fd), bridge) })
		return errors.Join(cerr, err)
	}, KeepAlive: -1}
	tcp, err := c.Listen(context.Background(), "tcp", at.String())
	if err != nil {
		for _, u := range udp {
			_ = u.Close()
		}
		return nil, nil, err
	}
	return udp, tcp, nil
}
