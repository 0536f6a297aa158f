package cgroup

import (
	"os"
	"testing"
)

// BenchmarkReal is what a start pays for its group, without the clone.
func BenchmarkReal(b *testing.B) {
	if os.Getenv("RIG_CGROUP") == "" {
		b.Skip("needs the rig: " + rig)
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
