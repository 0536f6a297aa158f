package cgroup

import (
	"slices"
	"testing"
	"time"
)

// Every group counts processor time, with no controller at all (cpu.stat).
func TestRealStats(t *testing.T) {
	g := realGroup(t)
	start(t, g, "while :; do :; done")
	var s *Stats
	until(t, "300 ms of processor time are counted", func() bool {
		var err error
		s, err = g.Stats()
		must(t, err)
		return s.CPU.Usage > 300*time.Millisecond
	})
	if sum := s.CPU.User + s.CPU.System; (sum-s.CPU.Usage).Abs() > 50*time.Millisecond || s.CPU.User < 100*time.Millisecond {
		t.Errorf("%v in all, %v by the program, %v for it by the kernel", s.CPU.Usage, s.CPU.User, s.CPU.System)
	}
	must(t, g.Freeze())
	before, err := g.Stats()
	must(t, err)
	time.Sleep(300 * time.Millisecond)
	after, err := g.Stats()
	must(t, err)
	if used := after.CPU.Usage - before.CPU.Usage; used > 30*time.Millisecond {
		t.Errorf("a frozen loop used %v", used)
	}
}

// Which limits are real here, by name: a test for each controller that this host
// lends, and a skip that says why for each that it does not.
func TestRealControllers(t *testing.T) {
	s := real(t)
	for name, r := range map[string]Resources{
		"cpu": {NanoCPUs: 5e8}, "cpuset": {CpusetCPUs: "0"}, "io": {BlkioWeight: 200},
		"memory": {Memory: 64 << 20}, "pids": {PidsLimit: 20}, "hugetlb": {Hugetlb: map[string]int64{"2MB": 0}},
	} {
		t.Run(name, func(t *testing.T) {
			g, err := s.Create("controller"+name, r)
			if !slices.Contains(s.Controllers, name) {
				if err == nil {
					must(t, g.Remove())
					t.Fatal("a limit without its controller was accepted")
				}
				t.Skipf("not real here, shown in the guest (make test-vm): %v", err)
			}
			must(t, err)
			must(t, g.Remove())
		})
	}
}
