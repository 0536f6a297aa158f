// rc-image moves images: pull, push, load, save, import, login, logout, rmi,
// and compiles seccomp profiles. rc starts it inside the user's namespace; it
// is the only program that links containers/image and containers/storage.
//
// It exits 0, 1 when the verb failed (Docker's code for these verbs), 125 when
// it was called wrongly, 130 when it was interrupted.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sort"
	"strings"

	"github.com/containers/storage/pkg/reexec"
	"github.com/sirupsen/logrus"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	_ "github.com/rc-containers/rc/userns/nsjoin" // joins the user's namespace before Go starts
)

// verb is one command. flags binds its options; run gets the arguments left.
type verb struct {
	name, usage, about string
	example            string
	make               func() command
}

type command interface {
	flags(f *pflag.FlagSet)
	run(ctx context.Context, args []string) error
}

var verbs = []verb{
	{"pull", "[OPTIONS] NAME[:TAG|@DIGEST]", "Download an image from a registry", "rc pull alpine:3.20", func() command { return new(pullCommand) }},
	{"push", "[OPTIONS] NAME[:TAG]", "Upload an image to a registry", "rc push registry.example.com/me/app:1", func() command { return new(pushCommand) }},
	{"load", "[OPTIONS]", "Load images from a Docker archive, an OCI archive or an OCI folder", "rc load -i alpine.tar", func() command { return new(loadCommand) }},
	{"save", "[OPTIONS] IMAGE...", "Save images to an archive", "rc save -o alpine.tar alpine", func() command { return new(saveCommand) }},
	{"import", "[OPTIONS] FILE|URL|- [NAME[:TAG]]", "Make an image from the archive of a root file system", "rc import -c 'CMD [\"sh\"]' rootfs.tar mine:1", func() command { return new(importCommand) }},
	{"login", "[OPTIONS] [SERVER]", "Log in to a registry", "echo $TOKEN | rc login -u me --password-stdin registry.example.com", func() command { return new(loginCommand) }},
	{"logout", "[OPTIONS] [SERVER]", "Forget the account of a registry", "rc logout registry.example.com", func() command { return new(logoutCommand) }},
	{"rmi", "[OPTIONS] IMAGE...", "Remove images", "rc rmi alpine:3.20", func() command { return new(rmiCommand) }},
	{"seccomp", "--out FILE [OPTIONS]", "Compile a seccomp profile (used by rc run)", "rc-image seccomp --out prog.bpf --caps CAP_CHOWN,CAP_KILL", func() command { return new(seccompCommand) }},
}

func main() {
	if reexec.Init() {
		return // the unpacking child of containers/storage
	}
	environment()
	logrus.SetLevel(logrus.PanicLevel) // every failure reaches us as an error too
	if level, err := logrus.ParseLevel(os.Getenv("RC_LOG")); err == nil {
		logrus.SetLevel(level)
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	err := dispatch(ctx, os.Args[1:])
	interrupted := ctx.Err() != nil
	stop()
	os.Exit(exitCode(err, interrupted))
}

// exitCode prints the refusal and is the one place that maps it to a code.
func exitCode(err error, interrupted bool) int {
	switch {
	case err == nil, errors.Is(err, pflag.ErrHelp):
		return 0
	case interrupted:
		fmt.Fprintln(os.Stderr, "rc: interrupted; the next pull goes on from here")
		return 130
	}
	fmt.Fprintln(os.Stderr, "rc: "+strings.ReplaceAll(err.Error(), "\n", "; "))
	return hint.ExitCode(err)
}

func dispatch(ctx context.Context, args []string) error {
	if len(args) == 0 || args[0] == "--help" || args[0] == "-h" || args[0] == "help" {
		overview()
		return nil
	}
	for _, v := range verbs {
		if v.name == args[0] {
			return v.execute(ctx, args[1:])
		}
	}
	return hint.Newf("rc-image "+args[0], "see rc-image --help", "unknown command")
}

func (v verb) execute(ctx context.Context, args []string) error {
	c := v.make()
	f := pflag.NewFlagSet(v.name, pflag.ContinueOnError)
	f.SortFlags = true
	f.Usage = func() {
		fmt.Printf("%s\n\nUsage:\n  rc %s %s\n\nExample:\n  %s\n\nOptions:\n%s", v.about, v.name, v.usage, v.example, f.FlagUsages())
	}
	c.flags(f)
	if err := f.Parse(args); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			return err
		}
		return hint.New(v.name, err, "see rc "+v.name+" --help")
	}
	return c.run(ctx, f.Args())
}

func overview() {
	fmt.Println("rc-image moves images for rc, which starts it inside your user namespace.\n\nCommands:")
	sorted := append([]verb(nil), verbs...)
	sort.Slice(sorted, func(i, j int) bool { return sorted[i].name < sorted[j].name })
	for _, v := range sorted {
		fmt.Printf("  %-8s %s\n", v.name, v.about)
	}
	fmt.Println("\nSee rc-image COMMAND --help.")
}

// wrongCall is the refusal of a call that cannot be right: exit code 125.
func wrongCall(name, what string) error {
	return hint.Newf(name, "see rc "+name+" --help", "%s", what)
}
