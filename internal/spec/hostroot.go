package spec

import (
	"os"
	"slices"
	"strings"

	"github.com/rc-containers/rc/userns"
)

// hostRoot refuses what would make the image the host's root. Run by root, U0
// maps the host's uid 0 to itself: the container's root then has no capability
// outside, but the kernel lets uid 0 as such write to /proc/sys/kernel/core_pattern
// and its like (proc_sys_permission() asks for the owner, not for a capability).
// The read-only /proc/sys stands between, and CAP_SYS_ADMIN takes it away.
func (b *builder) hostRoot() error {
	if b.in.Mapping == nil || !rootOfHost(b.in.Mapping) || !mapsOwner(b.plan.UIDMap) {
		return nil
	}
	const fix = "run rc as a normal user, or add --userns=auto (root then needs a line in /etc/subuid and /etc/subgid)"
	const why = "rc runs as root, so the container's root is the host's uid 0, and with this it could write the host's kernel settings"
	switch {
	case b.o.Privileged:
		return refuse("--privileged", "true", fix, why)
	case slices.Contains(b.spec.Process.Capabilities.Bounding, "CAP_SYS_ADMIN"):
		return refuse("--cap-add", "SYS_ADMIN", fix, why)
	case b.security.unmaskAll || len(b.security.unmask) > 0:
		return refuse("--security-opt", "unmask", fix, why)
	}
	return nil
}

// rootOfHost tells whether id 0 of U0 is uid 0 of the initial user namespace. The
// maps of U0 are in the ids of our own namespace, so that one must be the initial
// one: it maps everything to itself (user_namespaces(7)).
func rootOfHost(m *userns.Mapping) bool {
	outside, ok := userns.Lookup(m.UID, 0)
	if !ok || outside != 0 {
		return false
	}
	text, err := os.ReadFile("/proc/self/uid_map")
	return err != nil || strings.Join(strings.Fields(string(text)), " ") == "0 0 4294967295"
}

// mapsOwner tells whether a sandbox has the id 0 of U0.
func mapsOwner(maps []userns.IDMap) bool {
	return slices.ContainsFunc(maps, func(m userns.IDMap) bool { return m.Outside == 0 && m.Size > 0 })
}
