package main

import "github.com/spf13/pflag"

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
}

func (o *runOptions) bindRestart(fs *pflag.FlagSet) {
	fs.StringVar(&o.Restart, "restart", "", "start it again by this `POLICY`: no, on-failure[:MAX], unless-stopped or always")
}

// bindMore binds small things of Docker's.
func (o *runOptions) bindMore(fs *pflag.FlagSet) {
	fs.StringVar(&o.Domainname, "domainname", "", "use this NIS domain `NAME`")
	fs.StringVar(&o.Cgroupns, "cgroupns", "", "see control `GROUPS`: private")
	fs.StringArrayVar(&o.Expose, "expose", nil, "name a `PORT[/PROTO]` that -P publishes")
	fs.BoolVarP(&o.PublishAll, "publish-all", "P", false, "publish every port that the image or --expose names on a free one")
	fs.StringArrayVar(&o.VolumesFrom, "volumes-from", nil, "mount what this `CONTAINER[:ro]` mounts")
	fs.IntVar(&o.OOMScoreAdj, "oom-score-adj", 0, "make it this much more likely to be killed when memory is short: a `NUMBER` up to 1000")
	fs.BoolVarP(&o.Quiet, "quiet", "q", false, "print nothing of a pull")
	fs.StringArrayVar(&o.DNSOption, "dns-opt", nil, "same as --dns-option")
	_ = fs.MarkHidden("dns-opt")
}

// bindAttachment binds what only a start that somebody watches has.
func (o *runOptions) bindAttachment(fs *pflag.FlagSet) {
	fs.BoolVarP(&o.Detach, "detach", "d", false, "print the id and leave the container running")
	fs.StringVar(&o.detachKeys, "detach-keys", "ctrl-p,ctrl-q", "detach from a terminal by these `KEYS`; \"\" for none")
	fs.BoolVar(&o.sigProxy, "sig-proxy", true, "pass signals on to the command")
}
