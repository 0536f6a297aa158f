package spec

import (
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/rc-containers/rc/userns"
)

// ipcSysctls live in the IPC namespace (kernel, ipc/ipc_sysctl.c), sorted. Those
// with _next_id need CAP_CHECKPOINT_RESTORE, which init has.
var ipcSysctls = []string{"kernel.auto_msgmni", "kernel.msg_next_id", "kernel.msgmax", "kernel.msgmnb", "kernel.msgmni",
	"kernel.sem", "kernel.sem_next_id", "kernel.shm_next_id", "kernel.shm_rmid_forced", "kernel.shmall",
	"kernel.shmmax", "kernel.shmmni"}

// sysctls reads --sysctl NAME=VALUE: Docker's list (docker/cli, opts.ValidateSysctl)
// and what runc allows besides (libcontainer/configs/validate, sysctl). A name is
// allowed where its namespace is not the host's, so that it changes the container alone.
func (b *builder) sysctls() error {
	for _, value := range b.o.Sysctl {
		key, text, ok := strings.Cut(value, "=")
		key, valid := sysctlName(key)
		if !ok || !valid {
			return refuse("--sysctl", value, "write NAME=VALUE, as in net.ipv4.ip_forward=1", "not the name of a sysctl and a value")
		}
		var mode NamespaceMode
		var flag string
		switch {
		case strings.HasPrefix(key, "net."):
			mode, flag = b.plan.Network, "--network"
		case strings.HasPrefix(key, "fs.mqueue."):
			mode, flag = b.plan.IPC, "--ipc"
		case key == "kernel.domainname":
			mode, flag = b.plan.UTS, "--uts"
		case key == "kernel.hostname":
			return refuse("--sysctl", value, "use --hostname", "the host name has a flag of its own")
		default:
			if _, ok := slices.BinarySearch(ipcSysctls, key); !ok {
				return refuse("--sysctl", value, orNearest(key, ipcSysctls, "only net.*, fs.mqueue.*, kernel.domainname, kernel.shm*, kernel.msg* and kernel.sem belong to a container"),
					"it would change the host, or the kernel does not let a container change it")
			}
			mode, flag = b.plan.IPC, "--ipc"
		}
		if mode.Kind == KindHost {
			return refuse("--sysctl", value, "leave out --sysctl or "+flag+"=host", "with %s=host it would change the host", flag)
		}
		b.setSysctl(key, text)
	}
	return nil
}

func (b *builder) setSysctl(key, value string) {
	if b.spec.Linux.Sysctl == nil {
		b.spec.Linux.Sysctl = map[string]string{}
	}
	b.spec.Linux.Sysctl[key] = value
}

// sysctlName brings a/b/c and a.b.c to the dotted form, in which a slash stands
// for the dot of a name like eth0.100 (sysctl.d(5)). No part may be empty or
// made of dots: init turns the name into a path below /proc/sys.
func sysctlName(key string) (string, bool) {
	if i := strings.IndexAny(key, "./"); i >= 0 && key[i] == '/' {
		swap := strings.NewReplacer(".", "/", "/", ".")
		key = swap.Replace(key)
	}
	parts := strings.Split(key, ".")
	for _, part := range parts {
		if strings.Trim(part, "/") == "" || strings.ContainsFunc(part, badSysctlChar) {
			return "", false
		}
	}
	return key, len(parts) > 1
}

func badSysctlChar(r rune) bool {
	return r > 'z' || (!alnum(byte(r)) && !strings.ContainsRune("_-/", r))
}

// defaultSysctls are Docker's for a network of the container's own (moby,
// daemon/oci_linux.go, withCommonOptions): any user may listen below 1024, and
// ping needs no capability. ping_group_range must name mapped groups, of which
// the highest may be GID_T_MAX (kernel, net/ipv4/sysctl_net_ipv4.c).
func (b *builder) defaultSysctls() error {
	if !slices.ContainsFunc(b.spec.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.NetworkNamespace }) {
		return nil
	}
	defaults := map[string]string{
		"net.ipv4.ip_unprivileged_port_start": "0",
		"net.ipv4.ping_group_range":           "0 " + strconv.FormatUint(uint64(min(lastID(b.plan.GIDMap), 1<<31-1)), 10),
	}
	for key, value := range defaults {
		if _, ok := b.spec.Linux.Sysctl[key]; !ok {
			b.setSysctl(key, value)
		}
	}
	return nil
}

// lastID is the highest id that is mapped without a gap from 0 on.
func lastID(maps []userns.IDMap) uint32 {
	last := uint32(0)
	for id := uint32(0); ; {
		i := slices.IndexFunc(maps, func(l userns.IDMap) bool { return l.Inside <= id && id-l.Inside < l.Size })
		if i < 0 {
			return last
		}
		last = maps[i].Inside + (maps[i].Size - 1)
		if id = last + 1; id == 0 {
			return last
		}
	}
}
