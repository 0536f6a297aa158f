package forward

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// mark is on our sockets inside and on what answers them ("rc"); table is where every
// address is local, and the priority of the rule that leads there.
const (
	mark  = 0x7263
	table = mark
)

// turned is what turns answers back to us in one network namespace.
type turned struct {
	tcp bool
	udp *bool // nil: not tried yet
	// late are the services whose answers find a way out in no table of the container.
	late map[service]bool
}

// service is one inside.
type service struct {
	proto byte // IPPROTO_UDP, or IPPROTO_TCP where packets are marked
	at    netip.AddrPort
}

// procSys is another folder in tests: that of somebody who may not write there.
var procSys = "/proc/sys"

// turnInside prepares the namespace of the calling thread. All of it was there before
// when another keeper did it; nothing of it touches a packet without the mark.
func turnInside() *turned {
	if routeMarked() != nil {
		no := false
		return &turned{udp: &no}
	}
	t := &turned{tcp: true, late: map[service]bool{}}
	for _, s := range []struct {
		path, value string
		must        bool
	}{
		// "Enable fwmark of sockets accepting connections to be set from the initial
		// packet"; of answers by the kernel itself, RST and ICMP (ip-sysctl.rst).
		{"ipv4/tcp_fwmark_accept", "1", true},
		{"ipv4/fwmark_reflect", "1", true},
		{"ipv6/fwmark_reflect", "1", false}, // a host without IPv6
		// The client that comes again from the same port finds our last connection in
		// TIME_WAIT: 1 lets it go on, as 2, the default, does on loopback addresses.
		{"ipv4/tcp_tw_reuse", "1", false},
	} {
		if err := setSysctl(procSys+"/net/"+s.path, s.value); err != nil && s.must {
			t.tcp = false // a read-only /proc/sys: inside Docker. See canTCP
		}
	}
	return t
}

// setSysctl writes unless it is so already. The file is the one of the thread's own
// network namespace.
func setSysctl(path, value string) error {
	old, err := os.ReadFile(path)
	if err == nil && strings.TrimSpace(string(old)) == value {
		return nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

// routeMarked makes every address local for what carries the mark:
//
//	ip rule add fwmark 0x7263 lookup 29283; ip route add local default dev lo table 29283
func routeMarked() error {
	c, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return err
	}
	defer c.Close()
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		err := create(c, unix.RTM_NEWRULE, ruleHeader(family), numbers{unix.FRA_PRIORITY: table, unix.FRA_FWMARK: mark, unix.FRA_TABLE: table}, nil)
		if err == nil {
			err = create(c, unix.RTM_NEWROUTE, localHeader(family), numbers{unix.RTA_TABLE: table, unix.RTA_OIF: loopback}, nil)
		}
		if err != nil && family == unix.AF_INET {
			return err
		}
	}
	return nil
}

// afterMain is behind the table main and its default (32766 and 32767).
const (
	afterMain = 40000
	lateTable = table + 1
)

// turnLate is for a service of UDP whose container has no way out (an internal network,
// no IPv6): its answers to strangers would fail before any packet could be marked; and of
// TCP where packets are marked, too. What finds no other route and comes from that port is turned back, too:
//
//	ip rule add priority 40000 ipproto udp sport 53 lookup 29284
//	ip route add local default dev lo src ADDRESS table 29284
func (d *door) turnLate(s service) {
	if !d.turned.late[s] {
		d.turned.late[s] = true // once: without it the flow works where there is a way out
		d.annex.in(func() { routeLate(s) })
	}
}

func routeLate(s service) {
	c, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return
	}
	defer c.Close()
	family := byte(unix.AF_INET)
	if s.at.Addr().Is6() {
		family = unix.AF_INET6
	}
	route := func(e *netlink.AttributeEncoder) { e.Bytes(unix.RTA_PREFSRC, s.at.Addr().AsSlice()) }
	if create(c, unix.RTM_NEWROUTE, localHeader(family), numbers{unix.RTA_TABLE: lateTable, unix.RTA_OIF: loopback}, route) != nil {
		return
	}
	_ = create(c, unix.RTM_NEWRULE, ruleHeader(family), numbers{unix.FRA_PRIORITY: afterMain, unix.FRA_TABLE: lateTable}, func(e *netlink.AttributeEncoder) {
		e.Uint8(unix.FRA_IP_PROTO, s.proto)
		var ports [4]byte // struct fib_rule_port_range
		binary.NativeEndian.PutUint16(ports[:], s.at.Port())
		binary.NativeEndian.PutUint16(ports[2:], s.at.Port())
		e.Bytes(unix.FRA_SPORT_RANGE, ports[:])
	})
}

// ruleHeader is struct fib_rule_hdr of a rule that leads to a table.
func ruleHeader(family byte) []byte {
	return []byte{family, 0, 0, 0, 0, 0, 0, unix.FR_ACT_TO_TBL, 0, 0, 0, 0}
}

// localHeader is struct rtmsg of the default route of a table where all is local.
func localHeader(family byte) []byte {
	return []byte{family, 0, 0, 0, 0, unix.RTPROT_STATIC, unix.RT_SCOPE_HOST, unix.RTN_LOCAL, 0, 0, 0, 0}
}

const loopback = 1 // the index of lo in every namespace: it is made with it

type numbers map[uint16]uint32

// create makes what is not there yet, of the namespace of c.
func create(c *netlink.Conn, kind uint16, header []byte, n numbers, more func(*netlink.AttributeEncoder)) error {
	e := netlink.NewAttributeEncoder()
	for k, v := range n {
		e.Uint32(k, v)
	}
	if more != nil {
		more(e)
	}
	attributes, err := e.Encode()
	if err != nil {
		return err
	}
	_, err = c.Execute(netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(kind), Flags: netlink.Request | netlink.Acknowledge | netlink.Create | netlink.Excl},
		Data:   append(header, attributes...),
	})
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	return err
}

// found are addresses of a container, as its namespace has them.
type found struct {
	at     time.Time
	six    bool // v6 was wanted
	v4, v6 netip.Addr
}

// lookAgain: slirp4netns's address of IPv6 comes by router advertisement, some day.
const lookAgain = time.Second

// standIn is an address inside for clients of IPv6 where the container has none: lo
// gets it when the first such client comes. Without it they would reach no server, or
// all look like one.
var standIn = netip.MustParseAddr("fd72:6370::1")

// addresses are those to connect to; what was not told is looked up.
func (d *door) addresses(at *Inside, wantV6 bool) (v4, v6 netip.Addr) {
	v4, v6 = at.IP, at.IP6
	if v4.IsValid() && (v6.IsValid() || !wantV6) {
		return v4, v6
	}
	if time.Since(d.found.at) > lookAgain || wantV6 && !d.found.six {
		d.annex.in(func() { d.found = lookInside(wantV6) })
	}
	if !v4.IsValid() {
		v4 = d.found.v4
	}
	if !v6.IsValid() {
		v6 = d.found.v6
	}
	return v4, v6
}

// lookInside reads the addresses of the calling thread's namespace.
func lookInside(wantV6 bool) found {
	f := found{at: time.Now(), six: wantV6}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return f
	}
	for _, a := range addrs {
		p, err := netip.ParsePrefix(a.String())
		if err != nil || !p.Addr().IsGlobalUnicast() {
			continue
		}
		switch addr := p.Addr().Unmap(); {
		case addr.Is4() && !f.v4.IsValid():
			f.v4 = addr
		case addr.Is6() && (!f.v6.IsValid() || f.v6 == standIn):
			f.v6 = addr
		}
	}
	if wantV6 && !f.v6.IsValid() && addStandIn() == nil {
		f.v6 = standIn
	}
	return f
}

// addStandIn is `ip address add fd72:6370::1/128 dev lo nodad`.
func addStandIn() error {
	c, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return err
	}
	defer c.Close()
	header := []byte{unix.AF_INET6, 128, unix.IFA_F_NODAD, unix.RT_SCOPE_UNIVERSE} // struct ifaddrmsg
	header = binary.NativeEndian.AppendUint32(header, loopback)
	return create(c, unix.RTM_NEWADDR, header, nil, func(e *netlink.AttributeEncoder) { e.Bytes(unix.IFA_LOCAL, standIn.AsSlice()) })
}
