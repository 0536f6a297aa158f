// rc runs containers for people without root. This file is the list of commands
// and the one place where an error becomes an exit code.
//
// The runtime shall not read its cgroup's limit once a second, nor name its mappings
// (prctl(2), PR_SET_VMA), a system call each.
//
//go:debug updatemaxprocs=0
//go:debug decoratemappings=0
package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/engine"
	"github.com/rc-containers/rc/internal/hint"
	_ "github.com/rc-containers/rc/internal/patient"
	"github.com/rc-containers/rc/internal/sdnotify"
	"github.com/rc-containers/rc/internal/trace"
	"github.com/rc-containers/rc/internal/version"
)

// command is one verb. Its file binds its flags to the fields of an options
// struct; run gets the arguments that are left.
type command struct {
	name    string
	aliases []string // other names: a long form of Docker's or podman's
	args    string   // after the name, in the usage line
	short   string
	long    string // below the usage; may be empty
	// examples are lines to type; may be empty.
	examples []string
	flags    func(*pflag.FlagSet)
	run      func(g *global, args []string) (int, error)
	command  bool // flags end at the first argument: what follows is a command line
	// image passes everything on to rc-image, which has flags and help of its own.
	image bool
}

// global are the flags before the verb.
type global struct {
	root    string
	driver  string
	trace   string
	help    bool
	version bool
}

func (g *global) bind(fs *pflag.FlagSet) {
	fs.StringVar(&g.root, "root", "", "keep the state in this `FOLDER` (default $RC_ROOT, $XDG_DATA_HOME/rc or ~/.local/share/rc)")
	fs.StringVar(&g.driver, "storage-driver", "", "use this `DRIVER`: overlay, fuse-overlayfs or copy (default $RC_STORAGE_DRIVER or the first that works)")
	fs.StringVar(&g.trace, "trace", "", "write to this `FILE` where the time goes, for chrome://tracing or ui.perfetto.dev (default $RC_TRACE)")
	fs.BoolVarP(&g.version, "version", "v", false, "print the version")
	fs.BoolVarP(&g.help, "help", "h", false, "print this help")
}

// open makes the engine for a command.
func (g *global) open() (*engine.Engine, error) {
	e, err := engine.Open(g.root)
	if err != nil {
		return nil, err
	}
	if g.driver != "" {
		e.Driver = g.driver
	}
	return e, e.CheckDriver()
}

// ownLimits are the caller's own bounds, which any step can meet.
var ownLimits = map[error]string{
	unix.EMFILE: "raise the number of open files: ulimit -n",
	unix.EFBIG:  "raise the size that files may have: ulimit -f",
}

// advise adds what to type to a refusal that met one of them and names nothing.
func advise(err error) error {
	var e *hint.Error
	if errors.As(err, &e) && e.Fix != "" {
		return err
	}
	for errno, fix := range ownLimits {
		if errors.Is(err, errno) {
			return fmt.Errorf("%w; %s", err, fix)
		}
	}
	return err
}

// keepOwn takes the owner's bits out of a mask: files that we could not open
// ourselves help nobody (`umask 777` made containers that could not be removed).
func keepOwn() {
	mask := unix.Umask(0)
	unix.Umask(mask &^ 0o700)
}

func main() {
	if asGenerator() {
		os.Exit(generate(os.Args[1:]))
	}
	trace.Born()
	sdnotify.Here() // before anything opens or inherits a descriptor
	keepOwn()
	code, err := dispatch(os.Args[1:])
	if err == nil && code == 0 {
		err = stdout.err
	}
	if err != nil && !engine.Reported(err) {
		fmt.Fprintln(os.Stderr, "rc: "+oneLine(advise(err)))
	}
	if err != nil {
		code = exitCode(err)
	}
	os.Exit(code)
}

// exitCode is the only place that decides: a refusal names its own code, a
// command line that cannot be understood is 125 as Docker has it.
func exitCode(err error) int { return hint.ExitCode(err) }

// oneLine keeps a refusal on one line, whatever a server or a tool sent.
func oneLine(err error) string {
	return strings.Join(strings.Fields(strings.Map(printable, err.Error())), " ")
}

// printable takes out what steers a terminal: C0 and C1 controls (U+009B is an
// escape sequence of its own) and marks that turn the direction of writing.
func printable(r rune) rune {
	if r < ' ' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
		return ' '
	}
	return r
}

func dispatch(args []string) (int, error) {
	var g global
	fs := newFlags("rc")
	g.bind(fs)
	if err := fs.Parse(args); err != nil {
		return 0, usageError("rc", err)
	}
	if g.version {
		fmt.Fprintln(stdout, "rc "+version.Version)
		return 0, nil
	}
	rest := fs.Args()
	if g.help || len(rest) == 0 {
		printOverview(stdout, fs)
		return 0, nil
	}
	if rest[0] == "help" {
		if len(rest) == 1 {
			printOverview(stdout, fs)
			return 0, nil
		}
		rest = append(rest[1:], "--help")
	}
	if c, left := find(rest); c != nil {
		return g.traced(args, func() (int, error) { return c.call(&g, left) })
	}
	if g, ok := groups[rest[0]]; ok {
		return groupHelp(rest, g.short)
	}
	return 0, hint.Newf(fmt.Sprintf("rc %q", rest[0]), "see `rc --help`", "no such command%s", nearest(rest[0]))
}

// groupHelp answers `rc volume` and `rc volume frob`.
func groupHelp(args []string, short string) (int, error) {
	group := args[0]
	if len(args) > 1 && args[1] != "--help" {
		return 0, hint.Newf(fmt.Sprintf("rc %s %q", group, args[1]), "see `rc "+group+" --help`", "no such command")
	}
	fmt.Fprintf(stdout, "%s.\n\nUsage: rc %s COMMAND [ARG...]\n\nCommands:\n", short, group)
	for _, c := range commands() {
		if verb, ok := strings.CutPrefix(c.name, group+" "); ok {
			fmt.Fprintf(stdout, "  %-12s%s\n", verb, c.short)
		}
	}
	verbs := groups[group].verbs
	for _, verb := range slices.Sorted(maps.Keys(verbs)) {
		fmt.Fprintf(stdout, "  %-12sas rc %s\n", verb, verbs[verb])
	}
	return 0, nil
}

// newFlags stops at the first argument that is no flag: what follows belongs to
// the container's command.
func newFlags(name string) *pflag.FlagSet {
	fs := pflag.NewFlagSet(name, pflag.ContinueOnError)
	fs.SetInterspersed(false)
	fs.SortFlags = false
	fs.Usage = func() {}
	return fs
}

func (c *command) call(g *global, args []string) (int, error) {
	if c.image {
		return c.callImage(g, args)
	}
	parse := trace.Begin("parse the flags")
	fs := newFlags(c.name)
	if !c.command {
		fs.SetInterspersed(true)
	}
	help := fs.Bool("help", false, "print this help")
	if c.flags != nil {
		c.flags(fs)
	}
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			c.printHelp(fs)
			return 0, nil
		}
		return 0, usageError("rc "+c.name, err)
	}
	parse.End()
	if *help {
		c.printHelp(fs)
		return 0, nil
	}
	return c.run(g, fs.Args())
}

func (c *command) callImage(g *global, args []string) (int, error) {
	e, err := g.open()
	if err != nil {
		return 0, err
	}
	defer e.Close()
	return e.Image(append([]string{c.name}, args...), os.Stdout)
}

func usageError(name string, err error) error {
	var value *pflag.InvalidValueError
	var refusal *hint.Error
	if errors.As(err, &value) && errors.As(err, &refusal) { // of a flag that rc does not have
		return hint.New(name+" --"+value.GetFlag().Name, refusal.Err, refusal.Fix)
	}
	return hint.New(name, err, "see `"+name+" --help`")
}

// noArgs refuses what a command has no use for.
func noArgs(name string, args []string) error {
	if len(args) > 0 {
		return hint.Newf("rc "+name, "see `rc "+name+" --help`", "it takes no argument, but %q was given", args[0])
	}
	return nil
}

// nearest suggests a command that starts like word or is one letter off.
func nearest(word string) string {
	for _, c := range commands() {
		if distanceOne(c.name, word) {
			return ", did you mean " + c.name + "?"
		}
	}
	return ""
}

// distanceOne tells whether one letter added, left out or changed, or two
// neighbours swapped, make a of b.
func distanceOne(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	if len(b)-len(a) > 1 {
		return false
	}
	i := 0
	for i < len(a) && a[i] == b[i] {
		i++
	}
	j := 0
	for j < len(a)-i && a[len(a)-1-j] == b[len(b)-1-j] {
		j++
	}
	swapped := len(a) == len(b) && i+j == len(a)-2 && a[i] == b[i+1] && a[i+1] == b[i]
	return swapped || len(b) > 1 && i+j >= len(b)-1
}
