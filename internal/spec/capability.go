package spec

import (
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// capabilityNames are those of capabilities(7), without CAP_, by number: index 0
// is CAP_CHOWN. CHECKPOINT_RESTORE (Linux 5.9) is still the last in 6.18.
var capabilityNames = []string{"CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID",
	"SETPCAP", "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
	"SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
	"SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
	"MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
	"CHECKPOINT_RESTORE"}

// defaultCapability tells whether Docker gives name to every container (moby,
// oci/caps/defaults.go): fourteen of them.
func defaultCapability(name string) bool {
	switch name {
	case "CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "MKNOD", "NET_RAW", "SETGID", "SETUID", "SETFCAP", "SETPCAP",
		"NET_BIND_SERVICE", "SYS_CHROOT", "KILL", "AUDIT_WRITE":
		return true
	}
	return false
}

// capabilities applies --cap-add, --cap-drop and --privileged as Docker does
// (moby, oci/caps.TweakCapabilities): with both flags, what is added wins unless
// ALL is added. They hold in the container's own user namespace only. None is
// inheritable or ambient, so that a payload that is not root has none
// (CVE-2022-24769). By number, so that the same set is always the same list.
func (b *builder) capabilities() error {
	add, addAll, err := parseCapabilities("--cap-add", b.o.CapAdd)
	if err != nil {
		return err
	}
	drop, dropAll, err := parseCapabilities("--cap-drop", b.o.CapDrop)
	if err != nil {
		return err
	}
	var set []string
	for _, name := range capabilityNames {
		var has bool
		switch {
		case b.o.Privileged:
			has = true
		case addAll:
			has = !slices.Contains(drop, name) // Docker: --cap-add=ALL beats --cap-drop=ALL
		case dropAll:
			has = slices.Contains(add, name)
		default:
			has = slices.Contains(add, name) || ((defaultCapability(name) || b.systemdCapability(name)) && !slices.Contains(drop, name))
		}
		if has {
			set = append(set, "CAP_"+name)
		}
	}
	b.spec.Process.Capabilities = &specs.LinuxCapabilities{Bounding: set, Effective: set, Permitted: set}
	b.plan.Seccomp.Caps = set
	return nil
}

// parseCapabilities reads names with or without CAP_, in any case, and ALL.
func parseCapabilities(flag string, values []string) (names []string, all bool, err error) {
	for _, value := range values {
		name := strings.TrimPrefix(strings.ToUpper(value), "CAP_")
		switch {
		case name == "ALL":
			all = true
		case slices.Contains(capabilityNames, name):
			names = append(names, name)
		default:
			return nil, false, refuse(flag, value, orNearest(name, capabilityNames, "see capabilities(7) for the names, or write ALL"), "no such capability")
		}
	}
	return names, all, nil
}
