package cgroup

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/rc-containers/rc/internal/hint"
)

// Resources are the limits of one container. Zero values ask for nothing.
type Resources struct {
	Memory     int64  // bytes of memory; at least MinMemory
	MemorySwap int64  // bytes of memory and swap together (Docker's meaning); -1: all the swap there is
	NanoCPUs   int64  // billionths of one CPU's time: 5e8 is half a CPU; at least 1e7
	CPUShares  uint64 // weight against other groups, 2 to 262144; 1024 is the default of everyone
	CpusetCPUs string // CPUs that may be used, "0-2,4"
	PidsLimit  int64  // processes and threads; -1: no limit

	MemoryReservation int64  `json:",omitempty"` // bytes that are reclaimed last when the host runs short
	CPUPeriod         int64  `json:",omitempty"` // µs, 1000 to 1000000; 0: 100000
	CPUQuota          int64  `json:",omitempty"` // µs of CPU time in each period, at least 1000; not together with NanoCPUs
	CpusetMems        string `json:",omitempty"` // memory nodes that may be used

	BlkioWeight       uint16        `json:",omitempty"` // against other groups, 10 to 1000
	BlkioWeightDevice []DeviceLimit `json:",omitempty"` // the same on one disk
	ReadBps           []DeviceLimit `json:",omitempty"` // bytes a second
	WriteBps          []DeviceLimit `json:",omitempty"`
	ReadIOps          []DeviceLimit `json:",omitempty"` // requests a second
	WriteIOps         []DeviceLimit `json:",omitempty"`

	Hugetlb map[string]int64  `json:",omitempty"` // bytes of huge pages by their size, "2MB"; -1: no limit
	Conf    map[string]string `json:",omitempty"` // interface files of version 2 as the user wrote them, "memory.high"
}

const (
	// MinMemory is the smallest memory limit: Docker's, below which a runtime's
	// own init can be killed before the payload starts (moby,
	// daemon/daemon_unix.go, linuxMinMemory).
	MinMemory = 6 << 20

	// cpuPeriod is the window, in µs, of which NanoCPUs is a part: Docker's and
	// the kernel's default (kernel, cgroup-v2.rst, "cpu.max").
	cpuPeriod = 100000
)

// setting is one file to write. mirror: the payload's own group gets it too.
type setting struct {
	controller  string // "" for the core's own files
	file, value string
	mirror      bool
	flag        string // what the user typed
	optional    bool   // nobody asked for it: a kernel without the file is fine
	disk        string // the device whose number begins the line, "" for none
}

// target is what a setting replaces when it is written: one word for one disk in
// io.max, one disk in io.weight, else the whole file.
func (s setting) target() string {
	key := ""
	if s.file == ioMax {
		key, _, _ = strings.Cut(s.value, "=")
	}
	return s.file + " " + s.disk + " " + key
}

// Empty tells whether no limit is asked for, so that a container may run
// without a group.
func (r Resources) Empty() bool {
	s, err := r.settings()
	return err == nil && len(s) == 0
}

// Validate refuses values that no host could honour, without touching any.
func (r Resources) Validate() error {
	_, err := r.settings()
	return err
}

// settings are the files that say the same as r, in the order in which they are
// written. Nothing of the host is looked at.
func (r Resources) settings() ([]setting, error) {
	var all []setting
	for _, part := range []func() ([]setting, error){r.memory, r.cpu, r.cpuset, r.pids, r.io, r.hugePages} {
		some, err := part()
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	return r.conf(all)
}

func (r Resources) cpu() (s []setting, err error) {
	switch {
	case r.NanoCPUs < 0 || (r.NanoCPUs > 0 && r.NanoCPUs < 1e7):
		return nil, refuse("--cpus", "give at least 0.01", "less than 0.01 of a CPU")
	case r.NanoCPUs > 0 && (r.CPUPeriod != 0 || r.CPUQuota > 0):
		return nil, refuse("--cpus", "give --cpus, or --cpu-quota with --cpu-period", "it is a quota in a period of its own")
	case r.NanoCPUs > 0:
		// Rounded up: a period's thousandth more is closer to what was asked than less.
		quota := (r.NanoCPUs/1e3*cpuPeriod + 1e6 - 1) / 1e6
		value := strconv.FormatInt(quota, 10) + " " + strconv.Itoa(cpuPeriod)
		s = append(s, setting{controller: "cpu", file: "cpu.max", value: value, mirror: true, flag: "--cpus"})
	}
	bandwidth, err := r.bandwidth()
	if err != nil {
		return nil, err
	}
	s = append(s, bandwidth...)
	if r.CPUShares > 0 {
		s = append(s, setting{controller: "cpu", file: "cpu.weight", value: strconv.FormatUint(weight(r.CPUShares), 10), flag: "--cpu-shares"})
	}
	return s, nil
}

func (r Resources) cpuset() (s []setting, err error) {
	if r.CpusetCPUs != "" {
		if _, err := ParseCpuset(r.CpusetCPUs); err != nil {
			return nil, err
		}
		// Not repeated below: an empty cpuset.cpus inherits, and cpuset.cpus.effective shows it.
		s = append(s, setting{controller: "cpuset", file: "cpuset.cpus", value: r.CpusetCPUs, flag: "--cpuset-cpus"})
	}
	if r.CpusetMems != "" {
		if _, err := ParseCpuset(r.CpusetMems); err != nil {
			return nil, refuse("--cpuset-mems", "write it as in 0-1", "not a list of memory nodes")
		}
		s = append(s, setting{controller: "cpuset", file: "cpuset.mems", value: r.CpusetMems, flag: "--cpuset-mems"})
	}
	return s, nil
}

func (r Resources) pids() ([]setting, error) {
	switch {
	case r.PidsLimit < -1:
		return nil, refuse("--pids-limit", "give a number of processes, or -1 for no limit", "negative")
	case r.PidsLimit > 0:
		return []setting{{controller: "pids", file: "pids.max", value: strconv.FormatInt(r.PidsLimit, 10), mirror: true, flag: "--pids-limit"}}, nil
	}
	return nil, nil
}

// bandwidth is --cpu-quota in a --cpu-period, both in µs as the kernel has them.
func (r Resources) bandwidth() ([]setting, error) {
	switch {
	case r.CPUPeriod != 0 && (r.CPUPeriod < 1000 || r.CPUPeriod > 1000000):
		return nil, refuse("--cpu-period", "give 1000 to 1000000 microseconds", "out of the kernel's range")
	case r.CPUQuota > 0 && r.CPUQuota < 1000:
		return nil, refuse("--cpu-quota", "give at least 1000 microseconds, or -1 for no limit", "less than a millisecond")
	case r.CPUQuota <= 0:
		return nil, nil // a period alone limits nothing
	}
	period := r.CPUPeriod
	if period == 0 {
		period = cpuPeriod
	}
	value := strconv.FormatInt(r.CPUQuota, 10) + " " + strconv.FormatInt(period, 10)
	return []setting{{controller: "cpu", file: "cpu.max", value: value, mirror: true, flag: "--cpu-quota"}}, nil
}

// reservation is version 2's memory.low, as runc has it: a soft protection.
func (r Resources) reservation() ([]setting, error) {
	switch {
	case r.MemoryReservation == 0:
		return nil, nil
	case r.MemoryReservation < MinMemory:
		return nil, refuse("--memory-reservation", "give at least 6m", "less than 6 MiB")
	case r.Memory > 0 && r.MemoryReservation > r.Memory:
		return nil, refuse("--memory-reservation", "give at most --memory", "more than --memory")
	}
	return []setting{{controller: "memory", file: "memory.low", value: strconv.FormatInt(r.MemoryReservation, 10), flag: "--memory-reservation"}}, nil
}

// memory turns Docker's memory+swap total into version 2's separate limits.
func (r Resources) memory() ([]setting, error) {
	switch {
	case r.Memory < 0 || (r.Memory > 0 && r.Memory < MinMemory):
		return nil, refuse("--memory", "give at least 6m", "less than 6 MiB")
	case r.MemorySwap < -1:
		return nil, refuse("--memory-swap", "give a size, or -1 for no limit", "negative")
	case r.MemorySwap > 0 && r.Memory == 0:
		return nil, refuse("--memory-swap", "give --memory too: the value is memory and swap together", "no memory limit is set")
	case r.MemorySwap > 0 && r.MemorySwap < r.Memory:
		return nil, refuse("--memory-swap", "give the sum of memory and swap", "smaller than --memory")
	}
	low, err := r.reservation()
	if err != nil || r.Memory == 0 {
		return low, err // --memory-swap=-1 alone asks for what is so anyway
	}
	swap := setting{controller: "memory", file: "memory.swap.max", value: "max", mirror: true, flag: "--memory-swap"}
	switch {
	case r.MemorySwap > 0:
		swap.value = strconv.FormatInt(r.MemorySwap-r.Memory, 10)
	case r.MemorySwap == 0:
		// Docker: unset means as much swap as memory (docs.docker.com,
		// "Resource constraints", --memory-swap details).
		swap.value = strconv.FormatInt(r.Memory, 10)
		swap.optional = true
	default:
		swap.optional = true
	}
	// Swap first: when memory.max is written last, nothing is ever limited by half.
	return append(low, swap, setting{controller: "memory", file: "memory.max", value: strconv.FormatInt(r.Memory, 10), mirror: true, flag: "--memory"}), nil
}

func refuse(flag, fix, why string) error {
	return hint.Newf("apply "+flag, fix, "%s", why)
}

// weight turns version 1's CPU shares into version 2's cpu.weight, as runc does
// since 1.3.2 and crun since 1.23 (opencontainers/cgroups pull request 20): a
// curve through 2 → 1, 1024 → 100 and 262144 → 10000. The older straight line
// gave a container with the default of 1024 a weight of 39, below everyone's 100.
func weight(shares uint64) uint64 {
	switch {
	case shares <= 2:
		return 1
	case shares >= 262144:
		return 10000
	}
	l := math.Log2(float64(shares))
	return uint64(math.Ceil(math.Pow(10, (l*l+125*l)/612-7.0/34)))
}

func controllers(settings []setting) []string {
	var names []string
	for _, s := range settings {
		if s.controller != "" && !slices.Contains(names, s.controller) {
			names = append(names, s.controller)
		}
	}
	return names
}
