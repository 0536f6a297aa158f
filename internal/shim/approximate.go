package shim

import (
	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/cgroup"
	"github.com/rc-containers/rc/internal/hint"
)

// approximation is for userns.Program.Thread: what --cgroup-fallback gives to init
// and to each exec. Affinity and nice value belong to a thread, and are inherited
// by what it starts (sched_setaffinity(2), setpriority(2)); to set them on the child
// would miss the threads that it has by then, one of which executes the payload.
// RLIMIT_NPROC is in the runtime-spec's own list.
func (s *shim) approximation() func() error {
	a := s.cfg.Again.Approx
	if a == nil || a.CPUs == nil && a.Nice == 0 {
		return nil
	}
	return func() error { return lower(a) }
}

// lower gives this thread what a allows.
func lower(a *cgroup.Approximation) error {
	if a.CPUs != nil {
		var set unix.CPUSet
		for _, cpu := range a.CPUs {
			set.Set(cpu)
		}
		if err := unix.SchedSetaffinity(0, &set); err != nil {
			return hint.New("apply --cpuset-cpus by CPU affinity", err, "name CPUs that you may use: taskset -p $$")
		}
	}
	if a.Nice > 0 {
		if err := unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), a.Nice); err != nil {
			return hint.New("apply --cpu-shares by a nice value", err, "")
		}
	}
	return nil
}
