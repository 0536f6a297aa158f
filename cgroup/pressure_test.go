package cgroup

import (
	"testing"
	"time"
)

func TestPressure(t *testing.T) {
	f, s := mine(t, "memory")
	g, err := s.Create("p", Resources{})
	must(t, err)
	st, err := g.Stats()
	must(t, err)
	if st.Pressure != nil {
		t.Errorf("a kernel without PSI: %+v", st.Pressure)
	}
	f.put(g.Path, "memory.pressure", "some avg10=1.50 avg60=0.25 avg300=0.01 total=1234\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n")
	f.put(g.Path, "cpu.pressure", "some avg10=99.00 avg60=0.00 avg300=0.00 total=5\n") // "full" came with Linux 5.13
	st, err = g.Stats()
	must(t, err)
	want := Pressure{Some: Stall{1.5, 0.25, 0.01, 1234 * time.Microsecond}, Full: Stall{Total: 7 * time.Microsecond}}
	if got := st.Pressure["memory"]; got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := st.Pressure["cpu"].Some.Avg10; got != 99 {
		t.Errorf("cpu: %v", got)
	}
	if _, there := st.Pressure["io"]; there || len(st.Pressure) != 2 {
		t.Errorf("%+v", st.Pressure)
	}
}
