package spec

import (
	"path"
	"slices"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// A system container runs an init that manages its own cgroups: systemd. What it
// expects is in systemd's CONTAINER_INTERFACE (systemd.io/CONTAINER_INTERFACE); the
// flag and the choice of mounts are podman's (podman-run(1), --systemd).

// The values of Plan.Systemd, beside "" for an ordinary container.
const (
	SystemdFound  = "true"   // the command is an init's: by its name alone
	SystemdAlways = "always" // the user says so
)

const (
	// systemd halts on it, the clean way (systemd(1), SIGNALS). SIGTERM, Docker's
	// choice, makes it execute itself again.
	sigHalt = sigRTMin + 3

	// systemd gives each of its units as long to stop (systemd-system.conf(5),
	// DefaultTimeoutStopSec=); Docker's ten seconds would cut data off.
	systemdStopAfter = 90 * time.Second
)

// systemdFlag checks --systemd as typed.
func (b *builder) systemdFlag() error {
	switch b.o.Systemd {
	case "", "true", "false":
	case "always":
		return b.refuseForSystemd()
	default:
		return refuse("--systemd", b.o.Systemd, "choose true, false or always", "no such choice")
	}
	return nil
}

// refuseForSystemd refuses what makes a systemd that is asked for impossible: it
// manages a system as process 1 only (systemd(1), --system).
func (b *builder) refuseForSystemd() error {
	switch {
	case b.o.Init:
		return refuse("--systemd", "always", "leave out --init", "with --init another program is process 1")
	case b.plan.PID.Kind != KindPrivate:
		return refuse("--systemd", "always", "leave out --pid="+b.o.PID, "process 1 of that PID namespace is another's")
	}
	return nil
}

// systemd decides whether this is a system container, and what follows from it.
// It runs when the command is known, and goes once more through what the flags
// alone had decided.
func (b *builder) systemd() error {
	switch {
	case b.o.Systemd == "always":
		b.plan.Systemd = SystemdAlways
	case b.o.Systemd == "false" || b.refuseForSystemd() != nil || !initName(b.spec.Process.Args[0]):
		return nil
	default:
		b.plan.Systemd = SystemdFound
	}
	b.security.writableCgroups = true
	// /dev/console is where it says how far it is, and it falls back to nothing:
	// without a terminal `rc logs` of a boot that fails would be empty.
	b.spec.Process.Terminal = true
	if b.o.StopSignal == "" && b.img.StopSignal == "" {
		b.plan.StopSignal = sigHalt
	}
	if b.o.StopTimeout == nil {
		b.plan.StopAfter = systemdStopAfter
	}
	return b.capabilities()
}

// initName tells whether a command is an init's, as podman does
// (pkg/specgen/generate, CompleteSpec).
func initName(command string) bool {
	return slices.Contains([]string{"/sbin/init", "/usr/sbin/init", "/usr/local/sbin/init"}, command) || path.Base(command) == "systemd"
}

// systemdCapability tells whether a system container has name beside Docker's
// fourteen. CAP_SYS_BOOT reaches no further than its own PID namespace: reboot(2)
// there ends process 1 with a signal that says what was asked for (pid_namespaces(7));
// kexec asks for the right in the host's user namespace. Without it `reboot` and
// `poweroff` inside are one and the same to us: systemd just exits.
//
// What LXC gives more (SYS_ADMIN, NET_ADMIN …) takes a --cap-add: it is what most
// of the kernel's holes for user namespaces were behind, and systemd boots without.
func (b *builder) systemdCapability(name string) bool {
	return b.plan.Systemd != "" && name == "SYS_BOOT"
}

// systemdMounts are empty folders in memory, which systemd would mount itself had
// it CAP_SYS_ADMIN. Sizes are its own (systemd, src/shared/mount-setup.c and
// units/tmp.mount) and Debian's (run-lock.mount). The journal's is podman's: it
// keeps a log that is mapped into memory and grows off the layer of the container.
func (b *builder) systemdMounts() []specs.Mount {
	if b.plan.Systemd == "" {
		return nil
	}
	tmpfs := func(dest string, options ...string) specs.Mount {
		return specs.Mount{Destination: dest, Type: "tmpfs", Source: "tmpfs", Options: append([]string{"nosuid", "nodev"}, options...)}
	}
	return []specs.Mount{
		tmpfs("/run", "mode=0755", "size=20%", "nr_inodes=800k", "tmpcopyup"),
		tmpfs("/run/lock", "noexec", "mode=1777", "size=5m"),
		tmpfs("/tmp", "mode=1777", "size=50%", "nr_inodes=1m", "tmpcopyup"),
		tmpfs("/var/log/journal", "noexec", "mode=0755"),
	}
}

// systemdEnv tells systemd that it is in a container, and whose, and what its
// machine-id shall be: of a container that is made anew from one image, another.
func (b *builder) systemdEnv() []string {
	if b.plan.Systemd == "" {
		return nil
	}
	env := []string{"container=rc"}
	if id := b.in.ID; len(id) >= 32 {
		env = append(env, "container_uuid="+id[:8]+"-"+id[8:12]+"-"+id[12:16]+"-"+id[16:20]+"-"+id[20:32])
	}
	if !b.o.TTY {
		env = append(env, "TERM=dumb") // nobody looks: no colours in the log
	}
	return env
}
