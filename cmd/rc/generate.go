package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"

	"github.com/rc-containers/rc/internal/engine"
	"github.com/rc-containers/rc/internal/hint"
)

const generateHelp = `Each unit is printed, or written with --files into the current folder. A user's
goes to ~/.config/systemd/user:

  rc generate systemd --new --files --name web
  mv container-web.service ~/.config/systemd/user/
  systemctl --user daemon-reload
  systemctl --user enable --now container-web
  loginctl enable-linger

Without --new it starts and stops the container that is there.`

type generateOptions struct {
	engine.UnitOptions
	files   bool
	timeout int
	flags   *pflag.FlagSet
}

func generateCommand() *command {
	o := &generateOptions{}
	return &command{
		name: "generate systemd", args: "CONTAINER...", short: "Write systemd units of containers", long: generateHelp,
		examples: []string{"rc generate systemd web", "rc generate systemd --new --files --name --restart-policy always web"},
		flags:    o.bind,
		run:      o.run,
	}
}

func (o *generateOptions) bind(fs *pflag.FlagSet) {
	o.flags = fs
	fs.BoolVar(&o.New, "new", false, "let the unit make the container at its start and remove it at its end")
	fs.BoolVarP(&o.files, "files", "f", false, "write files into the current folder and print their names")
	fs.BoolVarP(&o.Name, "name", "n", false, "call the unit by the container's name (default its id)")
	fs.StringVar(&o.Restart, "restart-policy", "on-failure", "write this `POLICY` of systemd's, Restart=")
	fs.IntVar(&o.RestartSec, "restart-sec", 0, "wait these `SECONDS` before a restart")
	fs.IntVarP(&o.timeout, "time", "t", 10, "wait these `SECONDS` from the stop signal to SIGKILL (default the container's own)")
	fs.IntVar(&o.timeout, "stop-timeout", 10, "same as --time")
	fs.IntVar(&o.StartTimeout, "start-timeout", 0, "give it these `SECONDS` to be ready")
	fs.BoolVar(&o.NoHeader, "no-header", false, "leave out the comment at the top")
	fs.StringVar(&o.Prefix, "container-prefix", "container", "begin the unit's name with this `WORD`")
	fs.StringVar(&o.Sep, "separator", "-", "put this `TEXT` after it")
	fs.StringArrayVarP(&o.Environment, "env", "e", nil, "set `KEY=VALUE` in the unit")
	fs.StringArrayVar(&o.Wants, "wants", nil, "add this `UNIT` to Wants=")
	fs.StringArrayVar(&o.After, "after", nil, "add this `UNIT` to After=")
	fs.StringArrayVar(&o.Requires, "requires", nil, "add this `UNIT` to Requires=")
}

func (o *generateOptions) run(g *global, args []string) (int, error) {
	if o.flags.Changed("time") || o.flags.Changed("stop-timeout") {
		o.StopTimeout = &o.timeout
	}
	return withEngine(g, "generate systemd", args, func(e *engine.Engine) (int, error) {
		return eachOf(args, func(ref string) error {
			name, text, note, err := e.UnitFile(ref, &o.UnitOptions)
			if err != nil {
				return err
			}
			if note != "" {
				e.Warn(name + ": " + note)
			}
			if !o.files {
				_, err := fmt.Fprint(stdout, text)
				return err
			}
			if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
				return hint.New("write "+name, err, "go to a folder that you can write to").WithCode(1)
			}
			path, err := filepath.Abs(name)
			fmt.Fprintln(stdout, path)
			return err
		})
	})
}

// typed are the flags as they were understood, each as --NAME=VALUE, and what
// follows them: the command line that would make the same container.
func typed(fs *pflag.FlagSet, args []string) []string {
	var words []string
	fs.Visit(func(f *pflag.Flag) {
		values := []string{f.Value.String()}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			values = list.GetSlice()
		}
		for _, v := range values {
			words = append(words, "--"+f.Name+"="+v)
		}
	})
	return append(words, args...)
}
