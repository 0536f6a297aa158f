package main

import "os"

// checkedOutput remembers the first failure of a write. What prints a line here and
// there need not look: main does, so that nothing that was lost is a success.
type checkedOutput struct{ err error }

// stdout is where the verbs print.
var stdout = &checkedOutput{}

func (c *checkedOutput) Write(p []byte) (int, error) {
	n, err := os.Stdout.Write(p)
	if err != nil && c.err == nil {
		c.err = err
	}
	return n, err
}
