package main

import (
	"maps"
	"slices"

	"github.com/spf13/pflag"

	"github.com/rc-containers/rc/cgroup"
	"github.com/rc-containers/rc/internal/engine"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/spec"
	"github.com/rc-containers/rc/slirp"
)

// updateOptions are limits as `rc run` has them, the restart policy and ports.
type updateOptions struct {
	runOptions
	publish, unpublish []string
}

func updateCommand() *command {
	o := &updateOptions{}
	return &command{
		name: "update", args: "CONTAINER...", short: "Change the limits, the restart policy or the ports of containers",
		long:     "What runs has the new limits at once, and each keeps them for its later starts.",
		examples: []string{"rc update --memory 512m --cpus 2 web", "rc update --restart unless-stopped web", "rc update --publish-rm 8080:80 --publish-add 9090:80 web"},
		flags: func(fs *pflag.FlagSet) {
			o.flags = fs
			o.bindLimits(fs)
			o.bindRestart(fs)
			fs.StringArrayVar(&o.publish, "publish-add", nil, "publish one `PORT` more, as `rc run -p` does")
			fs.StringArrayVar(&o.unpublish, "publish-rm", nil, "take this published `PORT` away: [[ADDRESS:]HOSTPORT:]PORT[/tcp|udp]")
			refuseUpdate(fs)
		},
		run: o.update,
	}
}

func (o *updateOptions) update(g *global, args []string) (int, error) {
	changed := map[string]bool{}
	o.flags.Visit(func(f *pflag.Flag) { changed[f.Name] = true })
	if len(changed) == 0 {
		return 0, hint.Newf("rc update", "see `rc update --help`", "no flag says what to change").WithCode(1)
	}
	var ch engine.Change
	if changed["restart"] {
		policy, err := spec.ParseRestart(o.Restart)
		if err != nil {
			return 0, err
		}
		ch.Restart = &policy
		delete(changed, "restart")
	}
	if err := o.ports(&ch, changed); err != nil {
		return 0, err
	}
	if len(changed) > 0 {
		for _, size := range []*string{&o.Memory, &o.MemoryReservation} {
			if *size == "-1" { // as --memory-swap has it: no limit
				*size = "0"
			}
		}
		wanted, warnings, err := spec.Limits(&o.Options)
		if err != nil {
			return 0, err
		}
		ch.Warnings = warnings
		ch.Limits = func(r *cgroup.Resources) error { return mergeLimits(r, wanted, changed) }
	}
	return withEngine(g, "update", args, func(e *engine.Engine) (int, error) {
		return eachPrinted(args, func(ref string) error { return e.Update(ref, ch) })
	})
}

// ports reads --publish-add and --publish-rm.
func (o *updateOptions) ports(ch *engine.Change, changed map[string]bool) error {
	for _, f := range []struct {
		flag   string
		values []string
		to     *[]slirp.Port
	}{{"publish-add", o.publish, &ch.Publish}, {"publish-rm", o.unpublish, &ch.Unpublish}} {
		for _, v := range f.values {
			ports, err := slirp.ParsePort(v)
			if err != nil {
				return hint.New("--"+f.flag+" "+v, err, "write [[ADDRESS:]HOSTPORT:]PORT[/udp]").WithCode(1)
			}
			*f.to = append(*f.to, ports...)
		}
		delete(changed, f.flag)
	}
	return nil
}

// mergeDevices replaces the limits of the disks that are named again; 0 takes one
// away.
func mergeDevices(have, wanted []cgroup.DeviceLimit) []cgroup.DeviceLimit {
	merged := slices.Clone(have)
	for _, w := range wanted {
		merged = slices.DeleteFunc(merged, func(d cgroup.DeviceLimit) bool { return d.Path == w.Path })
		if w.Limit > 0 {
			merged = append(merged, w)
		}
	}
	return merged
}

// mergeMap replaces what is named again; a value that is none takes it away.
func mergeMap[V any](have, wanted map[string]V, none func(V) bool) map[string]V {
	merged := map[string]V{}
	maps.Copy(merged, have)
	maps.Copy(merged, wanted)
	maps.DeleteFunc(merged, func(_ string, v V) bool { return none(v) })
	return merged
}

// mergeLimits replaces the limits whose flags were given.
func mergeLimits(r *cgroup.Resources, wanted cgroup.Resources, changed map[string]bool) error {
	for file, value := range wanted.Conf {
		if value == "" && !cgroup.Lifts(file) {
			return hint.Newf("--cgroup-conf "+file+"=", "give the value that it shall have", "nobody knows what this file says without a limit")
		}
	}
	if changed["memory"] {
		// Docker's rule: the total must move with it, unless it follows by itself.
		if r.MemorySwap > 0 && !changed["memory-swap"] && wanted.Memory > r.MemorySwap {
			return hint.Newf("--memory", "give --memory-swap at the same time", "more than the --memory-swap that it has")
		}
		r.Memory = wanted.Memory
		if r.Memory == 0 && !changed["memory-swap"] {
			r.MemorySwap = 0 // a sum without one of its parts
		}
	}
	for flag, set := range map[string]func(){
		"memory-swap":        func() { r.MemorySwap = wanted.MemorySwap },
		"memory-reservation": func() { r.MemoryReservation = wanted.MemoryReservation },
		"cpus":               func() { r.NanoCPUs, r.CPUQuota, r.CPUPeriod = wanted.NanoCPUs, 0, 0 },
		"cpu-quota":          func() { r.CPUQuota, r.NanoCPUs = wanted.CPUQuota, 0 },
		"cpu-period":         func() { r.CPUPeriod, r.NanoCPUs = wanted.CPUPeriod, 0 },
		"cpu-shares":         func() { r.CPUShares = wanted.CPUShares },
		"cpuset-cpus":        func() { r.CpusetCPUs = wanted.CpusetCPUs },
		"cpuset-mems":        func() { r.CpusetMems = wanted.CpusetMems },
		"pids-limit":         func() { r.PidsLimit = wanted.PidsLimit },
		"blkio-weight":       func() { r.BlkioWeight = wanted.BlkioWeight },

		"blkio-weight-device": func() { r.BlkioWeightDevice = mergeDevices(r.BlkioWeightDevice, wanted.BlkioWeightDevice) },
		"device-read-bps":     func() { r.ReadBps = mergeDevices(r.ReadBps, wanted.ReadBps) },
		"device-write-bps":    func() { r.WriteBps = mergeDevices(r.WriteBps, wanted.WriteBps) },
		"device-read-iops":    func() { r.ReadIOps = mergeDevices(r.ReadIOps, wanted.ReadIOps) },
		"device-write-iops":   func() { r.WriteIOps = mergeDevices(r.WriteIOps, wanted.WriteIOps) },
		"hugetlb":             func() { r.Hugetlb = mergeMap(r.Hugetlb, wanted.Hugetlb, func(n int64) bool { return n < 0 }) },
		"cgroup-conf":         func() { r.Conf = mergeMap(r.Conf, wanted.Conf, func(s string) bool { return s == "" }) },
	} {
		if changed[flag] {
			set()
		}
	}
	return nil
}
