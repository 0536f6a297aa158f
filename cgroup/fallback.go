package cgroup

import (
	"math"
	"slices"
	"strconv"
)

// Approximation is what stands in for limits where no cgroup can give them.
type Approximation struct {
	Processes uint64 `json:",omitempty"` // RLIMIT_NPROC, 0: none
	CPUs      []int  `json:",omitempty"` // affinity, nil: none
	Nice      int    `json:",omitempty"` // 0 to 19
}

// Made is what Place.Make made.
type Made struct {
	Group *Group    // nil: none, which Why explains
	Rest  Resources // with Fallback: the limits that the group does not have
	Why   error     // of Rest, or of no group
}

// Make makes the group of container id in s with the limits r. Where p says so,
// limits that cannot be had are left out and told in Rest.
func (p Place) Make(s *Subtree, id string, r Resources) (Made, error) {
	if !p.Fallback {
		g, err := s.CreateIn(p.Parent, id, r)
		return Made{Group: g, Why: err}, err
	}
	held, rest := r.Split(s.Controllers)
	m := Made{Rest: rest}
	if left, err := rest.settings(); err == nil && len(left) > 0 {
		m.Why = s.whyMissing(left[0].controller)
	}
	var err error
	if m.Group, err = s.CreateIn(p.Parent, id, held); err != nil {
		m.Why = err
		s.makeLess(p.Parent, id, r, &m)
	}
	return m, nil
}

// makeLess is for a controller that is there and still refuses (huge pages of a size
// that the processor has not, a disk without a scheduler): the other limits hold.
func (s *Subtree) makeLess(parent, id string, r Resources, m *Made) {
	for _, refuses := range s.Controllers {
		held, rest := r.Split(slices.DeleteFunc(slices.Clone(s.Controllers), func(c string) bool { return c == refuses }))
		if g, err := s.CreateIn(parent, id, held); err == nil {
			m.Group, m.Rest = g, rest
			return
		}
	}
	m.Rest = r
	m.Group, _ = s.CreateIn(parent, id, Resources{})
}

// Split parts r into what the controllers can give and the rest.
func (r Resources) Split(controllers []string) (held, rest Resources) {
	none := Resources{}
	held, rest = r, none
	take := func(controller string, move func(from, to *Resources)) {
		if !slices.Contains(controllers, controller) {
			move(&held, &rest)
		}
	}
	take("memory", func(from, to *Resources) {
		to.Memory, to.MemorySwap, to.MemoryReservation = from.Memory, from.MemorySwap, from.MemoryReservation
		from.Memory, from.MemorySwap, from.MemoryReservation = 0, 0, 0
	})
	take("cpu", func(from, to *Resources) {
		to.NanoCPUs, to.CPUShares, to.CPUPeriod, to.CPUQuota = from.NanoCPUs, from.CPUShares, from.CPUPeriod, from.CPUQuota
		from.NanoCPUs, from.CPUShares, from.CPUPeriod, from.CPUQuota = 0, 0, 0, 0
	})
	take("cpuset", func(from, to *Resources) {
		to.CpusetCPUs, to.CpusetMems = from.CpusetCPUs, from.CpusetMems
		from.CpusetCPUs, from.CpusetMems = "", ""
	})
	take("pids", func(from, to *Resources) { to.PidsLimit, from.PidsLimit = from.PidsLimit, 0 })
	take("hugetlb", func(from, to *Resources) { to.Hugetlb, from.Hugetlb = from.Hugetlb, nil })
	take("io", func(from, to *Resources) {
		to.BlkioWeight, to.BlkioWeightDevice = from.BlkioWeight, from.BlkioWeightDevice
		to.ReadBps, to.WriteBps, to.ReadIOps, to.WriteIOps = from.ReadBps, from.WriteBps, from.ReadIOps, from.WriteIOps
		from.BlkioWeight, from.BlkioWeightDevice = 0, nil
		from.ReadBps, from.WriteBps, from.ReadIOps, from.WriteIOps = nil, nil, nil, nil
	})
	held.Conf = nil
	for file, value := range r.Conf {
		controller, _ := CheckConf(file, value)
		to := &held
		if controller != "" && !slices.Contains(controllers, controller) {
			to = &rest
		}
		if to.Conf == nil {
			to.Conf = map[string]string{}
		}
		to.Conf[file] = value
	}
	return held, rest
}

// Approximate is what stands in for the limits r, nil for nothing, and in said a
// line for each limit: what the stand-in is not, or that there is none.
func (r Resources) Approximate() (a *Approximation, said []string) {
	settings, err := r.settings()
	if err != nil {
		return nil, nil
	}
	a = &Approximation{}
	var told []string
	for _, s := range settings {
		if s.optional || slices.Contains(told, s.flag) {
			continue
		}
		told = append(told, s.flag)
		said = append(said, s.flag+" "+a.standIn(s.flag, r))
	}
	if a.Processes == 0 && a.CPUs == nil && a.Nice == 0 {
		a = nil
	}
	return a, said
}

// standIn fills in what stands in for one flag.
func (a *Approximation) standIn(flag string, r Resources) string {
	switch flag {
	case "--pids-limit":
		// Counted in the user namespace of the container since Linux 5.14 (commit
		// 21d1c5e386bc, "Reimplement RLIMIT_NPROC on top of ucounts").
		a.Processes = uint64(r.PidsLimit)
		return "is only approximated, by RLIMIT_NPROC: it counts the processes of each user in the container by itself"
	case "--cpuset-cpus":
		a.CPUs, _ = ParseCpuset(r.CpusetCPUs)
		return "is only approximated, by CPU affinity: a process in the container can change its own (taskset)"
	case "--cpu-shares":
		a.Nice = nice(r.CPUShares)
		if a.Nice == 0 && r.CPUShares > 1024 {
			return "is not in force: more than the default of 1024 takes a cgroup"
		}
		return "is only approximated, by nice " + strconv.Itoa(a.Nice) + ": it weighs each process by itself, not the container"
	}
	return "is not in force: nothing stands in for it"
}

// nice is the nice value whose weight is nearest to these shares. The kernel's
// weights fall by a quarter with each step from the default (kernel/sched/core.c,
// sched_prio_to_weight: 1024, 820, 655 …), and a user can only go down.
func nice(shares uint64) int {
	n := math.Round(math.Log(1024/float64(max(shares, 2))) / math.Log(1.25))
	return int(min(max(n, 0), 19))
}
