package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/pflag"
)

// commands lists every verb, in the order of the overview.
func commands() []*command {
	return []*command{
		runCommand(), psCommand(), rmCommand(), inspectCommand(),
		imageCommand("pull", "Download an image from a registry"),
		imageCommand("push", "Upload an image to a registry"),
		imagesCommand(), tagCommand(),
		imageCommand("rmi", "Remove images"),
		imageCommand("load", "Load images from an archive"),
		imageCommand("save", "Save images to an archive"),
		imageCommand("import", "Make an image from the archive of a root file system"),
		imageCommand("login", "Log in to a registry"),
		imageCommand("logout", "Forget the account of a registry"),
		unshareCommand(), infoCommand(), versionCommand(),
	}
}

// imageCommand is a verb of rc-image, which prints the help of it (in this form).
func imageCommand(name, short string) *command {
	return &command{name: name, short: short, image: true}
}

func printOverview(w io.Writer, fs *pflag.FlagSet) {
	fmt.Fprint(w, `rc runs containers without root, daemon or set-up.

Usage: rc [FLAGS] COMMAND [ARG...]

Examples:
  rc run --rm -it alpine sh   a shell in a container
  rc info                     what this host offers, and what to do where it does not

Commands:
`)
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-10s%s\n", c.name, c.short)
	}
	fmt.Fprintf(w, "\nFlags:\n%s\nrc COMMAND --help tells more.\n", fs.FlagUsages())
}

// printHelp has the headings and the order of rc-image's: what, Usage, more,
// Examples, Flags. tests/manpage reads both and makes the pages of them.
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
	if len(c.examples) > 0 {
		fmt.Fprintf(os.Stdout, "\nExamples:\n  %s\n", strings.Join(c.examples, "\n  "))
	}
	fmt.Fprintf(os.Stdout, "\nFlags:\n%s", fs.FlagUsages())
}
