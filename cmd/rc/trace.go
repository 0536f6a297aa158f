package main

import (
	"errors"
	"os"

	"github.com/rc-containers/rc/internal/trace"
)

// traced runs a command, with --trace or RC_TRACE set under observation. A file that
// cannot be written is refused before anything is started.
func (g *global) traced(args []string, run func() (int, error)) (int, error) {
	if g.trace == "" {
		g.trace = os.Getenv("RC_TRACE")
	}
	// An rc that this one starts (a restart by policy) would overwrite the file.
	_ = os.Unsetenv("RC_TRACE")
	if g.trace == "" {
		return run()
	}
	out, err := trace.Open(g.trace)
	if err != nil {
		return 0, err
	}
	all := trace.Begin("the command")
	code, err := run()
	all.End()
	return code, errors.Join(err, out.Close(args))
}
