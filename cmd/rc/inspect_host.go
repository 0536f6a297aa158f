package main

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/rc-containers/rc/cgroup"
	"github.com/rc-containers/rc/internal/engine"
	"github.com/rc-containers/rc/slirp"
)

// hostConfigView has those fields of Docker's HostConfig that rc knows.
type hostConfigView struct {
	Binds             []string
	LogConfig         logConfigView
	NetworkMode       string
	PortBindings      map[string][]portBinding
	RestartPolicy     restartView
	AutoRemove        bool
	Annotations       map[string]string
	CapAdd            []string
	CapDrop           []string
	DNS               []string `json:"Dns"`
	DNSOptions        []string `json:"DnsOptions"`
	DNSSearch         []string `json:"DnsSearch"`
	ExtraHosts        []string
	GroupAdd          []string
	IpcMode           string
	OomScoreAdj       int
	PidMode           string
	Privileged        bool
	ReadonlyRootfs    bool
	SecurityOpt       []string
	Tmpfs             map[string]string
	UTSMode           string
	ShmSize           int64
	Sysctls           map[string]string
	Runtime           string
	CPUShares         uint64 `json:"CpuShares"`
	CPUPeriod         int64  `json:"CpuPeriod"` // microseconds, as CpuQuota
	CPUQuota          int64  `json:"CpuQuota"`
	Memory            int64
	NanoCPUs          int64 `json:"NanoCpus"`
	CpusetCpus        string
	CpusetMems        string
	MemoryReservation int64
	MemorySwap        int64
	PidsLimit         *int64
	Devices           []deviceView
	Ulimits           []ulimitView
	MaskedPaths       []string
	ReadonlyPaths     []string
	Init              bool
	CgroupParent      string
	CgroupPath        string // rc's own, as the two that follow
	CgroupMode        string
	CgroupFallback    bool

	BlkioWeight          uint16
	BlkioWeightDevice    []weightDevice
	BlkioDeviceReadBps   []rateDevice
	BlkioDeviceWriteBps  []rateDevice
	BlkioDeviceReadIOps  []rateDevice
	BlkioDeviceWriteIOps []rateDevice
	HugepageLimits       map[string]int64  `json:",omitempty"` // rc's own, as is CgroupConf
	CgroupConf           map[string]string `json:",omitempty"`
}

// weightDevice and rateDevice are Docker's WeightDevice and ThrottleDevice.
type weightDevice struct {
	Path   string
	Weight uint64
}

type rateDevice struct {
	Path string
	Rate uint64
}

func rateDevices(list []cgroup.DeviceLimit) []rateDevice {
	views := []rateDevice{}
	for _, d := range list {
		views = append(views, rateDevice{d.Path, d.Limit})
	}
	return views
}

type logConfigView struct {
	Type   string
	Config map[string]string
}

type restartView struct {
	Name              string
	MaximumRetryCount int
}

type portBinding struct {
	HostIP   string `json:"HostIp"`
	HostPort string
}

type deviceView struct{ PathOnHost, PathInContainer, CgroupPermissions string }

type ulimitView struct {
	Name string
	Hard int64
	Soft int64
}

func portKey(p slirp.Port) string { return fmt.Sprintf("%d/%s", p.ContainerPort, p.Proto) }

// hostConfigOf is what the record of the container says.
func hostConfigOf(c *engine.Entry) hostConfigView {
	h := hostConfigView{
		Binds: []string{}, LogConfig: logConfigView{cmp.Or(c.Log.Driver, "json-file"), map[string]string{}}, NetworkMode: networkMode(c),
		PortBindings: map[string][]portBinding{}, RestartPolicy: restartView{cmp.Or(c.Restart.Name, "no"), c.Restart.Max},
		AutoRemove: c.AutoRemove, Annotations: c.Annotations, Runtime: "rc", CgroupPath: c.State.Cgroup,
	}
	for k, v := range c.Log.Opts {
		h.LogConfig.Config[k] = v
	}
	if c.Log.MaxSize > 0 {
		h.LogConfig.Config["max-size"] = strconv.FormatInt(c.Log.MaxSize, 10)
	}
	if c.Log.MaxFile > 0 {
		h.LogConfig.Config["max-file"] = strconv.Itoa(c.Log.MaxFile)
	}
	for _, p := range c.Ports {
		h.PortBindings[portKey(p)] = append(h.PortBindings[portKey(p)], portBinding{p.HostIP, portNumber(p.HostPort)})
	}
	return h
}

func portNumber(n uint16) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(int(n))
}

// ofSpec adds what the runtime-spec of the container says.
func (h *hostConfigView) ofSpec(spec *specs.Spec) {
	if spec.Process.Capabilities != nil {
		h.CapAdd, h.CapDrop = capabilityChanges(spec.Process.Capabilities.Bounding)
	}
	if spec.Root != nil {
		h.ReadonlyRootfs = spec.Root.Readonly
	}
	if spec.Process.OOMScoreAdj != nil {
		h.OomScoreAdj = *spec.Process.OOMScoreAdj
	}
	h.Tmpfs, h.Sysctls = tmpfsViews(spec), spec.Linux.Sysctl
	h.MaskedPaths, h.ReadonlyPaths = spec.Linux.MaskedPaths, spec.Linux.ReadonlyPaths
	for _, l := range spec.Process.Rlimits {
		h.Ulimits = append(h.Ulimits, ulimitView{strings.ToLower(strings.TrimPrefix(l.Type, "RLIMIT_")), int64(l.Hard), int64(l.Soft)}) // unlimited is -1, as Docker's
	}
	for _, m := range spec.Mounts {
		if m.Destination == "/dev/shm" && m.Type == "tmpfs" {
			h.ShmSize = sizeOption(m.Options)
		}
		if m.Type == "bind" && m.Source == m.Destination && strings.HasPrefix(m.Source, "/dev/") && m.Source != "/dev/mqueue" {
			h.Devices = append(h.Devices, deviceView{m.Source, m.Destination, "rwm"})
		}
	}
}

// sizeOption reads size= of a tmpfs, in bytes; 0 where there is none.
func sizeOption(options []string) int64 {
	for _, o := range options {
		if v, ok := strings.CutPrefix(o, "size="); ok {
			n, _ := cgroup.ParseBytes(v)
			return n
		}
	}
	return 0
}

func (h *hostConfigView) ofResources(r cgroup.Resources) {
	h.Memory, h.MemorySwap, h.NanoCPUs, h.CPUShares, h.CpusetCpus = r.Memory, r.MemorySwap, r.NanoCPUs, r.CPUShares, r.CpusetCPUs
	h.CPUPeriod, h.CPUQuota, h.CpusetMems, h.MemoryReservation = r.CPUPeriod, r.CPUQuota, r.CpusetMems, r.MemoryReservation
	if r.PidsLimit != 0 {
		h.PidsLimit = &r.PidsLimit
	}
	h.BlkioWeight, h.BlkioWeightDevice = r.BlkioWeight, []weightDevice{}
	for _, d := range r.BlkioWeightDevice {
		h.BlkioWeightDevice = append(h.BlkioWeightDevice, weightDevice{d.Path, d.Limit})
	}
	h.BlkioDeviceReadBps, h.BlkioDeviceWriteBps = rateDevices(r.ReadBps), rateDevices(r.WriteBps)
	h.BlkioDeviceReadIOps, h.BlkioDeviceWriteIOps = rateDevices(r.ReadIOps), rateDevices(r.WriteIOps)
	h.HugepageLimits, h.CgroupConf = r.Hugetlb, r.Conf
}

// ofPlace adds where the group stands.
func (h *hostConfigView) ofPlace(p cgroup.Place) {
	h.CgroupParent, h.CgroupMode, h.CgroupFallback = p.Parent, cmp.Or(string(p.Mode), "enabled"), p.Fallback
}

// dockerCaps are those that every container has (moby, oci/caps/defaults.go).
var dockerCaps = []string{"CAP_AUDIT_WRITE", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_MKNOD",
	"CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT"}

// capabilityChanges says how a set differs from the default one. What was typed is
// not kept.
func capabilityChanges(set []string) (added, dropped []string) {
	for _, c := range set {
		if !slices.Contains(dockerCaps, c) {
			added = append(added, c)
		}
	}
	for _, c := range dockerCaps {
		if !slices.Contains(set, c) {
			dropped = append(dropped, c)
		}
	}
	return added, dropped
}

func securityOpt(unconfined bool, profile string) []string {
	switch {
	case unconfined:
		return []string{"seccomp=unconfined"}
	case profile != "":
		return []string{"seccomp=" + profile}
	}
	return nil
}
