package spec

import (
	"os"
	"strconv"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/rc-containers/rc/userns"
)

// defaultMounts are those of every container (moby, daemon/pkg/oci/defaults.go),
// and what stands in for them where a namespace is the host's: the kernel mounts
// a proc, a sysfs or an mqueue only for who has CAP_SYS_ADMIN over the user
// namespace that owns the PID, network or IPC namespace they show. A joined
// container's namespaces belong to the user namespace that is joined as well, so
// that fresh ones work there (tried: sysfs and cgroup2 in a joined sandbox, 6.18).
func (b *builder) defaultMounts() []specs.Mount {
	// newinstance is for other runtimes that read this spec: since Linux 4.7 every
	// mount of devpts is one of its own (kernel commit eedf265aa003). ptmxmode, because
	// /dev/ptmx is a link to pts/ptmx, whose mode is 0 otherwise
	// (kernel, Documentation/filesystems/devpts.rst).
	pts := []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"}
	if _, ok := userns.Lookup(b.plan.GIDMap, 5); ok {
		pts = append(pts, "gid=5") // group tty; EINVAL where it is not mapped
	}
	mounts := []specs.Mount{
		b.proc(),
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: pts},
	}
	mounts = append(mounts, b.sys()...)
	mounts = append(mounts, b.mqueue()...)
	mounts = append(mounts, b.shm()...)
	return append(mounts, b.systemdMounts()...)
}

func (b *builder) proc() specs.Mount {
	m := specs.Mount{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}}
	if b.plan.PID.Kind == KindHost {
		m.Type, m.Source = "bind", "/proc"
		m.Options = append([]string{"rbind", "rprivate"}, m.Options...)
	}
	return m
}

// sys is a fresh sysfs with the container's cgroup on it. On the host's network
// it is the host's, read-only with all that is mounted there, and the cgroup tree
// is covered: through it a container with no capability froze its sibling (tried).
// It stays read-only under --privileged, too.
func (b *builder) sys() []specs.Mount {
	flags := []string{"nosuid", "noexec", "nodev"}
	if b.plan.Network.Kind == KindHost {
		cover := specs.Mount{Destination: "/sys/fs/cgroup", Type: "tmpfs", Source: "tmpfs", Options: append([]string{"ro", "mode=0555", "size=4k"}, flags...)}
		if b.plan.Systemd != "" { // of its own namespace, as without the host's network
			cover = specs.Mount{Destination: "/sys/fs/cgroup", Type: "cgroup2", Source: "cgroup", Options: flags}
		}
		return []specs.Mount{
			{Destination: "/sys", Type: "bind", Source: "/sys", Options: append([]string{"rbind", "rprivate", "ro", "rro"}, flags...)},
			cover,
		}
	}
	sys := specs.Mount{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: flags}
	cgroup := specs.Mount{Destination: "/sys/fs/cgroup", Type: "cgroup2", Source: "cgroup", Options: flags}
	// A read-only /sys tells systemd to leave the host's devices alone
	// (systemd.io/CONTAINER_INTERFACE, point 4), under --privileged, too.
	if !b.o.Privileged || b.plan.Systemd != "" {
		// Save for its own network devices its files belong to the host's uid 0: this
		// is for rc as root, whose container's root is that uid.
		sys.Options = append([]string{"ro"}, flags...)
	}
	if !b.security.writableCgroups {
		cgroup.Options = append([]string{"ro"}, flags...)
	}
	return []specs.Mount{sys, cgroup}
}

func (b *builder) mqueue() []specs.Mount {
	m := specs.Mount{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}}
	if b.plan.IPC.Kind == KindHost {
		if _, err := os.Stat("/dev/mqueue"); err != nil {
			return nil // this host mounts none: nothing to share
		}
		m.Type, m.Source = "bind", "/dev/mqueue"
		m.Options = append([]string{"bind", "rprivate"}, m.Options...)
	}
	return []specs.Mount{m}
}

// shm goes with the IPC namespace: POSIX shared memory is files in /dev/shm.
func (b *builder) shm() []specs.Mount {
	m := specs.Mount{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: []string{"nosuid", "noexec", "nodev"}}
	switch {
	// --ipc=none promises that nothing can be shared: not even a folder for it.
	case b.noShm:
		return nil
	case b.plan.IPC.Kind == KindHost:
		m.Type, m.Source = "bind", "/dev/shm"
		m.Options = append([]string{"bind", "rprivate"}, m.Options...)
	case b.plan.IPC.Kind == KindContainer:
		m.Type, m.Source = "bind", ""
		m.Options = append([]string{"bind", "rprivate"}, m.Options...)
	default:
		m.Options = append(m.Options, "mode=1777", "size="+strconv.FormatInt(b.shmSize, 10))
	}
	return []specs.Mount{m}
}
