package bridge

import (
	"errors"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/slirp"
)

// ErrNoFilter says that this kernel has no nf_tables for us: errors.Is finds it below
// the refusal of Open. A container whose network nobody named falls back to a
// slirp4netns of its own.
var ErrNoFilter = errors.New("the kernel has no nf_tables (or its module is not loaded)")

type (
	filter  struct{}
	rtnl    struct{}
	network struct{}
	port    struct{}
)

func dialRoute() (*rtnl, error)    { return &rtnl{}, nil }
func openFilter() (*filter, error) { return &filter{}, nil }
func (r *rtnl) close()             {}
func (f *filter) close()           {}
func (w *World) prepare() error    { return nil }
func (w *World) recover() error    { return nil }
func fixFor(error) string          { return "" }

// Uplink gives the tap that a slirp4netns has just made its address, brings it up and
// sends everything there that leaves N0. It is called again after each restart of
// slirp4netns (a new tap of the same name, or of the same prefix): connections of the
// containers then have ended, since they lived in slirp4netns.
func (w *World) Uplink(way Way) error { return unix.ENOSYS }

// UplinkPrefix is the first prefix for slirp4netns's own network that overlaps neither
// taken (the host's routes) nor a network in N0: 10.0.2.0/24 nearly always.
func (w *World) UplinkPrefix(taken []netip.Prefix) netip.Prefix {
	return netip.MustParsePrefix("10.0.2.0/24")
}

// Slirp4netns are the arguments that start one for N0, whose descriptor is fd in the
// new process and must be inherited (os/exec: ExtraFiles).
//
// slirp4netns PID joins the user namespace of PID first, and joining the one that one
// is in already is EINVAL (setns(2)). With --netns-type=path and no --userns-path it
// leaves that step out (its main.c, nsenter), joins the network namespace at the path
// alone, and keeps the caller's user namespace, U0. The path is a descriptor that the
// process has inherited: no pid that could be another's by then.
func Slirp4netns(fd, ready int, way Way) []string { return nil }

// Connect puts container id, whose network namespace is netns (borrowed), on one
// network; the bridge is made when it is the first. All or nothing. A container that
// is on it already, with the same netns, stays as it is: nothing changes on the wire,
// and the answer is what it has.
//
// The address is e.IP (or IP6) or a refusal: EADDRINUSE, naming the holder; ERANGE
// outside the subnet. Else one of e.Last that is free, else a free one of the range;
// ENOSPC when there is none. The interface is e.Interface (EEXIST: taken inside) or
// the first free ethN.
//
// Default routes: each network that is not internal brings one, the first the best
// (metric 100, 101, …), so that a container which leaves it goes on by the next.
func (w *World) Connect(id string, netns *os.File, e slirp.Endpoint) (slirp.EndpointStatus, error) {
	return slirp.EndpointStatus{}, unix.ENOSYS
}

// Disconnect takes a running container off one network: its interface goes, which takes
// up to 30 ms. ENOENT when it is not on it.
func (w *World) Disconnect(id, networkID string) error { return unix.ENOSYS }

// Gone forgets a container that has ended: its addresses are free at once. Its
// interfaces end with its network namespace, whenever the kernel comes to it; if
// somebody else holds that (container:ID), they are removed some seconds later.
func (w *World) Gone(id string) {}

// Members lists who is on which network, also those that Open found.
func (w *World) Members() []Member { return nil }

// ListenDNS opens sockets on port 53 of the gateways of a network that exists
// (somebody is on it); none for a network without DNS. The caller closes them, at the
// latest when Options.Dropped names the network. ENOENT: there is no such network.
func (w *World) ListenDNS(networkID string) ([]net.PacketConn, []net.Listener, error) {
	return nil, nil, unix.ENOSYS
}
