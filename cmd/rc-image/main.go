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
	name, args, short string
	long              string // below the usage; may be empty
	examples          []string
	make              func() command
}

type command interface {
	flags(f *pflag.FlagSet)
	run(ctx context.Context, args []string) error
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
		said := "rc: interrupted"
		if len(os.Args) > 1 && os.Args[1] == "pull" {
			said += "; the next pull goes on from here"
		}
		fmt.Fprintln(os.Stderr, said)
		return 130
	}
	fmt.Fprintln(os.Stderr, "rc: "+strings.Map(printable, strings.ReplaceAll(err.Error(), "\n", "; ")))
	return hint.ExitCode(err)
}

// printable takes out what steers a terminal: names of files and words of servers
// are in what we print (as cmd/rc has it).
func printable(r rune) rune {
	if r < ' ' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
		return ' '
	}
	return r
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
	return hint.Newf("rc-image "+args[0], "see `rc-image --help`", "unknown command")
}

func (v verb) execute(ctx context.Context, args []string) error {
	c := v.make()
	f := pflag.NewFlagSet(v.name, pflag.ContinueOnError)
	f.SortFlags = false
	f.Usage = func() { v.printHelp(f) }
	help := f.Bool("help", false, "print this help")
	c.flags(f)
	if err := f.Parse(args); err != nil {
		if errors.Is(err, pflag.ErrHelp) { // -h, which is no flag of ours
			return err
		}
		return hint.New("rc "+v.name, err, "see `rc "+v.name+" --help`")
	}
	if *help {
		v.printHelp(f)
		return nil
	}
	return c.run(ctx, f.Args())
}

// wrongCall is the refusal of a call that cannot be right: exit code 125.
func wrongCall(name, what string) error {
	return hint.Newf("rc "+name, "see `rc "+name+" --help`", "%s", what)
}
