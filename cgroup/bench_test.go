package cgroup

import "testing"

// BenchmarkReal is what a start pays for its group, without the clone.
func BenchmarkReal(b *testing.B) {
	if _, err := Find(); err != nil {
		b.Skip("needs a delegated cgroup v2 subtree: " + err.Error())
	}
	for b.Loop() {
		s, err := Find()
		if err != nil {
			b.Fatal(err)
		}
		g, err := s.Create("bench", Resources{})
		if err != nil {
			b.Fatal(err)
		}
		if err := g.Remove(); err != nil {
			b.Fatal(err)
		}
	}
}
