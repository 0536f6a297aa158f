package main

import (
	"github.com/spf13/pflag"

	"github.com/rc-containers/rc/internal/hint"
)

// refusedFlag is a flag of Docker's that rc does not have: hidden from the help,
// and its use is a refusal that says why.
type refusedFlag struct{ why, fix string }

// String is what pflag shows of a default.
func (refusedFlag) String() string { return "" }

// Type is the word for the value.
func (refusedFlag) Type() string { return "string" }

// Set refuses.
func (r refusedFlag) Set(value string) error { return hint.Newf("", r.fix, "%s", r.why) }

// refuseFlags adds such flags. One whose name ends in "!" takes no value.
func refuseFlags(fs *pflag.FlagSet, why, fix string, names ...string) {
	for _, name := range names {
		bare := name[len(name)-1] == '!'
		if bare {
			name = name[:len(name)-1]
		}
		short := ""
		if len(name) > 2 && name[1] == ',' {
			short, name = name[:1], name[2:]
		}
		f := fs.VarPF(refusedFlag{why, fix}, name, short, why)
		f.Hidden = true
		if bare {
			f.NoOptDefVal = "true"
		}
	}
}
