package names

import (
	"net"

	"github.com/rc-containers/rc/slirp"
)

// listeners are the sockets of one network.
type listeners struct {
	udp []*net.UDPConn
	tcp []net.Listener
}

// Serve answers the questions that come to the sockets, in goroutines of its own,
// until Drop or Close. The sockets are the Server's from now on; udp must be of
// *net.UDPConn. A network that is served already gets these in place of the old
// ones. A question whose source address is outside of n's subnets is dropped: the
// kernel accepts one for any of its addresses on any bridge.
func (s *Server) Serve(n slirp.Network, udp []net.PacketConn, tcp []net.Listener) error {
	return nil
}

// Drop closes the sockets of a network and forgets it; the containers on it stay
// known. A network that is not served is no error.
func (s *Server) Drop(networkID string) {}

// Close drops every network and waits for all goroutines.
func (s *Server) Close() {}
