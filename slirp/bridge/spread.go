package bridge

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// lanes is how many sockets one resolver's address has, a power of two. Which one a
// datagram goes to is told by its source address alone, so that a container which
// asks without an end fills the queue of its own lane, and takes the place of the
// questions of one neighbour in eight only. A single queue holds 300 packets: a
// container's flood left half of the others' questions without an answer.
const lanes = 8

// netOffset makes a load of classic BPF count from the network header (linux/filter.h,
// SKF_NET_OFF); a load from a socket's own data begins after UDP's.
const netOffset = -0x100000

// lane is the program that picks the socket (socket(7), SO_ATTACH_REUSEPORT_CBPF): the
// last bits of the source address, which differ between containers of one network.
func lane(is4 bool) ([]bpf.RawInstruction, error) {
	last := uint32(offSource6 + 15)
	if is4 {
		last = offSource4 + 3
	}
	offset := int32(netOffset)
	return bpf.Assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: uint32(offset) + last, Size: 1},
		bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: lanes - 1},
		bpf.RetA{},
	})
}

// listenUDP opens the lanes of one address, in the namespace of this thread, bound to
// one device.
func listenUDP(device string, at netip.AddrPort) (all []net.PacketConn, err error) {
	defer func() {
		if err != nil {
			for _, c := range all {
				_ = c.Close()
			}
			all = nil
		}
	}()
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) (err error) {
		cerr := raw.Control(func(fd uintptr) {
			err = errors.Join(unix.BindToDevice(int(fd), device), unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1))
		})
		return errors.Join(cerr, err)
	}}
	for range lanes {
		c, err := config.ListenPacket(context.Background(), "udp", at.String())
		if err != nil {
			return all, err
		}
		all = append(all, c)
		// The first may have been given any port.
		at = netip.MustParseAddrPort(c.LocalAddr().String())
	}
	return all, attach(all[0].(*net.UDPConn), at.Addr().Is4())
}

// attach puts the program to the group that the sockets of one address are.
func attach(c *net.UDPConn, is4 bool) error {
	program, err := lane(is4)
	if err != nil {
		return err
	}
	filter := make([]unix.SockFilter, len(program))
	for i, p := range program {
		filter[i] = unix.SockFilter{Code: p.Op, Jt: p.Jt, Jf: p.Jf, K: p.K}
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	cerr := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_CBPF, &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]})
	})
	if err := errors.Join(cerr, err); err != nil {
		return fmt.Errorf("spread questions over sockets: %w", err)
	}
	return nil
}
