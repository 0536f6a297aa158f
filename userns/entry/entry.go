//go:build !cgo

// Package entry is rc-init's way into the process where it is linked without a C
// library: the constructors of userns/nsjoin and userns/park, compiled for
// themselves (folder bare), run on the bare stack before Go's runtime. Where cgo
// builds rc-init, those packages do it themselves and nobody imports this one.
//
// The Makefile makes entry_linux_amd64.syso and names the entry point to the
// linker (-E rc_start). Without the first, linking fails; without the second, the
// program is as one that was started by hand.
package entry

import _ "github.com/rc-containers/rc/internal/patient" // where the constructors go on

// terminated is nonzero when SIGTERM was taken; written before Go starts.
var terminated uint32

// Terminated is park.Terminated.
func Terminated() bool { return terminated != 0 }
