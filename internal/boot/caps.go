package boot

import (
	"fmt"
	"sort"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/trace"
)

// capNumbers is linux/capability.h, in its order: the index is the number.
var capNumbers = []string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID",
	"CAP_KILL", "CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE",
	"CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK",
	"CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE",
	"CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE",
	"CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE",
	"CAP_AUDIT_CONTROL", "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG",
	"CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF",
	"CAP_CHECKPOINT_RESTORE",
}

// capMask turns names into a bit mask; the names were checked when the spec was made.
func capMask(names []string) (uint64, error) {
	var mask uint64
next:
	for _, name := range names {
		for n, known := range capNumbers {
			if known == name {
				mask |= 1 << n
				continue next
			}
		}
		return 0, hint.Newf("set capabilities", "", "unknown capability %q", name)
	}
	return mask, nil
}

// dropBounding takes what is not granted out of reach of every later execve,
// set-uid programs included (capabilities(7), "Capability bounding set").
func (b *box) dropBounding() error {
	defer trace.Begin("drop capabilities").End()
	keep, err := capMask(b.cfg.Spec.Process.Capabilities.Bounding)
	if err != nil {
		return err
	}
	for n := 0; ; n++ {
		// EINVAL: beyond the kernel's last capability.
		if have, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(n), 0, 0, 0); err != nil {
			return nil
		} else if have == 0 || keep&(1<<n) != 0 {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(n), 0, 0, 0); err != nil {
			return hint.New("drop capability "+strconv.Itoa(n), err, "")
		}
	}
}

// become sets groups, ids and capability sets on this thread, by raw system
// calls: the library's wrappers change every thread, which is not needed before
// an execve and not safe after a raw clone.
func (b *box) become() error {
	defer trace.Begin("become the payload's user").End()
	if err := b.setGroups(); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_KEEPCAPS, 1, 0, 0, 0); err != nil {
		return hint.New("keep capabilities", err, "")
	}
	const fix = "use an id that the container has: see /proc/self/uid_map and gid_map in it"
	if err := raw3(unix.SYS_SETRESGID, b.who.gid); err != nil {
		return hint.New(fmt.Sprintf("become gid %d", b.who.gid), err, fix)
	}
	if err := raw3(unix.SYS_SETRESUID, b.who.uid); err != nil {
		return hint.New(fmt.Sprintf("become uid %d", b.who.uid), err, fix)
	}
	return b.setCaps()
}

// setGroups asks the kernel and not /proc/self/setgroups whether it may: in a
// running container anything can lie there, and an exec that believed it would keep
// the groups of the caller's own, with what these may read on the host.
func (b *box) setGroups() error {
	groups := make([]uint32, 0, len(b.who.groups)+1)
	seen := map[int]bool{}
	for _, g := range append([]int{b.who.gid}, b.who.groups...) {
		if !seen[g] {
			seen[g] = true
			groups = append(groups, uint32(g))
		}
	}
	sort.Slice(groups, func(i, j int) bool { return groups[i] < groups[j] })
	_, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(unsafe.Pointer(&groups[0])), 0)
	switch {
	case errno == unix.EPERM && len(b.cfg.Inside.Groups) > 0:
		return hint.Newf("set --group-add", "get subordinate ids: sudo usermod --add-subgids FIRST-LAST USER", "with a single mapped id the kernel forbids setgroups")
	case errno == unix.EPERM: // user_namespaces(7): a single mapped id, where setgroups is denied for good
	case errno != 0:
		return hint.New(fmt.Sprintf("set groups %v", groups), errno, "an id is not mapped: get a larger range of subordinate ids")
	}
	return nil
}

func raw3(trap uintptr, id int) error {
	if _, _, errno := unix.RawSyscall(trap, uintptr(id), uintptr(id), uintptr(id)); errno != 0 {
		return errno
	}
	return nil
}

func (b *box) setCaps() error {
	c := b.cfg.Spec.Process.Capabilities
	effective, err := capMask(c.Effective)
	if err != nil {
		return err
	}
	permitted, err := capMask(c.Permitted)
	if err != nil {
		return err
	}
	inheritable, err := capMask(c.Inheritable)
	if err != nil {
		return err
	}
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	data := [2]unix.CapUserData{
		{Effective: uint32(effective), Permitted: uint32(permitted), Inheritable: uint32(inheritable)},
		{Effective: uint32(effective >> 32), Permitted: uint32(permitted >> 32), Inheritable: uint32(inheritable >> 32)},
	}
	if err := unix.Capset(&hdr, &data[0]); err != nil {
		return hint.New("set capabilities", err, "")
	}
	for _, name := range c.Ambient {
		mask, err := capMask([]string{name})
		if err != nil {
			return err
		}
		n := uintptr(0)
		for mask>>n != 1 {
			n++
		}
		if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, n, 0, 0); err != nil {
			return hint.New("raise ambient "+name, err, "")
		}
	}
	return nil
}
