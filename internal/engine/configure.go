package engine

import (
	"hash/fnv"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/fuse"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/spec"
	"github.com/rc-containers/rc/internal/stage/start"
	"github.com/rc-containers/rc/internal/trace"
	"github.com/rc-containers/rc/internal/version"
	"github.com/rc-containers/rc/slirp"
	"github.com/rc-containers/rc/userns"
)

// configure fills in what the shim is told.
func (l *launch) configure() error {
	defer trace.Begin("make the configuration").End()
	p, c := l.plan, &l.cfg
	c.Version, c.ID, c.Name, c.Root = version.Version, l.id, l.rec.Name, l.e.Store.Root
	c.Dir = l.e.Store.ContainerDir(l.id)
	c.Runtime, _ = l.e.Store.Runtime()
	c.Spec, c.Driver, c.RootfsDir = p.Spec, fuse.Driver(l.e.Driver), l.opts.Rootfs
	c.UIDMap, c.GIDMap = p.UIDMap, p.GIDMap
	c.Clone, c.ShmMount = l.cloneFlags(), p.ShmMount
	c.Network = string(p.Network.Kind)
	c.Attach = slirp.Attach{ID: l.id, Ports: p.Ports, HostLoopback: p.HostLoop, IPv6: p.IPv6, Driver: driverOf(p.Network.Kind), Fallback: p.Unnamed, PastaOptions: p.PastaOptions}
	c.Keeper = l.e.keeperProgram()
	c.StopSignal, c.StopAfter = p.StopSignal, p.StopAfter
	c.AutoRemove, c.Detach = l.opts.Remove, l.opts.Detach
	c.Image, c.Without = l.rec.Image, os.Getenv("RC_TEST_WITHOUT")
	for _, v := range l.rec.Volumes {
		if v.Anonymous {
			c.Anonymous = append(c.Anonymous, v.Name)
		}
	}
	if l.image != nil {
		c.Rootfs = fuse.Rootfs{
			Layers: l.image.Layers, Upper: filepath.Join(c.Dir, "upper"), Work: filepath.Join(c.Dir, "work"),
			Volatile: l.opts.Remove, TarWhiteouts: l.image.Format == record.FormatAufs,
		}
		if p.Shifted {
			c.Rootfs.UIDMap, c.Rootfs.GIDMap = diskMap(p.UIDMap), diskMap(p.GIDMap)
		}
	}
	c.Fresh, c.Log, c.Health, c.Systemd = l.fresh, l.rec.Log, l.rec.Health, p.Systemd
	u := &l.opts.Unit
	c.SDNotify, c.PIDFile, c.ShimPIDFile = u.SDNotify, u.PIDFile, u.ConmonPIDFile
	l.configureAgain()
	l.configureInside()
	return l.attachment()
}

// configureAgain keeps what a later start has to do once more.
func (l *launch) configureAgain() {
	p := l.plan
	l.cfg.Again = start.Again{
		SeccompPath: p.Seccomp.Path, SeccompCaps: p.Seccomp.Caps, Unconfined: p.Seccomp.Unconfined,
		Resources: p.Resources, Place: p.Place, Approx: l.approx, DNS: p.DNS,
	}
	if l.joins == nil {
		return
	}
	l.cfg.Again.Join = l.joins.id
	for name, mode := range l.joined() {
		if mode.Kind == spec.KindContainer {
			l.cfg.Again.JoinNames = append(l.cfg.Again.JoinNames, name)
		}
	}
	slices.Sort(l.cfg.Again.JoinNames)
}

// joined are the modes of the namespaces that can be another container's.
func (l *launch) joined() map[string]spec.NamespaceMode {
	return map[string]spec.NamespaceMode{"net": l.plan.Network, "ipc": l.plan.IPC, "uts": l.plan.UTS, "pid": l.plan.PID}
}

func (l *launch) configureInside() {
	p, in := l.plan, &l.cfg.Inside
	in.Username, in.Groups = p.Spec.Process.User.Username, p.GroupAdd
	in.Init, in.Stdin, in.Privileged = p.Init, l.opts.Interactive && !l.opts.TTY, p.Privileged
	in.HomeSet = p.HomeSet
	in.OwnNet = p.Network.Kind.Kept() || p.Network.Kind == spec.KindNone
	in.OwnUTS = p.UTS.Kind == spec.KindPrivate
	in.HostNet = p.Network.Kind == spec.KindHost
	in.Seccomp = !p.Seccomp.Unconfined
	in.Keyring = l.keyringOwner()
	in.GuardKeys = (p.Seccomp.Unconfined || p.Seccomp.Path != "") && mapsCaller(p.UIDMap)
}

// driverOf is what the keeper calls a kind of network; "" of those that it does not
// attach.
func driverOf(kind spec.NamespaceKind) string {
	if !kind.Kept() {
		return ""
	}
	return string(kind)
}

// keyringOwner picks the subordinate id that pays for the container's session
// keyring. Spread over the range, since the quota is 200 keys an id
// (kernel.keys.maxkeys); 0 where there is only one id.
func (l *launch) keyringOwner() uint32 {
	n := userns.Count(l.plan.UIDMap)
	if n < 2 {
		return 0
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(l.id))
	return 1 + uint32(uint64(h.Sum32())%min(n-1, 60000))
}

// mapsCaller tells whether a container has the caller's own uid, which is 0 in U0.
func mapsCaller(m []userns.IDMap) bool {
	return slices.ContainsFunc(m, func(line userns.IDMap) bool { return line.Outside == 0 })
}

func (l *launch) cloneFlags() int {
	flags := unix.CLONE_NEWNS // the cgroup namespace is init's own step
	if l.joins == nil {
		flags |= unix.CLONE_NEWUSER
	}
	for _, ns := range []struct {
		mode spec.NamespaceMode
		flag int
	}{{l.plan.PID, unix.CLONE_NEWPID}, {l.plan.IPC, unix.CLONE_NEWIPC}, {l.plan.UTS, unix.CLONE_NEWUTS}, {l.plan.Network, unix.CLONE_NEWNET}} {
		switch ns.mode.Kind {
		case spec.KindPrivate, spec.KindNone, spec.KindSlirp, spec.KindPasta, spec.KindBridge:
			flags |= ns.flag
		}
	}
	return flags
}

func diskMap(maps []userns.IDMap) []fuse.IDMap {
	out := make([]fuse.IDMap, len(maps))
	for i, m := range maps {
		out[i] = fuse.IDMap(m)
	}
	return out
}
