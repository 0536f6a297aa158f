package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/spf13/pflag"

	"github.com/rc-containers/rc/internal/engine"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/version"
)

func infoCommand() *command {
	var format string
	return &command{
		name: "info", short: "Show what this host offers and what to do where it does not",
		long:     "Each feature is tried, not guessed from a version. Below a line that starts with \"no\"\nstands what to type.",
		examples: []string{"rc info", "rc info --format json"},
		flags: func(fs *pflag.FlagSet) {
			fs.StringVar(&format, "format", "text", "print in this `FORMAT`: text or json")
		},
		run: func(g *global, args []string) (int, error) {
			if err := noArgs("info", args); err != nil {
				return 0, err
			}
			if format != "text" && format != "json" {
				return 0, hint.Newf("--format "+format, "choose text or json", "no such format")
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
			if format == "json" {
				enc := json.NewEncoder(os.Stdout)
				enc.SetIndent("", "  ")
				return 0, enc.Encode(info)
			}
			printInfo(info)
			return 0, nil
		},
	}
}

func printInfo(i *engine.Info) {
	fmt.Printf("rc %s\nstate:      %s\nruntime:    %s\ncontainers: %d, %d running\nimages:     %d\nstorage:    %s\n",
		i.Version, i.Root, i.Runtime, i.Containers, i.Running, i.Images, i.Driver)
	for _, m := range i.Mapping.UID {
		fmt.Printf("uid map:    %d %d %d\n", m.Inside, m.Outside, m.Size)
	}
	for _, m := range i.Mapping.GID {
		fmt.Printf("gid map:    %d %d %d\n", m.Inside, m.Outside, m.Size)
	}
	fmt.Println()
	for _, f := range i.Host {
		word := "yes"
		if !f.OK {
			word = "no "
		}
		fmt.Printf("%s  %-22s  %s\n", word, f.Name, f.Evidence)
		if !f.OK && f.Fix != "" {
			fmt.Printf("     %-22s  -> %s\n", "", f.Fix)
		}
	}
}

func versionCommand() *command {
	return &command{
		name: "version", short: "Print the version",
		examples: []string{"rc version"},
		run: func(_ *global, args []string) (int, error) {
			if err := noArgs("version", args); err != nil {
				return 0, err
			}
			fmt.Println("rc " + version.Version)
			return 0, nil
		},
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
