package main

import (
	"strings"
	"testing"
)

func TestOthersOfTheProcessors(t *testing.T) {
	// user nice system idle iowait irq softirq steal guest guest_nice
	a := readSpent("cpu  100 0 50 800 10 0 0 40 7 0\ncpu0 1 2 3 4\n")
	b := readSpent("cpu  110 0 60 860 10 0 0 60 7 0\ncpu0 1 2 3 4\n")
	if a.all != 1000 || a.idle != 810 || a.stolen != 40 {
		t.Errorf("%+v", a)
	}
	if busy, stolen := a.until(b); busy != 40 || stolen != 20 {
		t.Errorf("%v %% busy, %v %% stolen", busy, stolen)
	}
	if busy, stolen := a.until(a); busy != 0 || stolen != 0 {
		t.Errorf("%v, %v of no time", busy, stolen)
	}
	if n := now(); n.all <= n.idle || n.idle == 0 {
		t.Errorf("this machine: %+v", n)
	}
}

// A reader learns from the document that the machine was not quiet.
func TestVerdictOnTheMachine(t *testing.T) {
	for _, c := range []struct {
		before, after, stolen float64
		busy                  bool
		want                  string
	}{
		{2, 3, 0, false, "2 % in the second before the run, 3 % after it."},
		{40, 3, 0, true, "40 % in the second"}, {0, 60, 0, true, "60 % after it. **"}, {1, 1, 30, true, "other machines meanwhile: 30.0 %"},
	} {
		if got := verdict(c.before, c.after, c.stolen); !strings.Contains(got, c.want) || strings.Contains(got, "was busy") != c.busy {
			t.Errorf("%v: %s", c, got)
		}
	}
}

func TestCores(t *testing.T) {
	for want, c := range map[string][2]int{"1 core": {1, 1}, "1 core of its 2": {1, 2}, "8 cores": {8, 8}} {
		if got := cores(c[0], c[1]); got != want {
			t.Errorf("%v: %s", c, got)
		}
	}
	if online() < 1 {
		t.Error("no processor")
	}
}
