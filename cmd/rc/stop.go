package main

import (
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"github.com/rc-containers/rc/internal/engine"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/spec"
)

// stopOptions are the flags of stop and restart.
type stopOptions struct {
	signal  string
	seconds int
	flags   *pflag.FlagSet
	selection
}

func (o *stopOptions) bind(fs *pflag.FlagSet) {
	o.flags = fs
	fs.StringVarP(&o.signal, "signal", "s", "", "ask by this `SIGNAL` (default the container's own)")
	fs.IntVarP(&o.seconds, "timeout", "t", 0, "wait these `SECONDS` before the kill; -1 waits for ever (default the container's own)")
	fs.IntVar(&o.seconds, "time", 0, "same as --timeout") // Docker's name for it until version 28
	_ = fs.MarkHidden("time")
}

func (o *stopOptions) parse(verb string) (engine.StopOptions, error) {
	var s engine.StopOptions
	if o.signal != "" {
		n, err := parseSignal("rc "+verb, o.signal)
		if err != nil {
			return s, err
		}
		s.Signal = n
	}
	if o.flags.Changed("timeout") || o.flags.Changed("time") {
		d := time.Duration(max(o.seconds, -1)) * time.Second
		s.Timeout = &d
	}
	return s, nil
}

func parseSignal(op, text string) (int, error) {
	n, ok := spec.ParseSignal(text)
	if !ok {
		return 0, hint.Newf(op+" --signal "+text, "give a name or a number of signal(7), as in TERM or 15", "no such signal").WithCode(1)
	}
	return n, nil
}

func stopCommand() *command {
	o := &stopOptions{}
	return &command{
		name: "stop", args: "CONTAINER...", short: "Stop running containers",
		long:     "Each is asked by its stop signal, and killed when it has not ended after 10 seconds\nor what --stop-timeout said. No restart policy starts it then. One that does not\nrun is left alone.",
		examples: []string{"rc stop web db", "rc stop -t 30 db", "rc stop --all"},
		flags: func(fs *pflag.FlagSet) {
			o.bind(fs)
			o.selection.bind(fs, "stop")
		},
		run: o.stop,
	}
}

func (o *stopOptions) stop(g *global, args []string) (int, error) {
	s, err := o.parse("stop")
	if err != nil {
		return 0, err
	}
	e, err := g.open()
	if err != nil {
		return 0, err
	}
	defer e.Close()
	names, err := o.names(e, "stop", args, func(c *engine.Entry) bool { return c.Alive })
	if err != nil {
		return 0, err
	}
	return atOnce(names, func(ref string) error { return e.Stop(ref, s) })
}

func restartCommand() *command {
	o := &stopOptions{}
	return &command{
		name: "restart", args: "CONTAINER...", short: "Stop containers and start them again",
		long:     "One that does not run is started.",
		examples: []string{"rc restart web"},
		flags:    o.bind,
		run: func(g *global, args []string) (int, error) {
			s, err := o.parse("restart")
			if err != nil {
				return 0, err
			}
			return withEngine(g, "restart", args, func(e *engine.Engine) (int, error) {
				return eachPrinted(args, func(ref string) error { return e.Restart(ref, s) })
			})
		},
	}
}

// eachPrinted is eachOf that prints the name of what succeeded.
func eachPrinted(refs []string, do func(string) error) (int, error) {
	return eachOf(refs, func(ref string) error {
		err := do(ref)
		if err == nil {
			fmt.Fprintln(stdout, ref)
		}
		return err
	})
}

func killCommand() *command {
	signal := "KILL"
	return &command{
		name: "kill", args: "CONTAINER...", short: "Send a signal to running containers",
		long:     "The signal goes to the container's first process.",
		examples: []string{"rc kill web", "rc kill -s HUP web"},
		flags: func(fs *pflag.FlagSet) {
			fs.StringVarP(&signal, "signal", "s", "KILL", "send this `SIGNAL`: a name, with or without SIG, or a number")
		},
		run: func(g *global, args []string) (int, error) {
			n, err := parseSignal("rc kill", signal)
			if err != nil {
				return 0, err
			}
			return withEngine(g, "kill", args, func(e *engine.Engine) (int, error) {
				return atOnce(args, func(ref string) error { return e.Signal(ref, n) })
			})
		},
	}
}

func pauseCommand(freeze bool) *command {
	c := &command{name: "pause", args: "CONTAINER...", short: "Freeze every process of containers", examples: []string{"rc pause web"}}
	if !freeze {
		c.name, c.short, c.examples = "unpause", "Let the processes of paused containers go on", []string{"rc unpause web"}
	}
	c.run = func(g *global, args []string) (int, error) {
		return withEngine(g, c.name, args, func(e *engine.Engine) (int, error) {
			return eachPrinted(args, func(ref string) error { return e.Pause(ref, freeze) })
		})
	}
	return c
}

func waitCommand() *command {
	return &command{
		name: "wait", args: "CONTAINER...", short: "Wait until containers end and print their exit codes",
		long:     "The code of one that has ended is printed at once. A container with a restart\npolicy is waited for until its next end.",
		examples: []string{"rc wait job"},
		run: func(g *global, args []string) (int, error) {
			return withEngine(g, "wait", args, func(e *engine.Engine) (int, error) {
				return eachOf(args, func(ref string) error {
					code, err := e.Wait(ref)
					if err == nil {
						fmt.Fprintln(stdout, code)
					}
					return err
				})
			})
		},
	}
}
