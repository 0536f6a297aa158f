package engine

import (
	"os"

	"github.com/rc-containers/rc/internal/trace"
)

// lendTrace puts the descriptor of the marks beside those for the shim, where this
// command is traced.
func lendTrace(files map[string]*os.File) {
	if f := trace.File(); f != nil {
		files["trace"] = f
	}
}
