package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/rc-containers/rc/internal/engine"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/logs"
)

// pruneOptions are those of every verb that removes what is unused.
type pruneOptions struct {
	force, all, volumes bool
	bare                bool // a kind without bytes: no total
	filter              filters
}

func (o *pruneOptions) bind(fs *pflag.FlagSet, all, filter string) {
	if all != "" {
		fs.BoolVarP(&o.all, "all", "a", false, all)
	}
	fs.BoolVarP(&o.force, "force", "f", false, "do not ask")
	fs.Var(&o.filter, "filter", "remove those that pass this filter: `"+filter+"`")
}

const (
	untilHelp = "until=TIME takes what was made before it: 24h (ago), 2006-01-02T15:04:05, or seconds\nsince 1970. label=KEY[=VALUE] and label!=KEY[=VALUE] look at labels."
	labelHelp = "label=KEY[=VALUE] and label!=KEY[=VALUE] look at labels."
	sure      = "Are you sure you want to continue?"
)

func containerPruneCommand() *command {
	o := &pruneOptions{}
	return &command{
		name: "container prune", short: "Remove containers that do not run",
		long:     "Containers that have ended or were never started; their volumes stay.\n\n" + untilHelp,
		examples: []string{"rc container prune -f --filter until=24h"},
		flags:    func(fs *pflag.FlagSet) { o.bind(fs, "", "until=TIME, label=…") },
		run: func(g *global, args []string) (int, error) {
			return o.alone(g, "container prune", args, "WARNING! This will remove all stopped containers.\n"+sure, (*pruneOptions).containers)
		},
	}
}

func volumePruneCommand() *command {
	o := &pruneOptions{}
	return &command{
		name: "volume prune", short: "Remove volumes that no container uses",
		long:     "Anonymous volumes; with -a the named ones, too.\n\n" + labelHelp,
		examples: []string{"rc volume prune -f", "rc volume prune -a --filter label=test"},
		flags:    func(fs *pflag.FlagSet) { o.bind(fs, "also those that have a name", "label=…, all=true") },
		run: func(g *global, args []string) (int, error) {
			which := "anonymous"
			if o.all {
				which = "all"
			}
			return o.alone(g, "volume prune", args, "WARNING! This will remove "+which+" local volumes not used by at least one container.\n"+sure, (*pruneOptions).unusedVolumes)
		},
	}
}

func networkPruneCommand() *command {
	o := &pruneOptions{}
	return &command{
		name: "network prune", short: "Remove networks that no container is on",
		long:     "Those that you made; the default one stays.\n\n" + untilHelp,
		examples: []string{"rc network prune -f", "rc network prune --filter until=24h"},
		flags:    func(fs *pflag.FlagSet) { o.bind(fs, "", "until=TIME, label=…") },
		run: func(g *global, args []string) (int, error) {
			o.bare = true
			return o.alone(g, "network prune", args, "WARNING! This will remove all custom networks not used by at least one container.\n"+sure, (*pruneOptions).networks)
		},
	}
}

func imagePruneCommand() *command {
	o := &pruneOptions{}
	return &command{
		name: "image prune", short: "Remove unused images",
		long:     "Images without a name; with -a all that no container uses, running or not.\n\n" + untilHelp,
		examples: []string{"rc image prune -f", "rc image prune -a --filter until=240h"},
		flags:    func(fs *pflag.FlagSet) { o.bind(fs, "also those that have a name", "until=TIME, label=…") },
		run: func(g *global, args []string) (int, error) {
			which := "dangling images"
			if o.all {
				which = "images without at least one container associated to them"
			}
			return o.alone(g, "image prune", args, "WARNING! This will remove all "+which+".\n"+sure, (*pruneOptions).images)
		},
	}
}

func systemPruneCommand() *command {
	o := &pruneOptions{}
	return &command{
		name: "system prune", short: "Remove unused containers, networks, images and downloads",
		long: "Containers that do not run, networks without containers, images without a name, and downloads that broke off a day\nago. -a takes every image that no container uses and every such download, --volumes\n" +
			"anonymous volumes.\n\n" + untilHelp,
		examples: []string{"rc system prune -f", "rc system prune -a --volumes"},
		flags: func(fs *pflag.FlagSet) {
			o.bind(fs, "also images that have a name", "until=TIME, label=…")
			fs.BoolVar(&o.volumes, "volumes", false, "also anonymous volumes")
		},
		run: o.system,
	}
}

// part prunes one kind of thing and gives what is to be printed.
type prunePart func(o *pruneOptions, e *engine.Engine) (text string, bytes int64, err error)

// alone runs a verb that prunes one kind.
func (o *pruneOptions) alone(g *global, name string, args []string, question string, part prunePart) (int, error) {
	if err := noArgs(name, args); err != nil {
		return 0, err
	}
	return o.run(g, question, part)
}

func (o *pruneOptions) run(g *global, question string, parts ...prunePart) (int, error) {
	if _, err := o.spared(); err != nil { // before anybody is asked
		return 0, err
	}
	if !o.force {
		if yes, err := confirm(question); err != nil || !yes {
			return 0, err
		}
	}
	e, err := g.open()
	if err != nil {
		return 0, err
	}
	defer e.Close()
	var total int64
	var failed []error
	for _, part := range parts {
		text, bytes, err := part(o, e)
		if text != "" {
			fmt.Fprintln(stdout, text)
		}
		total += bytes
		failed = append(failed, err)
	}
	if !o.bare {
		fmt.Fprintln(stdout, "Total reclaimed space: "+size(total))
	}
	return 0, exitOne(errors.Join(failed...))
}

// exitOne makes the exit code of a failure 1, unless it names its own.
func exitOne(err error) error {
	var h *hint.Error
	if err == nil || errors.As(err, &h) && h.Code != 0 {
		return err
	}
	return &hint.Error{Err: err, Code: 1}
}

// confirm asks on stdin, as Docker does, a terminal or not: anything but y is no,
// which is no failure. The end of stdin is nobody's answer.
func confirm(question string) (bool, error) {
	fmt.Fprint(stdout, question+" [y/N] ")
	line, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if err != nil && line == "" {
		fmt.Fprintln(stdout)
		if !errors.Is(err, io.EOF) {
			return false, hint.New("read the answer", err, "use -f").WithCode(1)
		}
		return false, hint.Newf("prune", "answer y, or use -f", "nobody has answered: nothing is removed").WithCode(1)
	}
	return strings.EqualFold(strings.TrimSpace(line), "y"), nil
}

// spared reads the filters that all kinds have.
func (o *pruneOptions) spared() (*engine.PruneFilter, error) {
	f := &engine.PruneFilter{Labels: o.filter.labelled}
	for _, key := range o.filter.keys {
		switch key {
		case "label", "label!", "all", "dangling":
		case "until":
			if len(o.filter.values[key]) > 1 {
				return nil, hint.Newf("--filter until", "give one", "more than one until filter specified").WithCode(1)
			}
			t, err := logs.ParseTime("filter until", o.filter.values[key][0], time.Now())
			if err != nil {
				return nil, err
			}
			f.Until = t
		default:
			return nil, unknownFilter(key, "until, label and label!")
		}
	}
	return f, nil
}

// only refuses filters that a kind does not have.
func (o *pruneOptions) only(keys ...string) error {
	for _, key := range o.filter.keys {
		if !slices.Contains(keys, key) {
			return unknownFilter(key, strings.Join(keys, ", "))
		}
	}
	return nil
}

func (o *pruneOptions) containers(e *engine.Engine) (string, int64, error) {
	if err := o.only("until", "label", "label!"); err != nil {
		return "", 0, err
	}
	f, err := o.spared()
	if err != nil {
		return "", 0, err
	}
	return deleted("Containers", e.PruneContainers)(f)
}

// deleted prints a list as Docker does: a heading, a line each, an empty line.
func deleted(kind string, prune func(*engine.PruneFilter) (*engine.Pruned, error)) func(*engine.PruneFilter) (string, int64, error) {
	return func(f *engine.PruneFilter) (string, int64, error) {
		p, err := prune(f)
		if p == nil || len(p.Removed) == 0 {
			if p == nil {
				p = &engine.Pruned{}
			}
			return "", p.Reclaimed, err
		}
		return "Deleted " + kind + ":\n" + strings.Join(p.Removed, "\n") + "\n", p.Reclaimed, err
	}
}

func (o *pruneOptions) unusedVolumes(e *engine.Engine) (string, int64, error) {
	if err := o.only("label", "label!", "all"); err != nil {
		return "", 0, err
	}
	all := o.all
	for _, v := range o.filter.values["all"] {
		on, err := strconv.ParseBool(v)
		if err != nil {
			return "", 0, invalid("all", v, "true or false")
		}
		if o.all {
			return "", 0, hint.Newf("volume prune", "leave one out", "both --all and --filter all=%s are given", v).WithCode(1)
		}
		all = on
	}
	f, err := o.spared()
	if err != nil {
		return "", 0, err
	}
	return deleted("Volumes", func(f *engine.PruneFilter) (*engine.Pruned, error) { return e.PruneVolumes(all, f) })(f)
}

func (o *pruneOptions) networks(e *engine.Engine) (string, int64, error) {
	if err := o.only("until", "label", "label!"); err != nil {
		return "", 0, err
	}
	f, err := o.spared()
	if err != nil {
		return "", 0, err
	}
	return deleted("Networks", e.PruneNetworks)(f)
}

func (o *pruneOptions) images(e *engine.Engine) (string, int64, error) {
	if err := o.only("until", "label", "label!", "dangling"); err != nil {
		return "", 0, err
	}
	return o.pruneImages(e)
}

func (o *pruneOptions) pruneImages(e *engine.Engine, more ...string) (string, int64, error) {
	f, err := o.spared()
	if err != nil {
		return "", 0, err
	}
	args := more
	all := o.all
	if v := o.filter.values["dangling"]; len(v) > 0 {
		dangling, err := strconv.ParseBool(v[0])
		if err != nil {
			return "", 0, invalid("dangling", v[0], "true or false")
		}
		all = all || !dangling
	}
	if all {
		args = append(args, "--all")
	}
	if !f.Until.IsZero() {
		args = append(args, "--until="+strconv.FormatInt(f.Until.UnixNano(), 10))
	}
	for _, l := range o.filter.values["label"] {
		args = append(args, "--label="+l)
	}
	for _, l := range o.filter.values["label!"] {
		args = append(args, "--not-label="+l)
	}
	return deleted("Images", func(*engine.PruneFilter) (*engine.Pruned, error) { return e.PruneImages(args) })(f)
}

func (o *pruneOptions) system(g *global, args []string) (int, error) {
	if err := noArgs("system prune", args); err != nil {
		return 0, err
	}
	if err := o.only("until", "label", "label!"); err != nil {
		return 0, err
	}
	if o.volumes && o.filter.names("until") {
		return 0, hint.Newf("--filter until", "leave out one of them", `the "until" filter is not supported with "--volumes"`).WithCode(1)
	}
	what, downloads := []string{"all stopped containers", "all networks not used by at least one container"}, "24h"
	parts := []prunePart{(*pruneOptions).containers, (*pruneOptions).networks}
	if o.volumes {
		what = append(what, "all anonymous volumes not used by at least one container")
		// Anonymous ones whatever -a says, which is about images.
		parts = append(parts, func(o *pruneOptions, e *engine.Engine) (string, int64, error) {
			return (&pruneOptions{filter: o.filter}).unusedVolumes(e)
		})
	}
	if o.all {
		what, downloads = append(what, "all images without at least one container associated to them", "all downloads that broke off"), "0"
	} else {
		what = append(what, "all dangling images", "downloads that broke off more than a day ago")
	}
	parts = append(parts, func(o *pruneOptions, e *engine.Engine) (string, int64, error) {
		return o.pruneImages(e, "--downloads="+downloads)
	})
	question := "WARNING! This will remove:\n  - " + strings.Join(what, "\n  - ") + "\n"
	var lines []string
	for _, key := range o.filter.keys {
		for _, v := range o.filter.values[key] {
			lines = append(lines, key+"="+v)
		}
	}
	if slices.Sort(lines); len(lines) > 0 {
		question += "\n  Items to be pruned will be filtered with:\n  - " + strings.Join(lines, "\n  - ") + "\n"
	}
	return o.run(g, question+"\n"+sure, parts...)
}
