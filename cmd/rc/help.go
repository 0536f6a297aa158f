package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/pflag"
)

// commands lists every verb, in the order of the overview.
func commands() []*command {
	return []*command{
		runCommand(), psCommand(), rmCommand(), inspectCommand(),
		imageCommand("pull", "IMAGE", "Fetch an image from a registry"),
		imageCommand("push", "IMAGE [DESTINATION]", "Send an image to a registry"),
		imagesCommand(), tagCommand(),
		imageCommand("rmi", "IMAGE...", "Remove images"),
		imageCommand("load", "", "Read images from an archive"),
		imageCommand("save", "IMAGE...", "Write images to an archive"),
		imageCommand("import", "FILE|- [IMAGE]", "Make an image from a root file system's tar"),
		imageCommand("login", "[SERVER]", "Log in to a registry"),
		imageCommand("logout", "[SERVER]", "Log out of a registry"),
		unshareCommand(), infoCommand(), versionCommand(),
	}
}

func imageCommand(name, args, short string) *command {
	return &command{name: name, args: args, short: short, image: true}
}

func printOverview(w io.Writer, fs *pflag.FlagSet) {
	fmt.Fprint(w, `rc runs containers without root, daemon or set-up.

Usage: rc [FLAGS] COMMAND [ARG...]

  rc run --rm alpine sh     a shell in a container
  rc info                   what this host offers, and what to do where it does not

Commands:
`)
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-10s%s\n", c.name, c.short)
	}
	fmt.Fprintf(w, "\nFlags:\n%s\nrc COMMAND --help tells more.\n", fs.FlagUsages())
}

func (c *command) printHelp(fs *pflag.FlagSet) {
	usage := "rc " + c.name
	if fs.HasAvailableFlags() {
		usage += " [FLAGS]"
	}
	if c.args != "" {
		usage += " " + c.args
	}
	fmt.Fprintf(os.Stdout, "%s.\n\nUsage: %s\n", c.short, usage)
	if c.long != "" {
		fmt.Fprintf(os.Stdout, "\n%s\n", c.long)
	}
	fmt.Fprintf(os.Stdout, "\nFlags:\n%s", fs.FlagUsages())
}
