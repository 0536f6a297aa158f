package main

import (
	"context"
	"os"
	"runtime"

	"github.com/spf13/pflag"

	"github.com/rc-containers/rc/internal/atomicfile"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/seccomp"
)

type seccompCommand struct {
	out, profile, arch string
	caps               []string
}

func (c *seccompCommand) flags(f *pflag.FlagSet) {
	f.StringVar(&c.out, "out", "", "write the program to this `FILE`")
	f.StringVar(&c.profile, "profile", "", "compile this `FILE` in Docker's JSON format (default Docker's own)")
	f.StringSliceVar(&c.caps, "caps", nil, "assume these `CAPABILITIES` (CAP_…), which conditions of the profile look at")
	f.StringVar(&c.arch, "arch", runtime.GOARCH, "`ARCHITECTURE` of the program; only this machine's")
}

func (c *seccompCommand) run(_ context.Context, args []string) error {
	if c.out == "" || len(args) > 0 {
		return wrongCall("seccomp", "--out FILE and no argument is wanted")
	}
	if c.arch != runtime.GOARCH {
		return wrongCall("seccomp", "--arch "+c.arch+": this program compiles for "+runtime.GOARCH)
	}
	var profile []byte
	if c.profile != "" {
		var err error
		if profile, err = os.ReadFile(c.profile); err != nil {
			return hint.New("read the seccomp profile", err, "name a file, or use seccomp=unconfined")
		}
	}
	program, err := seccomp.Compile(profile, c.caps)
	if err != nil {
		return err
	}
	if err := atomicfile.Write(c.out, program, 0o600, atomicfile.Fast); err != nil {
		return hint.New("write the seccomp program", err, "")
	}
	return nil
}
