package main

import (
	"fmt"
	"os"

	"github.com/spf13/pflag"

	"github.com/rc-containers/rc/internal/engine"
)

func infoCommand() *command {
	var format string
	return &command{
		name: "info", short: "Show what this host offers and what to do where it does not",
		long:     "Each feature is tried, not guessed from a version. Below a line that starts with \"no\"\nstands what to type.",
		examples: []string{"rc info", "rc info --format json", "rc info -f '{{.Driver}}'"},
		flags: func(fs *pflag.FlagSet) {
			fs.StringVarP(&format, "format", "f", "", "print in this `FORMAT`: text, json, or a Go template")
		},
		run: func(g *global, args []string) (int, error) {
			if err := noArgs("info", args); err != nil {
				return 0, err
			}
			var f *formatter
			if format != "" && format != "text" {
				var err error
				if f, err = g.formatted(nil, format, nil); err != nil {
					return 0, err
				}
			}
			e, err := g.open()
			if err != nil {
				return 0, err
			}
			defer e.Close()
			info, err := e.Info()
			if err != nil {
				return 0, err
			}
			if f == nil {
				printInfo(info)
				return 0, nil
			}
			_ = f.print(newInfoView(info)) // close knows why
			return 0, f.close()
		},
	}
}

func printInfo(i *engine.Info) {
	fmt.Fprintf(stdout, "rc %s\nstate:      %s\nruntime:    %s\ncontainers: %d, %d running, %d paused, %d stopped\nimages:     %d\nstorage:    %s\n",
		i.Version, i.Root, i.Runtime, i.Containers, i.Running, i.Paused, i.Stopped, i.Images, i.Driver)
	for _, m := range i.Mapping.UID {
		fmt.Fprintf(stdout, "uid map:    %d %d %d\n", m.Inside, m.Outside, m.Size)
	}
	for _, m := range i.Mapping.GID {
		fmt.Fprintf(stdout, "gid map:    %d %d %d\n", m.Inside, m.Outside, m.Size)
	}
	fmt.Fprintln(stdout)
	for _, f := range i.Host {
		word := "yes"
		if !f.OK {
			word = "no "
		}
		fmt.Fprintf(stdout, "%s  %-22s  %s\n", word, f.Name, f.Evidence)
		if !f.OK && f.Fix != "" {
			fmt.Fprintf(stdout, "     %-22s  -> %s\n", "", f.Fix)
		}
	}
}

func unshareCommand() *command {
	return &command{
		name: "unshare", command: true, args: "[COMMAND] [ARG...]", short: "Run a command of this host as root of your user namespace",
		long: "There, files of your subordinate ids can be looked at, changed and deleted. It is no\n" +
			"container: the files, the network and the processes are the host's. Without a\n" +
			"command it runs $SHELL, else sh.\n\n" +
			"Exit code: the command's own; 128+n when signal n ended it; 126 when it cannot be\n" +
			"executed; 127 when it does not exist.",
		examples: []string{"rc unshare ls -ln data", "rc unshare chown -R 0:0 data", "rc unshare rm -rf data"},
		run: func(g *global, args []string) (int, error) {
			if len(args) == 0 {
				args = []string{os.Getenv("SHELL")}
				if args[0] == "" {
					args[0] = "sh"
				}
			}
			e, err := g.open()
			if err != nil {
				return 0, err
			}
			defer e.Close()
			return e.Unshare(args)
		},
	}
}
