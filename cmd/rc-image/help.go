package main

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

const platformHelp = "A foreign --platform can be taken, and run where binfmt_misc(5) knows the architecture."

// verbs are in the order of rc's overview, and their short texts are the same:
// tests/manpage compares them.
var verbs = []verb{
	{"pull", "IMAGE", "Download an image from a registry",
		"IMAGE is [REGISTRY/]NAME[:TAG][@DIGEST]. A short name is Docker Hub's, unless registries.conf says\n" +
			"otherwise; the tag is latest unless given. An interrupted pull goes on where it was.\n" + platformHelp,
		[]string{"rc pull alpine:3.20", "rc pull --platform linux/arm64 alpine", "rc pull --tls-verify=false 127.0.0.1:5000/app"},
		func() command { return new(pullCommand) }},
	{"push", "IMAGE", "Upload an image to a registry",
		"The image goes to the registry that its name begins with: give it such a name by `rc tag`.",
		[]string{"rc tag app registry.example.com/me/app:1", "rc push registry.example.com/me/app:1"},
		func() command { return new(pushCommand) }},
	{"rmi", "IMAGE...", "Remove images",
		"Of an image with several names only the name given is taken away; the image goes with its last name.\n" +
			"An image that a container uses stays; -f takes its names away.",
		[]string{"rc rmi alpine:3.20", "rc rmi $(rc images -q)"},
		func() command { return new(rmiCommand) }},
	{"load", "", "Load images from an archive",
		"The archive is a Docker archive, an OCI archive or an OCI folder, plain or compressed, from -i or stdin.",
		[]string{"rc load -i alpine.tar", "rc load < alpine.tar"},
		func() command { return new(loadCommand) }},
	{"save", "IMAGE...", "Save images to an archive",
		"The archive goes to the file or folder of -o, else to stdout.",
		[]string{"rc save -o alpine.tar alpine", "rc save --format oci-dir -o alpine alpine"},
		func() command { return new(saveCommand) }},
	{"import", "FILE|URL|- [NAME[:TAG]]", "Make an image from the archive of a root file system",
		"The archive is a tar, plain or compressed; - reads it from stdin. The image has one layer.",
		[]string{`rc import -c 'CMD ["sh"]' rootfs.tar mine:1`},
		func() command { return new(importCommand) }},
	{"login", "[SERVER]", "Log in to a registry",
		"Without SERVER it is Docker Hub. The password is kept in auth.json (containers-auth.json(5)).",
		[]string{"rc login -u me registry.example.com", "rc login -u me --password-stdin registry.example.com < token"},
		func() command { return new(loginCommand) }},
	{"logout", "[SERVER]", "Forget the account of a registry",
		"Without SERVER it is Docker Hub's.",
		[]string{"rc logout registry.example.com", "rc logout --all"},
		func() command { return new(logoutCommand) }},
	{"prune", "", "Remove unused images (used by rc image prune)", "",
		[]string{"rc-image prune --all"},
		func() command { return new(pruneCommand) }},
	{"seccomp", "", "Compile a seccomp profile (used by rc run)", "",
		[]string{"rc-image seccomp --out prog.bpf --caps CAP_CHOWN,CAP_KILL"},
		func() command { return new(seccompCommand) }},
	{"files", "", "Move a container's files (used by rc cp, export, diff and commit)", "",
		[]string{"rc cp web:/etc/hosts ."},
		func() command { return new(filesCommand) }},
	{"format", "TEMPLATE", "Execute a Go template for JSON values (used by --format)", "",
		[]string{`rc-image format '{{.Name}}' < values.json`},
		func() command { return new(formatCommand) }},
}

func overview() {
	fmt.Print("rc-image moves images for rc, which starts it inside your user namespace.\n\nUsage: rc-image COMMAND [FLAGS] [ARG...]\n\nCommands:\n")
	for _, v := range verbs {
		fmt.Printf("  %-10s%s\n", v.name, v.short)
	}
	fmt.Println("\nrc-image COMMAND --help tells more.")
}

// printHelp has the headings and the order of rc's own: what, Usage, more,
// Examples, Flags.
func (v verb) printHelp(f *pflag.FlagSet) {
	usage := "rc " + v.name + " [FLAGS]"
	if v.args != "" {
		usage += " " + v.args
	}
	fmt.Printf("%s.\n\nUsage: %s\n", v.short, usage)
	if v.long != "" {
		fmt.Printf("\n%s\n", v.long)
	}
	fmt.Printf("\nExamples:\n  %s\n\nFlags:\n%s", strings.Join(v.examples, "\n  "), f.FlagUsages())
}
