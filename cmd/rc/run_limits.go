package main

import (
	"os"
	"strconv"

	"github.com/spf13/pflag"
)

// bindLimits binds what a cgroup bounds: for run, create and update.
func (o *runOptions) bindLimits(fs *pflag.FlagSet) {
	fs.StringVarP(&o.Memory, "memory", "m", "", "limit memory to `BYTES`, or with k, m, g")
	fs.StringVar(&o.MemorySwap, "memory-swap", "", "limit memory and swap together to `BYTES`; -1 for no limit")
	fs.StringVar(&o.CPUs, "cpus", "", "limit to this `NUMBER` of CPUs, as in 1.5")
	fs.Uint64VarP(&o.CPUShares, "cpu-shares", "c", 0, "give this relative `WEIGHT` of CPU time (default 1024)")
	fs.StringVar(&o.CpusetCPUs, "cpuset-cpus", "", "run on these `CPUS` only, as in 0-2,4")
	fs.StringVar(&o.CpusetMems, "cpuset-mems", "", "use these memory `NODES` only, as in 0-1")
	fs.Int64Var(&o.CPUQuota, "cpu-quota", 0, "limit CPU time to these `MICROSECONDS` in each --cpu-period")
	fs.Int64Var(&o.CPUPeriod, "cpu-period", 0, "count --cpu-quota in these `MICROSECONDS` (default 100000)")
	fs.StringVar(&o.MemoryReservation, "memory-reservation", "", "keep these `BYTES` of memory from being reclaimed before others'")
	fs.Int64Var(&o.PidsLimit, "pids-limit", 0, "limit to this `NUMBER` of processes; -1 for no limit")
	fs.Uint64Var(&o.BlkioWeight, "blkio-weight", 0, "give this relative `WEIGHT` on disks: 10 to 1000")
	fs.Var((*list)(&o.BlkioWeightDevice), "blkio-weight-device", "give a relative weight on one disk: `DEVICE:WEIGHT`")
	fs.Var((*list)(&o.DeviceReadBps), "device-read-bps", "limit what is read of a disk in a second: `DEVICE:BYTES`, or with kb, mb, gb")
	fs.Var((*list)(&o.DeviceWriteBps), "device-write-bps", "limit what is written to a disk in a second: `DEVICE:BYTES`")
	fs.Var((*list)(&o.DeviceReadIOps), "device-read-iops", "limit reads of a disk in a second: `DEVICE:NUMBER`")
	fs.Var((*list)(&o.DeviceWriteIOps), "device-write-iops", "limit writes to a disk in a second: `DEVICE:NUMBER`")
	fs.Var((*list)(&o.Hugetlb), "hugetlb", "limit huge pages: `PAGESIZE:BYTES`, as in 2MB:64m")
	fs.Var((*list)(&o.CgroupConf), "cgroup-conf", "write a file of the cgroup: `FILE=VALUE`, as in memory.high=512M")
}

// bindCgroup binds where the cgroup stands.
func (o *runOptions) bindCgroup(fs *pflag.FlagSet) {
	fs.StringVar(&o.CgroupParent, "cgroup-parent", "", "stand in this `FOLDER` of your cgroups, as in /batch")
	fs.StringVar(&o.Cgroups, "cgroups", "", "make the cgroup `WHERE`: enabled (the default), split (in the unit that starts rc) or disabled")
	// A host has the controllers or has not, whatever is run there: so a setting too.
	fallback, _ := strconv.ParseBool(os.Getenv("RC_CGROUP_FALLBACK"))
	fs.BoolVar(&o.CgroupFallback, "cgroup-fallback", fallback, "where a limit cannot be had, run with what comes near it, and say so (RC_CGROUP_FALLBACK=1)")
}

func (o *runOptions) bindRestart(fs *pflag.FlagSet) {
	fs.StringVar(&o.Restart, "restart", "", "start it again by this `POLICY`: no, on-failure[:MAX], unless-stopped or always")
}

// bindMore binds small things of Docker's.
func (o *runOptions) bindMore(fs *pflag.FlagSet) {
	fs.StringVar(&o.Domainname, "domainname", "", "use this NIS domain `NAME`")
	fs.StringVar(&o.Cgroupns, "cgroupns", "", "see control `GROUPS`: private")
	fs.Var((*list)(&o.Expose), "expose", "name a `PORT[/PROTO]` that -P publishes")
	fs.BoolVarP(&o.PublishAll, "publish-all", "P", false, "publish every port that the image or --expose names on a free one")
	fs.Var((*list)(&o.VolumesFrom), "volumes-from", "mount what this `CONTAINER[:ro]` mounts")
	fs.IntVar(&o.OOMScoreAdj, "oom-score-adj", 0, "make it this much more likely to be killed when memory is short: a `NUMBER` up to 1000")
	fs.BoolVarP(&o.Quiet, "quiet", "q", false, "print nothing of a pull")
	fs.Var((*list)(&o.DNSOption), "dns-opt", "same as --dns-option")
	_ = fs.MarkHidden("dns-opt")
}

// bindAttachment binds what only a start that somebody watches has.
func (o *runOptions) bindAttachment(fs *pflag.FlagSet) {
	fs.BoolVarP(&o.Detach, "detach", "d", false, "print the id and leave the container running")
	fs.StringVar(&o.detachKeys, "detach-keys", "ctrl-p,ctrl-q", "detach from a terminal by these `KEYS`; \"\" for none")
	fs.BoolVar(&o.sigProxy, "sig-proxy", true, "pass signals on to the command")
}
