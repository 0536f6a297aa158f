package spec

import (
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/userns"
)

// mount is one mount that a flag or the image asks for.
type mount struct {
	flag, value string // as typed, for refusals
	spec        specs.Mount
	volume      *Volume // nil: not a volume
	overlay     bool    // :O
	chown       bool    // :U
}

// add takes a mount in, once its destination is checked and free.
func (b *builder) add(m mount) error {
	dest, why := cleanTarget(m.spec.Destination)
	if why != "" {
		return refuse(m.flag, m.value, "give an absolute path below / in the container", "%s: %s", quoted(m.spec.Destination), why)
	}
	m.spec.Destination = dest
	if m.volume != nil {
		m.volume.Destination = dest
	}
	at := slices.IndexFunc(b.binds, func(o mount) bool { return o.spec.Destination == dest })
	switch {
	case at < 0:
		b.binds = append(b.binds, m)
	case m.flag == "--tmpfs" && b.binds[at].flag == "--tmpfs": // Docker keeps them in a map: the last one counts
		b.binds[at] = m
	default:
		return refuse(m.flag, m.value, "mount one thing there", "duplicate mount point %s: %s %s is there", dest, b.binds[at].flag, quoted(b.binds[at].value))
	}
	return nil
}

// mounted tells whether a flag mounts something at dest.
func (b *builder) mounted(dest string) bool {
	return slices.ContainsFunc(b.binds, func(o mount) bool { return o.spec.Destination == dest })
}

// cleanTarget checks a destination. Inside /proc only what runc allows can be
// covered (libcontainer/rootfs_linux.go, checkProcMount: lxcfs needs it);
// anything else there could undo what masks /proc or make the payload lie about itself.
func cleanTarget(dest string) (clean, why string) {
	switch {
	case dest == "":
		return "", "no destination"
	case dest[0] != '/':
		return "", "not an absolute path"
	case strings.Contains(dest, "\x00"):
		return "", "a NUL byte in the path"
	}
	dest = path.Clean(dest)
	switch dest {
	case "/":
		return "", "the root itself cannot be mounted over"
	case "/proc/cpuinfo", "/proc/diskstats", "/proc/loadavg", "/proc/meminfo", "/proc/net/dev", "/proc/slabinfo",
		"/proc/stat", "/proc/swaps", "/proc/sys/crypto/fips_enabled", "/proc/sys/kernel/ns_last_pid", "/proc/uptime":
		return dest, ""
	}
	if within(dest, "/proc") {
		return "", "nothing can be mounted inside /proc"
	}
	return dest, ""
}

// within tells whether the clean path p is dir or below it.
func within(p, dir string) bool {
	rest, ok := strings.CutPrefix(p, dir)
	return ok && (rest == "" || rest[0] == '/' || dir == "/")
}

// layout puts all mounts in the order in which they are made: what every
// container has, then the rest by depth, so that a mount never hides one that a
// flag asked for below it.
func (b *builder) layout() error {
	// What a flag mounts replaces what every container has there and below it, so
	// that -v /dev:/dev or --tmpfs /sys mean what they say (moby, daemon/oci_linux.go,
	// withMounts, which knows this of /dev only).
	for _, m := range b.defaultMounts() {
		if !slices.ContainsFunc(b.binds, func(u mount) bool { return within(m.Destination, u.spec.Destination) }) {
			b.spec.Mounts = append(b.spec.Mounts, m)
		}
	}
	if b.o.Privileged && !b.mounted("/dev") {
		b.hostDevices()
	}
	rest := append(b.files(), b.binds...)
	slices.SortStableFunc(rest, func(a, c mount) int { return depth(a.spec.Destination) - depth(c.spec.Destination) })
	for _, m := range rest {
		if err := b.checkTmpfsOwner(m); err != nil {
			return err
		}
		if m.volume != nil {
			m.volume.MountIndex = len(b.spec.Mounts)
			b.plan.Volumes = append(b.plan.Volumes, *m.volume)
		}
		if m.overlay {
			b.plan.Overlay = append(b.plan.Overlay, len(b.spec.Mounts))
		}
		if m.chown {
			b.plan.Chown = append(b.plan.Chown, len(b.spec.Mounts))
		}
		b.spec.Mounts = append(b.spec.Mounts, m.spec)
	}
	if b.plan.IPC.Kind == KindContainer {
		b.plan.ShmMount = slices.IndexFunc(b.spec.Mounts, func(m specs.Mount) bool { return m.Destination == "/dev/shm" && m.Source == "" })
	}
	return nil
}

func depth(p string) int { return strings.Count(p, "/") }

// files are the three that the engine writes into Dir.
func (b *builder) files() []mount {
	var out []mount
	for _, name := range []string{"resolv.conf", "hostname", "hosts"} {
		dest := "/etc/" + name
		if slices.ContainsFunc(b.binds, func(u mount) bool { return within(dest, u.spec.Destination) }) {
			continue // theirs, or inside a folder that is theirs and not to be written to
		}
		// As mounts they are written before there is a root file system, whatever its
		// driver, and never become a part of what the container changed in its image.
		m := specs.Mount{Destination: dest, Type: "bind", Source: filepath.Join(b.in.Dir, name), Options: []string{"bind", "rprivate"}}
		if b.o.ReadOnly {
			m.Options = append(m.Options, "ro")
		}
		out = append(out, mount{spec: m})
	}
	return out
}

// imageVolumes makes anonymous volumes of the image's VOLUMEs where nothing is
// mounted. A relative one is taken from /, as runc does.
func (b *builder) imageVolumes() error {
	var paths []string
	for p := range b.img.Volumes {
		paths = append(paths, p)
	}
	// A map has no order, and the spec of a container shall not change from one
	// start to the next (testdata holds whole ones).
	slices.Sort(paths)
	for _, p := range paths {
		dest := path.Clean("/" + p)
		if b.mounted(dest) || dest == "/etc/resolv.conf" || dest == "/etc/hosts" || dest == "/etc/hostname" {
			continue
		}
		if err := b.add(volumeMount("the image's VOLUME", p, "", dest, false)); err != nil {
			return err
		}
	}
	return nil
}

func volumeMount(flag, value, name, dest string, ro bool) mount {
	options := []string{"rbind", "rprivate"}
	if ro {
		options = append(options, readOnly...)
	}
	return mount{flag: flag, value: value,
		spec:   specs.Mount{Destination: dest, Type: "bind", Options: options},
		volume: &Volume{Name: name, Anonymous: name == "", ReadOnly: ro}}
}

// checkTmpfsOwner refuses an owner that the container does not have, which the
// kernel would answer with a bare EINVAL.
func (b *builder) checkTmpfsOwner(m mount) error {
	if m.spec.Type != "tmpfs" {
		return nil
	}
	for _, o := range m.spec.Options {
		key, text, _ := strings.Cut(o, "=")
		for _, k := range []struct {
			key, what string
			maps      []userns.IDMap
		}{{"uid", "user", b.plan.UIDMap}, {"gid", "group", b.plan.GIDMap}} {
			if key != k.key {
				continue
			}
			if _, err := b.id(m.flag, m.value, k.what, text, k.maps); err != nil {
				return err
			}
		}
	}
	return nil
}

// createSources makes the missing source folders of -v, as Docker does.
func (b *builder) createSources() error {
	for _, dir := range b.makeDirs {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return hint.New("make the folder "+quoted(dir)+" for --volume", hint.Cause(err), "make it yourself, or name one that exists")
		}
	}
	return nil
}
