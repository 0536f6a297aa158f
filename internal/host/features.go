package host

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/linux"
)

// Kernel probes for Linux 5.14, the oldest that rc supports.
func (s *System) Kernel() Finding {
	release, _ := s.sysctl("kernel.osrelease")
	f := Finding{Name: "kernel", Evidence: "Linux " + release}
	var major, minor int
	if _, err := fmt.Sscanf(release, "%d.%d", &major, &minor); err != nil {
		f.Evidence, f.Fix = fmt.Sprintf("cannot read the release %q", release), "mount /proc"
		return f
	}
	f.OK = major > 5 || major == 5 && minor >= 14
	if !f.OK {
		f.Fix = "boot Linux 5.14 or later"
	}
	return f
}

// Fuse probes that /dev/fuse can be opened, which fuse-overlayfs needs.
func (s *System) Fuse() Finding {
	return s.device("/dev/fuse", "sudo modprobe fuse && sudo chmod 0666 /dev/fuse")
}

// Tun probes that /dev/net/tun can be opened, which slirp4netns needs.
func (s *System) Tun() Finding {
	return s.device("/dev/net/tun", "sudo modprobe tun && sudo chmod 0666 /dev/net/tun; --network=none and --network=host work without it")
}

func (s *System) device(path, fix string) Finding {
	fd, err := unix.Open(s.Root+path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return Finding{Name: path, Evidence: fmt.Sprintf("open: %v", err), Fix: fix}
	}
	_ = unix.Close(fd)
	return Finding{Name: path, OK: true, Evidence: "opened for reading and writing"}
}

// FuseOverlayfs probes for the program.
func (s *System) FuseOverlayfs() Finding {
	const name = "fuse-overlayfs"
	return s.program(name, Package{name, name, name, name, name})
}

// Slirp4netns probes for the program.
func (s *System) Slirp4netns() Finding {
	const name = "slirp4netns"
	f := s.program(name, Package{name, name, name, name, name})
	if !f.OK {
		f.Fix += "; --network=none and --network=host work without it"
	}
	return f
}

func (s *System) program(name string, p Package) Finding {
	path := s.LookPath(name)
	if path == "" {
		return Finding{Name: name, Evidence: "not installed", Fix: s.Install(p)}
	}
	return Finding{Name: name, OK: true, Evidence: path}
}

// Seccomp probes that the kernel filters system calls.
func (s *System) Seccomp() Finding {
	actions, ok := s.sysctl("kernel.seccomp.actions_avail")
	if !ok {
		return Finding{Name: "seccomp", Evidence: "the kernel has no seccomp filters", Fix: "use a kernel with CONFIG_SECCOMP_FILTER=y"}
	}
	return Finding{Name: "seccomp", OK: true, Evidence: actions}
}

// Landlock probes for the scopes that --network=host adds (ABI 6, Linux 6.12).
func (s *System) Landlock() Finding {
	abi := linux.LandlockABI()
	f := Finding{Name: "landlock", OK: abi >= 6 && !linux.Without(linux.LandlockScope), Evidence: "ABI " + strconv.Itoa(abi)}
	switch {
	case abi == 0:
		f.Evidence, f.Fix = "not enabled", "boot with lsm=landlock,… ; until then --network=host shares the host's abstract sockets"
	case !f.OK:
		f.Fix = "boot Linux 6.12 or later; until then --network=host shares the host's abstract sockets"
	}
	return f
}

// Keys probes how many session keyrings the user may have, one for a container
// in single-id mode. With subordinate IDs each owner has a quota of its own.
func (s *System) Keys() Finding {
	text, ok := s.sysctl("kernel.keys.maxkeys")
	if !ok {
		return Finding{Name: "keyrings", OK: true, Evidence: "the kernel has none, so there is nothing to hide"}
	}
	quota, _ := strconv.Atoi(text)
	used := s.keysUsed()
	f := Finding{Name: "keyrings", OK: quota-used >= 20, Evidence: fmt.Sprintf("%d of kernel.keys.maxkeys=%d used", used, quota)}
	if !f.OK {
		f.Fix = "sudo sysctl -w kernel.keys.maxkeys=20000 kernel.keys.maxbytes=2000000"
	}
	return f
}

// keysUsed reads the fourth field of the caller's line in /proc/key-users,
// `1000: 5 5/5 3/200 60/20000` (proc(5)).
func (s *System) keysUsed() int {
	text, _ := s.read("/proc/key-users")
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 4 || f[0] != strconv.Itoa(s.UID)+":" {
			continue
		}
		used, _, _ := strings.Cut(f[3], "/")
		n, _ := strconv.Atoi(used)
		return n
	}
	return 0
}

// RuntimeDir probes XDG_RUNTIME_DIR: a folder of the caller's, closed to others.
func (s *System) RuntimeDir() Finding {
	f := Finding{Name: "runtime folder", Fix: "nothing to do: rc makes one below /tmp; `loginctl enable-linger` gives a kept one"}
	dir := s.Env("XDG_RUNTIME_DIR")
	if dir == "" {
		f.Evidence = "XDG_RUNTIME_DIR is not set"
		return f
	}
	var st unix.Stat_t
	if err := unix.Stat(s.Root+dir, &st); err != nil {
		f.Evidence = fmt.Sprintf("%s: %v", dir, err)
		return f
	}
	if int(st.Uid) != s.UID || st.Mode&0o077 != 0 || st.Mode&unix.S_IFMT != unix.S_IFDIR {
		f.Evidence = fmt.Sprintf("%s is not a folder of yours with mode 0700", dir)
		return f
	}
	f.OK, f.Evidence, f.Fix = true, dir, ""
	return f
}
