package keeper

import (
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/slirp"
)

// socketIn opens a datagram socket in a network namespace. The requests of
// netdevice(7) act on the namespace of the socket, whoever makes them from
// wherever, so one socket configures the tap now and after every restart.
func socketIn(netns *os.File) (*os.File, error) {
	type result struct {
		fd  int
		err error
	}
	got := make(chan result, 1)
	go func() {
		// Never unlocked: the thread ends with the goroutine. It could not go back,
		// the host's network namespace is not ours to join (setns(2), CAP_SYS_ADMIN).
		runtime.LockOSThread()
		err := unix.Setns(int(netns.Fd()), unix.CLONE_NEWNET)
		fd := -1
		if err == nil {
			fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		}
		got <- result{fd, err}
	}()
	r := <-got
	if r.err != nil {
		return nil, fmt.Errorf("enter the network namespace: %w", r.err)
	}
	return os.NewFile(uintptr(r.fd), "socket in network namespace"), nil
}

// configureTap gives the tap its size and address, makes it the way out, if it is, and
// brings it up: a few ioctls, 0.1 ms; slirp4netns --configure does the same.
func configureTap(sock *os.File, wayOut bool) error {
	fd := int(sock.Fd())
	addr, gateway := netip.MustParseAddr(slirp.Address).As4(), netip.MustParseAddr(slirp.Gateway).As4()
	steps := []struct {
		name string
		req  uint
		set  func(*unix.Ifreq) error
	}{
		{"SIOCSIFMTU", unix.SIOCSIFMTU, func(r *unix.Ifreq) error { r.SetUint32(slirp.MTU); return nil }},
		{"SIOCSIFADDR", unix.SIOCSIFADDR, func(r *unix.Ifreq) error { return r.SetInet4Addr(addr[:]) }},
		{"SIOCSIFNETMASK", unix.SIOCSIFNETMASK, func(r *unix.Ifreq) error { return r.SetInet4Addr([]byte{255, 255, 255, 0}) }},
		{"SIOCSIFFLAGS", unix.SIOCSIFFLAGS, func(r *unix.Ifreq) error {
			err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, r)
			r.SetUint16(r.Uint16() | unix.IFF_UP)
			return err
		}},
	}
	for _, s := range steps {
		r, err := unix.NewIfreq(slirp.Device)
		if err == nil {
			err = s.set(r)
		}
		if err == nil {
			err = unix.IoctlIfreq(fd, s.req, r)
		}
		if err != nil {
			return fmt.Errorf("configure %s: %s: %w", slirp.Device, s.name, err)
		}
	}
	if !wayOut {
		return nil
	}
	return addDefaultRoute(fd, gateway)
}

// rtentry is struct rtentry of linux/route.h.
type rtentry struct {
	_                     uintptr
	dst, gateway, genmask unix.RawSockaddrInet4
	flags                 uint16
	_                     int16
	_                     uintptr
	_                     unsafe.Pointer
	metric                int16
	dev                   *byte
	mtu, window           uintptr
	irtt                  uint16
}

func addDefaultRoute(fd int, gateway [4]byte) error {
	device, err := unix.ByteSliceFromString(slirp.Device)
	if err != nil {
		return err
	}
	any4 := unix.RawSockaddrInet4{Family: unix.AF_INET}
	route := rtentry{
		dst: any4, genmask: any4, gateway: unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: gateway},
		flags: unix.RTF_UP | unix.RTF_GATEWAY, dev: &device[0],
	}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCADDRT, uintptr(unsafe.Pointer(&route)))
	runtime.KeepAlive(device)
	if errno != 0 && errno != unix.EEXIST {
		return fmt.Errorf("add the default route: SIOCADDRT: %w", errno)
	}
	return nil
}

// hasTap says whether the device is there: of a slirp4netns that is just ending.
func hasTap(sock *os.File) bool {
	r, err := unix.NewIfreq(slirp.Device)
	return err == nil && unix.IoctlIfreq(int(sock.Fd()), unix.SIOCGIFFLAGS, r) == nil
}

// hostHasIPv6 looks for a default route of IPv6 (proc_pid_net(5), ipv6_route:
// destination, its length, ..., device). Without one slirp4netns could carry
// nothing, and programs inside would wait for connections that cannot be.
func hostHasIPv6(table string) bool {
	const anywhere = "00000000000000000000000000000000 00 "
	for line := range strings.Lines(table) {
		if strings.HasPrefix(line, anywhere) && !strings.HasSuffix(strings.TrimSpace(line), " lo") {
			return true
		}
	}
	return false
}
