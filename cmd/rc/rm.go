package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/pflag"

	"github.com/rc-containers/rc/internal/engine"
	"github.com/rc-containers/rc/internal/record"
)

type rmOptions struct{ force, volumes bool }

func rmCommand() *command {
	o := &rmOptions{}
	return &command{
		name: "rm", args: "CONTAINER...", short: "Remove containers",
		long:     "Volumes stay, but for anonymous ones with -v.\n\nWhen one of several cannot be removed, the others are, and the\nexit code is 1.",
		examples: []string{"rc rm web", "rc rm -f $(rc ps -aq)"},
		flags: func(fs *pflag.FlagSet) {
			fs.BoolVarP(&o.force, "force", "f", false, "kill it first if it runs; one that does not exist is no error")
			fs.BoolVarP(&o.volumes, "volumes", "v", false, "remove its anonymous volumes, too")
			refuseFlags(fs, "there are no links between containers", "leave it out", "l,link!")
		},
		run: o.run,
	}
}

func (o *rmOptions) run(g *global, args []string) (int, error) {
	return withEngine(g, "rm", args, func(e *engine.Engine) (int, error) {
		return atOnce(args, func(ref string) error {
			_, err := e.Remove(ref, o.force, o.volumes)
			if o.force && errors.Is(err, record.ErrNoContainer) {
				return errSilent // Docker prints no name for it, and no failure
			}
			return err
		})
	})
}

// errSilent is a thing that was not done and is no failure.
var errSilent = errors.New("nothing to do")

// eachOf does the same to several things: every failure is reported and the rest
// is done. The exit code is 1 if one failed.
func eachOf(refs []string, do func(string) error) (int, error) {
	code := 0
	for _, ref := range refs {
		err := do(ref)
		if err == nil || errors.Is(err, errSilent) {
			continue
		}
		if !engine.Reported(err) {
			fmt.Fprintln(os.Stderr, "rc: "+oneLine(err))
		}
		code = 1
	}
	return code, nil
}
