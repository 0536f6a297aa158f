// Package unwind undoes a half-made thing in reverse order when a later step
// fails, and forgets about it when all steps succeeded.
//
//	var u unwind.Stack
//	defer u.Run()
//	u.Push(func() { os.Remove(path) })
//	…
//	u.Release() // success: keep everything
package unwind

// Stack holds undo steps. The zero value is ready to use.
type Stack struct{ steps []func() }

// Push adds an undo step.
func (s *Stack) Push(step func()) { s.steps = append(s.steps, step) }

// Run executes the steps, last first, and empties the stack.
func (s *Stack) Run() {
	for i := len(s.steps) - 1; i >= 0; i-- {
		s.steps[i]()
	}
	s.steps = nil
}

// Release forgets every step: what was made stays.
func (s *Stack) Release() { s.steps = nil }
