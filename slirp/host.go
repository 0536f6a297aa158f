package slirp

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
)

// Program is the name of the program that is one container's network.
const Program = "slirp4netns"

const withoutSlirp = "; --network=host and --network=none work without it"

// CheckHost looks for what the default network needs of this host: slirp4netns
// in PATH and /dev/net/tun. A *hint.Error names what is missing, how to get it,
// and which --network works without it. It starts no process (0.02 ms), and it
// only asks for the right to open the device: who closes one waits for the kernel's
// rtnl lock (tun_chr_close in drivers/net/tun.c), milliseconds while other
// containers' networks are made or taken down. What an open alone would tell, the
// keeper says when the network cannot be had (CheckTun).
func CheckHost() error {
	if _, err := LookPath(Program, os.Getenv("PATH")); err != nil {
		return hint.New("find the program "+Program, err,
			"install the package slirp4netns (`sudo apt-get install slirp4netns`, or dnf, zypper, apk, pacman)"+withoutSlirp)
	}
	return accessTun(tun)
}

const tun = "/dev/net/tun"

// CheckTun opens /dev/net/tun as slirp4netns will, with the errors of CheckHost. Only
// the open tells: access(2) knows nothing of a device cgroup.
func CheckTun() error { return checkTun(tun) }

func checkTun(path string) error {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err == nil {
		return unix.Close(fd)
	}
	return withoutTun(path, err)
}

func accessTun(path string) error {
	if err := unix.Access(path, unix.R_OK|unix.W_OK); err != nil {
		return withoutTun(path, err)
	}
	return nil
}

func withoutTun(path string, err error) error {
	fix := "see ls -l " + path
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO), errors.Is(err, unix.ENOTDIR):
		fix = "load the module: `sudo modprobe tun` (inside a container: start that one with --device /dev/net/tun)"
	case errors.Is(err, unix.EACCES):
		fix = "open it for users: `sudo chmod 0666 " + path + "`"
	case errors.Is(err, unix.EPERM):
		fix = "the device cgroup of this session forbids it: start the outer container with --device /dev/net/tun"
	}
	return hint.New("open "+path, err, fix+withoutSlirp)
}

// LookPath finds an executable file in the absolute folders of path, then in
// the usual system ones, which a user's PATH often lacks (sbin on Debian).
// unix.ENOENT when there is none. (os/exec would cost rc's start 0.1 ms.)
func LookPath(name, path string) (string, error) {
	for _, dir := range append(strings.Split(path, ":"), "/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin", "/sbin") {
		if !filepath.IsAbs(dir) {
			continue // a relative entry would mean the caller's working folder
		}
		file := filepath.Join(dir, name)
		if st, err := os.Stat(file); err == nil && st.Mode().IsRegular() && unix.Access(file, unix.X_OK) == nil {
			return file, nil
		}
	}
	return "", unix.ENOENT
}

// HostAddress is the address by which others reach this host, for the word
// host-gateway of --add-host: with the host's loopback out of reach, 10.0.2.2
// leads nowhere. It is the source address of the default route; a connect of a
// datagram socket sends nothing.
func HostAddress() (netip.Addr, error) {
	const op = "find this host's own address for host-gateway"
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return netip.Addr{}, hint.New(op, err, "")
	}
	defer unix.Close(fd)
	// 198.51.100.1 is for documentation (RFC 5737), so only a default route has it.
	err = unix.Connect(fd, &unix.SockaddrInet4{Port: 9, Addr: [4]byte{198, 51, 100, 1}})
	if err != nil {
		return netip.Addr{}, hint.New(op, err, "give the address itself, or use --network=slirp4netns:allow_host_loopback=true and 10.0.2.2")
	}
	sa, err := unix.Getsockname(fd)
	in, ok := sa.(*unix.SockaddrInet4)
	if err != nil || !ok {
		return netip.Addr{}, hint.New(op, errors.Join(err, unix.EADDRNOTAVAIL), "give the address itself")
	}
	return netip.AddrFrom4(in.Addr), nil
}

// HostAddress6 is the like of IPv6: the zero Addr when the host has no way out by it.
func HostAddress6() netip.Addr {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return netip.Addr{}
	}
	defer unix.Close(fd)
	// 2001:db8::1 is for documentation (RFC 3849).
	to := unix.SockaddrInet6{Port: 9, Addr: netip.MustParseAddr("2001:db8::1").As16()}
	if unix.Connect(fd, &to) != nil {
		return netip.Addr{}
	}
	sa, err := unix.Getsockname(fd)
	in, ok := sa.(*unix.SockaddrInet6)
	if err != nil || !ok {
		return netip.Addr{}
	}
	return netip.AddrFrom16(in.Addr)
}
