package unwind

import (
	"slices"
	"testing"
)

func TestRunIsReverseAndOnce(t *testing.T) {
	var s Stack
	s.Run() // nothing yet
	var got []int
	for i := range 4 {
		s.Push(func() { got = append(got, i) })
	}
	s.Run()
	s.Run()
	if want := []int{3, 2, 1, 0}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	s.Push(func() { got = append(got, 9) })
	s.Run()
	if got[len(got)-1] != 9 || len(got) != 5 {
		t.Errorf("not usable again: %v", got)
	}
}

func TestRelease(t *testing.T) {
	var s Stack
	ran := false
	s.Push(func() { ran = true })
	s.Release()
	s.Run()
	if ran {
		t.Error("a released step ran")
	}
}
