package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// commands lists every verb, in the order of the overview. A name of two words is
// a verb of a group.
func commands() []*command {
	return slices.Concat(
		[]*command{runCommand()}, lifeCommands(), execCommands(), viewCommands(), logCommands(), fileCommands(),
		imageCommands(), volumeCommands(), networkCommands(), hostCommands(),
	)
}

func imageCommands() []*command {
	return []*command{
		imageCommand("pull", "Download an image from a registry"),
		imageCommand("push", "Upload an image to a registry"),
		imagesCommand(), tagCommand(),
		imageCommand("rmi", "Remove images"),
		imageCommand("load", "Load images from an archive"),
		imageCommand("save", "Save images to an archive"),
		imageCommand("import", "Make an image from the archive of a root file system"),
		imageCommand("login", "Log in to a registry"),
		imageCommand("logout", "Forget the account of a registry"),
	}
}

func hostCommands() []*command {
	return []*command{quadletCommand(), generateCommand(), unshareCommand(), infoCommand(), versionCommand()}
}

// groups are Docker's management commands whose verbs rc has without the group,
// too: `rc container ls` is `rc ps`. verbs maps a verb to ours; "" is refused by name.
var groups = map[string]struct {
	short string
	verbs map[string]string
}{
	"container": {"Manage containers", map[string]string{
		"run": "run", "create": "create", "start": "start", "stop": "stop", "restart": "restart", "kill": "kill", "rm": "rm",
		"pause": "pause", "unpause": "unpause", "wait": "wait", "attach": "attach", "exec": "exec", "logs": "logs", "top": "top",
		"stats": "stats", "ls": "ps", "list": "ps", "ps": "ps", "diff": "diff", "cp": "cp", "commit": "commit",
		"export": "export", "rename": "rename", "update": "update", "port": "port", "remove": "rm",
	}},
	"image": {"Manage images", map[string]string{
		"ls": "images", "list": "images", "rm": "rmi", "remove": "rmi", "pull": "pull", "push": "push", "tag": "tag", "load": "load",
		"save": "save", "import": "import",
	}},
	"system":   {"Manage rc", map[string]string{"info": "info", "events": "events"}},
	"volume":   {"Manage volumes", nil},
	"network":  {"Manage networks", nil},
	"generate": {"Write files for other programs", nil},
}

// find is the command that args begin with, and what is left of them. Another
// name than its own is an alias.
func find(args []string) (*command, []string) {
	name, rest := args[0], args[1:]
	if g, ok := groups[name]; ok && len(rest) > 0 {
		verb := g.verbs[rest[0]]
		if verb == "" {
			verb = name + " " + rest[0]
		}
		name, rest = verb, rest[1:]
	}
	for _, c := range commands() {
		if c.name == name || slices.Contains(c.aliases, name) {
			return c, rest
		}
	}
	return nil, args
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
		fmt.Fprintf(w, "  %-20s%s\n", c.name, c.short)
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
	fmt.Fprintf(stdout, "%s.\n\nUsage: %s\n", c.short, usage)
	if c.long != "" {
		fmt.Fprintf(stdout, "\n%s\n", c.long)
	}
	if len(c.examples) > 0 {
		fmt.Fprintf(stdout, "\nExamples:\n  %s\n", strings.Join(c.examples, "\n  "))
	}
	fmt.Fprintf(stdout, "\nFlags:\n%s", fs.FlagUsages())
}
