package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/quadlet"
	"github.com/rc-containers/rc/internal/sdnotify"
)

// generatorName is how systemd calls rc to make units (systemd.generator(7)): a link
// to rc in systemd/user-generators and systemd/system-generators.
const generatorName = "rc-quadlet"

// exitConfig is what the unit of a faulty file ends with: the journal says 78/CONFIG
// (sysexits.h; systemd.exec(5), "Process Exit Codes").
const exitConfig = 78

type quadletOptions struct{ dryRun, user, system, fail bool }

func quadletCommand() *command {
	o := &quadletOptions{}
	return &command{
		name: "quadlet", args: "[FOLDER...]", short: "Show the services that systemd gets of quadlet files",
		long: `Quadlet files (NAME.container, NAME.volume, NAME.image) describe services of
systemd that are containers. systemd asks for them itself, at each boot and
daemon-reload, where rc-quadlet is among its generators; this shows what it gets.
Without a FOLDER those of this user are read: ~/.config/rc/systemd,
/etc/rc/systemd/users/UID, /etc/rc/systemd/users, and podman's own where podman's
generator is not installed. Folders in them are read, too.

Exit code: 1 when a file has a fault. Each is a line that names the file, the line
and what to write.`,
		examples: []string{"rc quadlet --dry-run", "rc quadlet --dry-run ./units"},
		flags: func(fs *pflag.FlagSet) {
			fs.BoolVar(&o.dryRun, "dry-run", false, "print the units, and the faults of files")
			fs.BoolVar(&o.user, "user", false, "for a user's systemd (default unless root)")
			fs.BoolVar(&o.system, "system", false, "for the system's systemd (default for root)")
			fs.BoolVar(&o.fail, "fail", false, "print the arguments and fail, as the unit of a faulty file does")
			_ = fs.MarkHidden("fail")
		},
		run: o.run,
	}
}

func (o *quadletOptions) run(_ *global, args []string) (int, error) {
	switch {
	case o.fail:
		return failUnit(args), nil
	case !o.dryRun:
		return 0, hint.Newf("rc quadlet", "rc quadlet --dry-run shows them; to have systemd make them, see docs/quadlet.md", "it makes no units by itself")
	case o.user && o.system:
		return 0, hint.Newf("rc quadlet", "leave out one of them", "--user and --system are given")
	}
	opts, err := quadletFolders(o.user || !o.system && os.Geteuid() != 0)
	if err != nil {
		return 0, err
	}
	if len(args) > 0 {
		opts.Dirs = nil
		for _, dir := range args {
			if _, err := os.ReadDir(dir); err != nil {
				return 0, hint.New("read "+dir, err, "name a folder of quadlet files").WithCode(1)
			}
			path, err := filepath.Abs(dir)
			if err != nil {
				return 0, err
			}
			opts.Dirs = append(opts.Dirs, quadlet.Dir{Path: path})
		}
	}
	return showUnits(quadlet.Generate(opts)), nil
}

// showUnits prints units as podman's generator does, and what is wrong with files.
func showUnits(r *quadlet.Result) int {
	for _, u := range r.Units {
		fmt.Fprintf(stdout, "---%s---\n%s\n", u.Name, u.Text)
		for _, l := range u.Links {
			fmt.Fprintf(stdout, "# link %s -> %s\n\n", l.Name, l.Target)
		}
	}
	for _, note := range r.Notes {
		fmt.Fprintln(os.Stderr, "rc: "+oneLine(fmt.Errorf("note: %s", note)))
	}
	for _, err := range r.Problems {
		fmt.Fprintln(os.Stderr, "rc: "+oneLine(err))
	}
	if len(r.Problems) > 0 {
		return 1
	}
	return 0
}

// quadletFolders are what systemd's generator reads, and the rc that its units run:
// the file behind the link.
func quadletFolders(user bool) (quadlet.Options, error) {
	program, err := os.Executable()
	if err != nil {
		return quadlet.Options{}, hint.New("find the path of rc", err, "is /proc mounted?")
	}
	o := quadlet.Options{User: user, Program: program}
	if list := os.Getenv("QUADLET_UNIT_DIRS"); list != "" { // podman's variable
		for dir := range strings.SplitSeq(list, ":") {
			if filepath.IsAbs(dir) {
				o.Dirs = append(o.Dirs, quadlet.Dir{Path: dir})
			}
		}
		return o, nil
	}
	w := quadlet.Where{User: user, UID: os.Getuid(), Run: os.Getenv("XDG_RUNTIME_DIR"), Config: os.Getenv("XDG_CONFIG_HOME"), Podman: !podmanGenerates(user)}
	if home := os.Getenv("HOME"); w.Config == "" && filepath.IsAbs(home) {
		w.Config = filepath.Join(home, ".config")
	}
	o.Dirs = w.Dirs()
	return o, nil
}

// podmanGenerates tells whether podman's own generator runs here. The first of its
// name counts, and an empty one, or /dev/null, is none (systemd.generator(7)).
func podmanGenerates(user bool) bool {
	for _, path := range quadlet.PodmanGenerators(user) {
		if st, err := os.Stat(path); err == nil {
			return st.Mode().IsRegular() && st.Size() > 0 && st.Mode()&0o111 != 0
		}
	}
	return false
}

// generate is rc as systemd's generator: the folder for units of normal priority is the
// first argument. Faults of files are not its own: their units say them.
func generate(args []string) int {
	scope := os.Getenv("SYSTEMD_SCOPE") // since systemd 251
	user := scope == "user" || scope == "" && (os.Geteuid() != 0 || strings.Contains(os.Args[0], "user-generators"))
	if len(args) == 0 {
		fmt.Fprintln(os.Stderr, "rc-quadlet: systemd's generator: it is called with a folder for units; to see them: rc quadlet --dry-run")
		return 1
	}
	o, err := quadletFolders(user)
	var r *quadlet.Result
	if err == nil {
		r = quadlet.Generate(o)
		err = r.Write(args[0])
		logFaults(r.Problems, user)
	}
	if err != nil {
		logFaults([]error{err}, user)
		return 1
	}
	return 0
}

// logFaults writes to where the journal takes it from: a user's systemd has standard
// error there; the system's has nothing but the kernel's log this early
// (systemd.generator(7), "Notes about writing generators").
func logFaults(faults []error, user bool) {
	out, prefix := os.Stderr, generatorName+": "
	if !user && len(faults) > 0 {
		if kmsg, err := os.OpenFile("/dev/kmsg", os.O_WRONLY, 0); err == nil {
			defer kmsg.Close()
			out, prefix = kmsg, "<3>"+generatorName+"["+strconv.Itoa(os.Getpid())+"]: "
		}
	}
	const most = 50 // a folder of rubbish is not to fill the log
	for i, err := range faults {
		if i == most {
			fmt.Fprintf(out, "%sand %d more: rc quadlet --dry-run shows them\n", prefix, len(faults)-most)
			return
		}
		line := prefix + oneLine(err)
		fmt.Fprintln(out, strings.ToValidUTF8(line[:min(len(line), 900)], "")) // kmsg takes 1 KiB
	}
}

// failUnit is the start of a faulty file's unit: what is wrong goes to the journal, and
// to the unit's status text, which systemctl shows without one (sd_notify(3), STATUS=).
func failUnit(faults []string) int {
	for _, f := range faults {
		fmt.Fprintln(os.Stderr, oneLine(fmt.Errorf("%s", f)))
	}
	if to := sdnotify.Here().Notify; to != "" && len(faults) > 0 {
		status := faults[0]
		if more := len(faults) - 1; more > 0 {
			status += fmt.Sprintf(" (and %d more: see the journal)", more)
		}
		if manager, err := sdnotify.Dial(to); err == nil { // nobody there to listen is nobody's fault
			_ = sdnotify.Send(manager, "STATUS="+oneLine(fmt.Errorf("%s", status)))
			_ = manager.Close()
		}
	}
	return exitConfig
}

// asGenerator tells whether rc was started by systemd's name for it.
func asGenerator() bool {
	return slices.Contains([]string{generatorName, generatorName + "-generator"}, filepath.Base(os.Args[0]))
}
