package main

import (
	"os"
	"strconv"
	"time"

	"github.com/spf13/pflag"

	"github.com/rc-containers/rc/internal/engine"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/logs"
)

// logCommands are logs and events.
func logCommands() []*command {
	return []*command{logsCommand(), eventsCommand()}
}

type logsOptions struct {
	engine.LogsQuery
	tail         string
	since, until string
}

func logsCommand() *command {
	o := &logsOptions{}
	return &command{
		name: "logs", args: "CONTAINER", short: "Show what a container has printed",
		long: `What the command wrote to its stdout goes to stdout, and what it wrote to its
stderr to stderr, byte by byte.

A log has at most 5 files of 16 MiB, the oldest go (see --log-opt of rc run). A
container with --rm in the foreground has one only with --log-driver json-file.

TIME is 10m or 1h30m ago, 2024-01-02T15:04:05Z (the zone may be left out), or
seconds of the Unix epoch.`,
		examples: []string{"rc logs web", "rc logs -f --tail 10 web", "rc logs --since 10m -t web"},
		flags: func(fs *pflag.FlagSet) {
			fs.BoolVarP(&o.Follow, "follow", "f", false, "go on until the container ends")
			fs.StringVarP(&o.tail, "tail", "n", "all", "show this `NUMBER` of lines from the end, or all")
			fs.StringVar(&o.since, "since", "", "show what was printed since this `TIME`")
			fs.StringVar(&o.until, "until", "", "show what was printed until this `TIME`")
			fs.BoolVarP(&o.Timestamps, "timestamps", "t", false, "print the time before each line")
			fs.BoolVar(&o.Details, "details", false, "print the labels, variables and tag that --log-opt chose before each line")
		},
		run: o.run,
	}
}

func (o *logsOptions) run(g *global, args []string) (int, error) {
	if len(args) != 1 {
		return 0, hint.Newf("rc logs", "see `rc logs --help`", "it takes one container, but %d were named", len(args))
	}
	q := o.LogsQuery
	q.Out, q.Err, q.Tail = os.Stdout, os.Stderr, -1
	if n, err := strconv.Atoi(o.tail); err == nil {
		q.Tail = n // a negative one is all, as with Docker
	} else if o.tail != "all" {
		return 0, hint.Newf("--tail "+o.tail, "write a number of lines, or all", "not a number").WithCode(1)
	}
	var err error
	if q.Since, q.Until, err = parseSpan(o.since, o.until); err != nil {
		return 0, err
	}
	e, err := g.open()
	if err != nil {
		return 0, err
	}
	defer e.Close()
	return e.Logs(args[0], q)
}

// parseSpan reads --since and --until; a zero time is no bound.
func parseSpan(since, until string) (from, to time.Time, err error) {
	now := time.Now()
	if since != "" {
		if from, err = logs.ParseTime("since", since, now); err != nil {
			return from, to, err
		}
	}
	if until != "" {
		to, err = logs.ParseTime("until", until, now)
	}
	return from, to, err
}
