package engine

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/rc-containers/rc/cgroup"
	"github.com/rc-containers/rc/internal/spec"
)

// fallen is a launch of a container whose limits no cgroup gives.
func fallen(t *testing.T, r cgroup.Resources, have ...specs.POSIXRlimit) (*launch, *[]string) {
	t.Helper()
	w := newWorkshop(t)
	var said []string
	w.Warn = func(line string) { said = append(said, line) }
	l := &launch{e: w.Engine, plan: &spec.Plan{Resources: r, Place: cgroup.Place{Fallback: true}, Spec: &specs.Spec{Process: &specs.Process{Rlimits: have}}}}
	return l, &said
}

func TestApproximate(t *testing.T) {
	l, said := fallen(t, cgroup.Resources{PidsLimit: 20, CPUShares: 2}, specs.POSIXRlimit{Type: nproc, Soft: 5, Hard: 7}, specs.POSIXRlimit{Type: "RLIMIT_CORE"})
	l.approximate(cgroup.Made{Rest: l.plan.Resources, Why: errors.New("there is none")})
	if l.approx == nil || l.approx.Processes != 20 || l.approx.Nice != 19 {
		t.Errorf("%+v", l.approx)
	}
	limits := l.plan.Spec.Process.Rlimits
	if n := len(limits); n != 3 || limits[2] != (specs.POSIXRlimit{Type: nproc, Soft: 7, Hard: 7}) {
		t.Errorf("never above --ulimit nproc: %+v", limits)
	}
	if len(*said) != 3 || !strings.Contains((*said)[0], "there is none") || !strings.Contains(strings.Join(*said, "\n"), "RLIMIT_NPROC") {
		t.Errorf("said %q", *said)
	}

	// The next start may have a cgroup: what the first put there goes, the user's own stays.
	again := &launch{e: l.e}
	again.cfg.Spec, again.cfg.Again.Approx = l.plan.Spec, l.approx
	again.forget()
	if got := again.cfg.Spec.Process.Rlimits; !slices.Equal(got, limits[:2]) || again.cfg.Again.Approx != nil {
		t.Errorf("%+v", got)
	}
	again.forget()
	if len(again.cfg.Spec.Process.Rlimits) != 2 {
		t.Error("forgotten twice")
	}
}

func TestNothingToApproximate(t *testing.T) {
	l, said := fallen(t, cgroup.Resources{})
	l.approximate(cgroup.Made{Why: errors.New("no cgroup here")})
	if l.approx != nil || len(*said) != 0 {
		t.Errorf("%+v %q", l.approx, *said)
	}
}

func TestAsked(t *testing.T) {
	for _, c := range []struct {
		r    cgroup.Resources
		p    cgroup.Place
		must bool
	}{
		{cgroup.Resources{}, cgroup.Place{}, false},
		{cgroup.Resources{PidsLimit: 1}, cgroup.Place{}, true},
		{cgroup.Resources{}, cgroup.Place{Mode: cgroup.PlaceSplit}, true},
		{cgroup.Resources{}, cgroup.Place{Parent: "/a"}, true},
		{cgroup.Resources{}, cgroup.Place{Mode: cgroup.PlaceDisabled}, false},
	} {
		l := &launch{}
		l.cfg.Again.Resources, l.cfg.Again.Place = c.r, c.p
		if _, _, must := l.asked(); must != c.must {
			t.Errorf("%+v %+v: %v", c.r, c.p, must)
		}
	}
}
