package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"github.com/rc-containers/rc/internal/engine"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
)

func createCommand() *command {
	o := &runOptions{verb: "create"}
	return &command{
		name: "create", command: true, args: "IMAGE [COMMAND] [ARG...]", short: "Create a container without starting it",
		long:     "Its id is printed. The flags are those of `rc run`, which creates and starts.",
		examples: []string{"rc create --name web -p 8080:80 nginx", "rc start web"},
		flags:    o.bind,
		run:      o.create,
	}
}

func (o *runOptions) create(g *global, args []string) (int, error) {
	image, err := o.prepare(args)
	if err != nil {
		return 0, err
	}
	e, err := g.open()
	if err != nil {
		return 0, err
	}
	defer e.Close()
	id, err := e.Create(&o.Options, image)
	if err == nil {
		fmt.Fprintln(stdout, id)
	}
	return 0, err
}

const startHelp = `Containers that were created, or that have ended, go on with the files that they
have. One that runs is left alone.

Exit code with -a: the container's, as of ` + "`rc run`" + `; else 1 when one of several
could not be started.`

type startOptions struct {
	engine.StartOptions
	selection
	detachKeys string
}

func startCommand() *command {
	o := &startOptions{}
	return &command{
		name: "start", args: "CONTAINER...", short: "Start containers that do not run", long: startHelp,
		examples: []string{"rc start web", "rc start -ai box", "rc start --all --filter should-start-on-boot=true"},
		flags:    o.bind,
		run:      o.run,
	}
}

func (o *startOptions) bind(fs *pflag.FlagSet) {
	fs.BoolVarP(&o.Attach, "attach", "a", false, "show the output, pass signals on, end with the container's exit code")
	fs.BoolVarP(&o.Interactive, "interactive", "i", false, "connect the input too, where the container was made with -i")
	fs.StringVar(&o.detachKeys, "detach-keys", "ctrl-p,ctrl-q", "detach from a terminal by these `KEYS`; \"\" for none")
	o.selection.bind(fs, "start")
	fs.BoolVar(&o.ByPolicy, "by-policy", false, "a restart that the container's policy asks for")
	_ = fs.MarkHidden("by-policy") // rc's own, see engine.reviveAll
	refuseFlags(fs, "rc makes no checkpoints of containers", "leave it out", "checkpoint", "checkpoint-dir")
}

func (o *startOptions) run(g *global, args []string) (int, error) {
	keys, err := parseDetachKeys(o.detachKeys)
	if err != nil {
		return 0, err
	}
	o.Streams = callersStreams(keys)
	e, err := g.open()
	if err != nil {
		return 0, err
	}
	defer e.Close()
	names, err := o.names(e, "start", args, func(c *engine.Entry) bool { return !c.Alive && c.State.Status != record.Paused })
	if err != nil {
		return 0, err
	}
	o.Attach = o.Attach || o.Interactive // as Docker's
	if o.Attach {
		if len(names) != 1 {
			return 0, hint.Newf("rc start", "name one container, or leave out -a and -i", "only one can be attached to").WithCode(1)
		}
		return e.Start(names[0], o.StartOptions)
	}
	return eachOf(names, func(ref string) error {
		_, err := e.Start(ref, o.StartOptions)
		for wait := time.Second; err != nil && o.ByPolicy && wait < time.Minute && !errors.Is(err, record.ErrNoContainer); wait *= 2 {
			time.Sleep(wait) // a full disk, a keeper that is leaving: Docker tries again, too
			_, err = e.Start(ref, o.StartOptions)
		}
		if err == nil {
			fmt.Fprintln(stdout, ref)
		}
		return err
	})
}
