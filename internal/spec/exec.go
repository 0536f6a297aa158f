package spec

import (
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/userns"
)

// ExecOptions holds the flags of `rc exec` as typed, in Docker's spelling.
type ExecOptions struct {
	Command     []string
	Env         []string
	EnvFile     []string
	Workdir     string
	User        string // "": the container's own
	Interactive bool
	TTY         bool
	Detach      bool
	Privileged  bool
}

// ExecInput is what the flags are held against.
type ExecInput struct {
	Options *ExecOptions
	Process *specs.Process // of the container's configuration; it is not changed
	UIDMap  []userns.IDMap
	GIDMap  []userns.IDMap
	Environ []string // the caller's, for -e KEY
}

// Exec is the process of one more command in a container: the container's own as
// far as the flags say nothing (moby, daemon/exec.go). User.Username holds what was
// typed, for rc-exec to resolve. Every error is a *hint.Error.
func Exec(in *ExecInput) (*specs.Process, error) {
	o := in.Options
	if len(o.Command) == 0 || o.Command[0] == "" {
		return nil, hint.Newf("rc exec", "see `rc exec --help`", "no command is named")
	}
	b := newBuilder(&Input{Options: &Options{Env: o.Env, EnvFile: o.EnvFile, User: o.User, TTY: o.TTY}, Environ: in.Environ})
	b.plan.UIDMap, b.plan.GIDMap = in.UIDMap, in.GIDMap
	if err := b.typedEnv(); err != nil {
		return nil, err
	}
	if o.User != "" {
		if err := b.user(); err != nil {
			return nil, err
		}
	}
	p := *in.Process
	p.Args, p.Terminal, p.User = o.Command, o.TTY, b.spec.Process.User
	env := slices.Clone(in.Process.Env)
	if o.TTY {
		env = mergeEnv(env, []string{"TERM=xterm"})
	}
	p.Env = mergeEnv(env, b.env)
	if o.Workdir != "" {
		if o.Workdir[0] != '/' || strings.Contains(o.Workdir, "\x00") {
			return nil, refuse("--workdir", o.Workdir, "give --workdir an absolute path", "not an absolute path")
		}
		p.Cwd = path.Clean(o.Workdir)
	}
	if o.Privileged {
		all := make([]string, len(capabilityNames))
		for i, name := range capabilityNames {
			all[i] = "CAP_" + name
		}
		p.Capabilities = &specs.LinuxCapabilities{Bounding: all, Effective: all, Permitted: all}
	}
	return &p, nil
}
