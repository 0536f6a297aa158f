package main

import (
	"fmt"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
)

func topCommand() *command {
	return &command{
		name: "top", args: "CONTAINER [PS OPTION...]", command: true, short: "Show the processes of a container",
		long:     "It runs this host's ps(1), with -ef unless told otherwise: users and process ids are\nthe host's. The options must leave the column PID.",
		examples: []string{"rc top web", "rc top web -o pid,rss,args", "rc top web aux"},
		run: func(g *global, args []string) (int, error) {
			if len(args) == 0 {
				return 0, hint.Newf("rc top", "see `rc top --help`", "no container is named")
			}
			return 0, top(g, args[0], args[1:])
		},
	}
}

func top(g *global, ref string, options []string) error {
	e, err := g.open()
	if err != nil {
		return err
	}
	defer e.Close()
	id, err := e.Store.FindContainer(ref)
	if err != nil {
		return err
	}
	c, err := e.Load(id)
	if err != nil {
		return err
	}
	op := "list the processes of container " + ref
	switch {
	case !up(c):
		return hint.Newf(op, "start it: rc start "+ref, "it is not running").WithCode(1)
	case c.State.Status == record.Restarting:
		return hint.Newf(op, "wait until it runs: rc ps", "it is restarting").WithCode(1)
	}
	table, err := e.Top(c, options)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(stdout, 20, 1, 3, ' ', 0) // Docker's widths
	for _, row := range table {
		line := strings.Join(row, "\t")
		if isTerminal(os.Stdout) {
			line = harmless(line)
		}
		fmt.Fprintln(w, line)
	}
	return w.Flush()
}
