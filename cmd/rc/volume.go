package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/rc-containers/rc/internal/engine"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
)

// volumeCommands are the verbs of volumes, and those that clean up: volume, prune, system df.
func volumeCommands() []*command {
	return []*command{
		volumeCreateCommand(), volumeLsCommand(), volumeInspectCommand(), volumeRmCommand(), volumePruneCommand(),
		containerPruneCommand(), imagePruneCommand(), systemPruneCommand(), systemDfCommand(),
	}
}

type volumeCreateOptions struct {
	driver  string
	labels  []string
	opts    []string
	nameToo string
}

func volumeCreateCommand() *command {
	o := &volumeCreateOptions{}
	return &command{
		name: "volume create", args: "[VOLUME]", short: "Make a volume",
		long: `A volume is a folder that outlives containers; nothing but rm and prune removes it.
Without a name it gets a random one, and counts as anonymous. One that exists is left
as it is. The name is printed.`,
		examples: []string{"rc volume create data", "rc volume create --label owner=me data", "rc run -v data:/data alpine ls /data"},
		flags: func(fs *pflag.FlagSet) {
			fs.StringVarP(&o.driver, "driver", "d", "local", "keep it by this `DRIVER`: local, a folder of yours")
			fs.StringArrayVar(&o.labels, "label", nil, "attach the label `KEY=VALUE`")
			fs.StringVar(&o.nameToo, "name", "", "same as the argument")
			_ = fs.MarkHidden("name")
			fs.StringArrayVarP(&o.opts, "opt", "o", nil, "an option of a driver; there are none")
			_ = fs.MarkHidden("opt")
			refuseFlags(fs, "a volume is a folder of yours, there is no cluster", "leave it out", "availability", "group", "limit-bytes",
				"required-bytes", "scope", "secret", "sharing", "topology-preferred", "topology-required", "type")
		},
		run: o.run,
	}
}

func (o *volumeCreateOptions) run(g *global, args []string) (int, error) {
	switch {
	case len(args) == 1 && o.nameToo != "":
		return 0, hint.Newf("rc volume create", "leave out --name", "two names are given")
	case o.driver != "local":
		return 0, hint.Newf("--driver "+o.driver, "leave it out: a volume is a folder of yours", "there is no driver but local").WithCode(1)
	case len(o.opts) > 0:
		return 0, hint.Newf("--opt "+o.opts[0], "mount it yourself and use it by -v FOLDER:PATH; for a file system in memory: --tmpfs PATH",
			"the options of Docker's local driver are mounts, which take the host's root").WithCode(1)
	case len(args) > 1:
		return 0, noArgs("volume create", args[1:])
	}
	labels, err := labelsOf(o.labels)
	if err != nil {
		return 0, err
	}
	e, err := g.open()
	if err != nil {
		return 0, err
	}
	defer e.Close()
	name, err := e.CreateVolume(strings.Join(append(args, o.nameToo), ""), labels)
	if err == nil {
		fmt.Fprintln(stdout, name)
	}
	return 0, err
}

// labelsOf reads --label of things that are no containers.
func labelsOf(list []string) (map[string]string, error) {
	labels := map[string]string{}
	for _, l := range list {
		key, value, _ := strings.Cut(l, "=")
		if key == "" {
			return nil, hint.Newf("--label "+l, "write KEY=VALUE", "no key").WithCode(1)
		}
		labels[key] = value
	}
	return labels, nil
}

type volumeLsOptions struct {
	quiet  bool
	format string
	filter filters
}

// volumeLine is Docker's object of `docker volume ls --format json`.
type volumeLine struct {
	Availability, Driver, Group, Labels, Links, Mountpoint, Name, Scope, Size, Status string

	all map[string]string
}

func (l *volumeLine) labels() map[string]string { return l.all }

var volumeHeadings = map[string]string{"Availability": "AVAILABILITY", "Driver": "DRIVER", "Group": "GROUP", "Labels": "LABELS", "Links": "LINKS",
	"Mountpoint": "MOUNTPOINT", "Name": "VOLUME NAME", "Scope": "SCOPE", "Size": "SIZE", "Status": "STATUS", "ID": "ID"}

func volumeLsCommand() *command {
	o := &volumeLsOptions{}
	return &command{
		name: "volume ls", aliases: []string{"volume list"}, short: "List volumes",
		long:     "The filters are dangling=true|false (used by no container), driver=local, label=KEY[=VALUE]\nand name=PART.",
		examples: []string{"rc volume ls", "rc volume ls -q -f dangling=true", "rc volume ls --format '{{.Name}}: {{.Mountpoint}}'"},
		flags: func(fs *pflag.FlagSet) {
			fs.BoolVarP(&o.quiet, "quiet", "q", false, "print names only")
			fs.VarP(&o.filter, "filter", "f", "show those that pass this filter: `KEY=VALUE`")
			fs.StringVar(&o.format, "format", "", "print in this `FORMAT`: table, json, or a Go template")
			refuseFlags(fs, "there is no cluster", "leave it out", "cluster!")
		},
		run: o.run,
	}
}

func (o *volumeLsOptions) run(g *global, args []string) (int, error) {
	if err := noArgs("volume ls", args); err != nil {
		return 0, err
	}
	e, err := g.open()
	if err != nil {
		return 0, err
	}
	defer e.Close()
	list, err := e.Volumes()
	if err != nil {
		return 0, err
	}
	passes, err := o.filter.volumes()
	if err != nil {
		return 0, err
	}
	format := o.format
	switch {
	case o.quiet && (format == "" || format == "table"):
		format = "{{.Name}}"
	case format == "" || format == "table":
		format = `table {{.Driver}}\t{{.Name}}`
	case format == "raw":
		format = `name: {{.Name}}\ndriver: {{.Driver}}\n`
	}
	f, err := g.formatted(e, format, volumeHeadings)
	if err != nil {
		return 0, err
	}
	for _, v := range list {
		if !passes(v) {
			continue
		}
		if err := f.print(volumeRow(v)); err != nil {
			break // close knows why
		}
	}
	return 0, f.close()
}

func volumeRow(v *engine.VolumeEntry) *volumeLine {
	return &volumeLine{Availability: "N/A", Driver: "local", Group: "N/A", Labels: v.LabelText(), Links: "N/A", Mountpoint: v.Mountpoint,
		Name: v.Name, Scope: "local", Size: "N/A", Status: "N/A", all: v.ShownLabels()}
}

// volumes makes the test of the filters of `volume ls`: values of one key are
// alternatives but for labels (moby, volume/service/convert.go).
func (f *filters) volumes() (func(*engine.VolumeEntry) bool, error) {
	for _, key := range f.keys {
		if !slices.Contains([]string{"dangling", "driver", "label", "label!", "name"}, key) {
			return nil, unknownFilter(key, "dangling, driver, label and name")
		}
	}
	for _, v := range f.values["dangling"] {
		if !slices.Contains([]string{"true", "1", "false", "0"}, v) {
			return nil, invalid("dangling", v, "true or false")
		}
	}
	any := func(key string, is func(string) bool) bool {
		return !f.names(key) || slices.ContainsFunc(f.values[key], is)
	}
	return func(v *engine.VolumeEntry) bool {
		return any("dangling", func(t string) bool { return (t == "true" || t == "1") == (len(v.Users) == 0) }) &&
			any("driver", func(t string) bool { return t == "local" }) &&
			any("name", func(t string) bool { return strings.Contains(v.Name, t) }) && f.labelled(v.ShownLabels())
	}, nil
}

// labelled tells whether labels pass label= and label!=.
func (f *filters) labelled(labels map[string]string) bool {
	return !slices.ContainsFunc(f.values["label"], func(want string) bool { return !hasLabel(labels, want) }) &&
		!slices.ContainsFunc(f.values["label!"], func(want string) bool { return hasLabel(labels, want) })
}

func unknownFilter(key, keys string) error {
	return hint.Newf("--filter "+key, "the filters are "+keys, "invalid filter '%s'", key).WithCode(1)
}

// volumeView has the fields of `docker volume inspect`.
type volumeView struct {
	CreatedAt  string
	Driver     string
	Labels     map[string]string
	Mountpoint string
	Name       string
	Options    map[string]string
	Scope      string
}

func inspectVolume(v *engine.VolumeEntry) *volumeView {
	labels := v.ShownLabels()
	if len(labels) == 0 {
		labels = nil
	}
	return &volumeView{CreatedAt: v.CreatedAt.Format(time.RFC3339), Driver: "local", Labels: labels, Mountpoint: v.Mountpoint,
		Name: v.Name, Scope: "local"}
}

func volumeInspectCommand() *command {
	format := ""
	return &command{
		name: "volume inspect", args: "VOLUME...", short: "Show a volume as JSON",
		long:     "The output is a list, with the field names of `docker volume inspect`.",
		examples: []string{"rc volume inspect data", "rc volume inspect -f '{{.Mountpoint}}' data"},
		flags: func(fs *pflag.FlagSet) {
			fs.StringVarP(&format, "format", "f", "", "print in this `FORMAT`: json, or a Go template")
		},
		run: func(g *global, args []string) (int, error) { return runVolumeInspect(g, format, args) },
	}
}

func runVolumeInspect(g *global, format string, args []string) (int, error) {
	if len(args) == 0 {
		return 0, hint.Newf("rc volume inspect", "see `rc volume inspect --help`", "no volume is named")
	}
	e, err := g.open()
	if err != nil {
		return 0, err
	}
	defer e.Close()
	return inspectAll(args, format, func() (*formatter, error) { return g.formatted(e, format, nil) }, func(name string) (any, error) {
		v, err := e.Volume(name)
		if err != nil {
			return nil, err
		}
		return inspectVolume(v), nil
	})
}

// inspectAll prints what view has of each ref: one list of JSON, or by a template (made
// by format's own formatter) one after the other. What is not found is reported.
func inspectAll(refs []string, format string, template func() (*formatter, error), view func(string) (any, error)) (int, error) {
	found := []any{}
	var f *formatter
	if format != "" && format != "json" {
		var err error
		if f, err = template(); err != nil {
			return 0, err
		}
	}
	code, err := eachOf(refs, func(ref string) error {
		v, err := view(ref)
		if err == nil && f != nil {
			return f.print(v)
		}
		if err == nil {
			found = append(found, v)
		}
		return err
	})
	if f != nil {
		return code, errors.Join(err, f.close())
	}
	enc := newEncoder(os.Stdout)
	if format == "" {
		enc.SetIndent("", "    ")
	}
	return code, errors.Join(err, enc.Encode(found))
}

func volumeRmCommand() *command {
	force := false
	return &command{
		name: "volume rm", aliases: []string{"volume remove"}, args: "VOLUME...", short: "Remove volumes and what is in them",
		long:     "A volume that a container uses, running or not, stays, and the refusal names the\ncontainer. When one of several cannot be removed, the others are, and the exit code is 1.",
		examples: []string{"rc volume rm data"},
		flags: func(fs *pflag.FlagSet) {
			fs.BoolVarP(&force, "force", "f", false, "one that does not exist is no error")
		},
		run: func(g *global, args []string) (int, error) {
			if len(args) == 0 {
				return 0, hint.Newf("rc volume rm", "see `rc volume rm --help`", "no volume is named")
			}
			e, err := g.open()
			if err != nil {
				return 0, err
			}
			defer e.Close()
			return eachOf(args, func(name string) error {
				err := e.RemoveVolume(name)
				if err == nil || force && errors.Is(err, record.ErrNoVolume) {
					fmt.Fprintln(stdout, name)
					return nil
				}
				return err
			})
		},
	}
}
