package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/pflag"

	"github.com/rc-containers/rc/internal/engine"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
)

type rmOptions struct{ force, volumes bool }

func rmCommand() *command {
	o := &rmOptions{}
	return &command{
		name: "rm", args: "CONTAINER...", short: "Remove containers",
		long:     "Anonymous volumes go with their container; named ones stay.\n\nWhen one of several cannot be removed, the others are, and the\nexit code is 1.",
		examples: []string{"rc rm web", "rc rm -f $(rc ps -aq)"},
		flags: func(fs *pflag.FlagSet) {
			fs.BoolVarP(&o.force, "force", "f", false, "kill it first if it runs; one that does not exist is no error")
			fs.BoolVarP(&o.volumes, "volumes", "v", false, "remove anonymous volumes (always done)")
		},
		run: o.run,
	}
}

func (o *rmOptions) run(g *global, args []string) (int, error) {
	if len(args) == 0 {
		return 0, hint.Newf("rc rm", "see `rc rm --help`", "no container is named")
	}
	e, err := g.open()
	if err != nil {
		return 0, err
	}
	defer e.Close()
	return eachOf(args, func(ref string) error {
		_, err := e.Remove(ref, o.force)
		if o.force && errors.Is(err, record.ErrNoContainer) {
			return nil
		}
		if err == nil {
			fmt.Println(ref)
		}
		return err
	})
}

// eachOf does the same to several things: every failure is reported and the rest
// is done. The exit code is 1 if one failed.
func eachOf(refs []string, do func(string) error) (int, error) {
	code := 0
	for _, ref := range refs {
		if err := do(ref); err != nil {
			if !engine.Reported(err) {
				fmt.Fprintln(os.Stderr, "rc: "+oneLine(err))
			}
			code = 1
		}
	}
	return code, nil
}
