package main

import (
	"os"

	"github.com/spf13/pflag"

	"github.com/rc-containers/rc/internal/engine"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/spec"
)

// execCommands are the verbs that enter a running container: exec, attach.
func execCommands() []*command {
	return []*command{execCommand(), attachCommand()}
}

const execHelp = `The command runs as the container's user, in its working directory and with its
variables, unless a flag says otherwise. Signals to rc are passed on to it.

Exit code: the command's own; 128+n when signal n ended it; 1 when the container
does not run; 125 when rc refused; 126 when the command cannot be executed; 127
when it does not exist.`

type execOptions struct {
	spec.ExecOptions
	detachKeys string
}

func execCommand() *command {
	o := &execOptions{}
	return &command{
		name: "exec", command: true, args: "CONTAINER COMMAND [ARG...]", short: "Run a command in a running container", long: execHelp,
		examples: []string{"rc exec -it web sh", "rc exec -u root -w /tmp web ls -l"},
		flags:    o.bind,
		run:      o.run,
	}
}

func (o *execOptions) bind(fs *pflag.FlagSet) {
	fs.BoolVarP(&o.Detach, "detach", "d", false, "leave the command running; its output is dropped")
	fs.StringVar(&o.detachKeys, "detach-keys", "ctrl-p,ctrl-q", "detach from a terminal by these `KEYS`; \"\" for none")
	fs.VarP((*list)(&o.Env), "env", "e", "set `KEY[=VALUE]`; KEY alone passes the caller's value on")
	fs.Var((*list)(&o.EnvFile), "env-file", "read variables from this `FILE`")
	fs.BoolVarP(&o.Interactive, "interactive", "i", false, "keep the input connected")
	fs.BoolVar(&o.Privileged, "privileged", false, "give all capabilities in the container's user namespace, and no filter")
	fs.BoolVarP(&o.TTY, "tty", "t", false, "give the command a terminal")
	fs.StringVarP(&o.User, "user", "u", "", "run as `USER` and group: NAME|UID[:GROUP|GID]")
	fs.StringVarP(&o.Workdir, "workdir", "w", "", "run the command in this `FOLDER`")
}

func (o *execOptions) run(g *global, args []string) (int, error) {
	if len(args) < 2 {
		return 0, hint.Newf("rc exec", "see `rc exec --help`", "a container and a command are needed")
	}
	o.Command = args[1:]
	e, streams, err := openAttached(g, o.detachKeys)
	if err != nil {
		return 0, err
	}
	defer e.Close()
	return e.Exec(args[0], &o.ExecOptions, streams)
}

// openAttached is open for the verbs that connect the caller's own streams.
func openAttached(g *global, detachKeys string) (*engine.Engine, engine.Streams, error) {
	keys, err := parseDetachKeys(detachKeys)
	if err != nil {
		return nil, engine.Streams{}, err
	}
	e, err := g.open()
	return e, engine.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, DetachKeys: keys}, err
}

const attachHelp = `Several may be attached at once. Each gets what the container writes from then on;
one that reads nothing for 10 s, beyond 1 MiB, is let go, and the container goes on.

On a terminal, ^P^Q leaves the container running. Signals to rc are passed on.
Exit code: the container's.`

type attachOptions struct {
	engine.AttachOptions
	detachKeys string
	sigProxy   bool
}

func attachCommand() *command {
	o := &attachOptions{}
	return &command{
		name: "attach", args: "CONTAINER", short: "Connect to the streams of a running container", long: attachHelp,
		examples: []string{"rc attach web", "rc attach --no-stdin --sig-proxy=false web"},
		flags:    o.bind,
		run:      o.run,
	}
}

func (o *attachOptions) bind(fs *pflag.FlagSet) {
	fs.StringVar(&o.detachKeys, "detach-keys", "ctrl-p,ctrl-q", "detach from a terminal by these `KEYS`; \"\" for none")
	fs.BoolVar(&o.NoStdin, "no-stdin", false, "leave the input alone")
	fs.BoolVar(&o.sigProxy, "sig-proxy", true, "pass signals on to the container")
}

func (o *attachOptions) run(g *global, args []string) (int, error) {
	if len(args) != 1 {
		return 0, hint.Newf("rc attach", "see `rc attach --help`", "exactly one container is needed")
	}
	e, streams, err := openAttached(g, o.detachKeys)
	if err != nil {
		return 0, err
	}
	defer e.Close()
	streams.NoSignals = !o.sigProxy
	return e.Attach(args[0], o.AttachOptions, streams)
}
