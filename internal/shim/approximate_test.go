package shim

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/cgroup"
	"github.com/rc-containers/rc/internal/stage/start"
)

// On a thread that ends with the test, as the real one does.
func onThread(t *testing.T, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		f()
	}()
	<-done
}

func TestLower(t *testing.T) {
	var allowed unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil {
		t.Fatal(err)
	}
	cpu := 0
	for !allowed.IsSet(cpu) {
		cpu++
	}
	before, _ := unix.Getpriority(unix.PRIO_PROCESS, 0)
	onThread(t, func() {
		if err := lower(&cgroup.Approximation{CPUs: []int{cpu}, Nice: 19}); err != nil {
			t.Error(err)
			return
		}
		var set unix.CPUSet
		_ = unix.SchedGetaffinity(0, &set)
		prio, _ := unix.Getpriority(unix.PRIO_PROCESS, unix.Gettid()) // 20 - nice (getpriority(2), "C library/kernel differences")
		if set.Count() != 1 || !set.IsSet(cpu) || prio != 1 {
			t.Errorf("affinity %v, priority %d", set, prio)
		}
	})
	if after, _ := unix.Getpriority(unix.PRIO_PROCESS, 0); after != before {
		t.Errorf("another thread's priority went from %d to %d", before, after)
	}
	onThread(t, func() {
		if err := lower(&cgroup.Approximation{CPUs: []int{1023}}); err == nil {
			t.Error("a CPU that nobody has was taken")
		}
	})
}

func TestApproximationOfNothing(t *testing.T) {
	for _, a := range []*cgroup.Approximation{nil, {Processes: 5}} {
		s := &shim{cfg: &start.Config{Again: start.Again{Approx: a}}}
		if s.approximation() != nil {
			t.Errorf("%+v has nothing for a thread", a)
		}
	}
}
