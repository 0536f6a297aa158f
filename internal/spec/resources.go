package spec

import (
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/rc-containers/rc/cgroup"
)

// defaultShmSize is Docker's: 64 MiB.
const defaultShmSize = 64 << 20

// resources reads the limits, with Docker's checks (moby, daemon/daemon_unix.go,
// verifyPlatformContainerResources). Whether they can be honoured here is
// package cgroup's to say.
func (b *builder) resources() error {
	if err := b.parseLimits(); err != nil {
		return err
	}
	r := &b.plan.Resources
	switch {
	case r.MemorySwap > 0 && r.Memory == 0:
		return refuse("--memory-swap", b.o.MemorySwap, "give --memory too", "it is memory and swap together, and no --memory is given")
	case r.MemorySwap > 0 && r.MemorySwap < r.Memory:
		return refuse("--memory-swap", b.o.MemorySwap, "give the sum of memory and swap, or -1 for all the swap there is", "less than --memory %s: it is memory and swap together", quoted(b.o.Memory))
	}
	if err := b.cgroupPlace(); err != nil {
		return err
	}
	// Again by cgroup's own rules, so that what it would refuse after an image was
	// pulled is refused before.
	return r.Validate()
}

// Limits reads the limits among the flags for `rc update`, where only some are
// given: what has to fit together is checked when they have met the others. What
// the user should know of them is in warnings.
func Limits(o *Options) (r cgroup.Resources, warnings []string, err error) {
	b := newBuilder(&Input{Options: o})
	err = b.parseLimits()
	return b.plan.Resources, b.plan.Warnings, err
}

// parseLimits checks each limit by itself.
func (b *builder) parseLimits() (err error) {
	r := &b.plan.Resources
	if r.Memory, err = cgroup.ParseBytes(b.o.Memory); err != nil {
		return badFlag("--memory", b.o.Memory, err, "")
	}
	if r.Memory > 0 && r.Memory < cgroup.MinMemory {
		return refuse("--memory", b.o.Memory, "give at least 6m", "less than 6 MiB, in which no container can start")
	}
	if r.MemorySwap, err = cgroup.ParseMemorySwap(b.o.MemorySwap); err != nil {
		return badFlag("--memory-swap", b.o.MemorySwap, err, "")
	}
	if r.MemoryReservation, err = cgroup.ParseBytes(b.o.MemoryReservation); err != nil {
		return badFlag("--memory-reservation", b.o.MemoryReservation, err, "")
	}
	r.CPUPeriod, r.CPUQuota, r.CpusetMems = b.o.CPUPeriod, b.o.CPUQuota, b.o.CpusetMems
	if err := b.cpuLimits(); err != nil {
		return err
	}
	if b.o.PidsLimit < -1 {
		return refuse("--pids-limit", strconv.FormatInt(b.o.PidsLimit, 10), "give a number of processes, or -1 for no limit", "negative")
	}
	r.PidsLimit = b.o.PidsLimit
	if err := b.diskLimits(); err != nil {
		return err
	}
	if err := b.hugePages(); err != nil {
		return err
	}
	return b.cgroupConf()
}

func (b *builder) cpuLimits() (err error) {
	r := &b.plan.Resources
	if r.NanoCPUs, err = cgroup.ParseCPUs(b.o.CPUs); err != nil {
		return badFlag("--cpus", b.o.CPUs, err, "")
	}
	// NumCPU counts the CPUs that this process may use (sched_getaffinity(2)), which
	// is what a container can have: under `taskset -c 0` that is one. Docker counts
	// those of its daemon (moby, sysinfo.NumCPU).
	if n := runtime.NumCPU(); r.NanoCPUs > int64(n)*1e9 || (r.NanoCPUs > 0 && r.NanoCPUs < 1e7) {
		return refuse("--cpus", b.o.CPUs, "give 0.01 to "+strconv.Itoa(n), "there are %d CPUs here", n)
	}
	r.CPUShares = b.o.CPUShares
	cpus, err := cgroup.ParseCpuset(b.o.CpusetCPUs)
	if err != nil {
		return badFlag("--cpuset-cpus", b.o.CpusetCPUs, err, "")
	}
	if len(cpus) > 0 {
		online := hostCPUs("online")
		for _, cpu := range cpus {
			if len(online) > 0 && !slices.Contains(online, cpu) {
				return refuse("--cpuset-cpus", b.o.CpusetCPUs, "see /sys/devices/system/cpu/online", "there is no CPU %d here", cpu)
			}
		}
	}
	r.CpusetCPUs = b.o.CpusetCPUs
	return nil
}

// hostCPUs reads one of the kernel's lists of CPUs; nil where there is no sysfs.
func hostCPUs(list string) []int {
	data, err := os.ReadFile("/sys/devices/system/cpu/" + list)
	if err != nil {
		return nil
	}
	cpus, err := cgroup.ParseCpuset(strings.TrimSpace(string(data)))
	if err != nil {
		return nil
	}
	return cpus
}

// shmFlag reads --shm-size; 0 means the default, as Docker has it.
func (b *builder) shmFlag() (err error) {
	if b.shmSize, err = cgroup.ParseBytes(b.o.ShmSize); err != nil {
		return badFlag("--shm-size", b.o.ShmSize, err, "")
	}
	if b.shmSize == 0 {
		b.shmSize = defaultShmSize
	}
	return nil
}
