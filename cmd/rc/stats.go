package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/rc-containers/rc/internal/engine"
)

type statsOptions struct {
	all, noStream, noTrunc bool
	format                 string
}

func statsCommand() *command {
	o := &statsOptions{}
	return &command{
		name: "stats", args: "[CONTAINER...]", short: "Show what containers use",
		long: "Each second, of the containers named or of all that run: CPU (100% is one CPU), memory\n" +
			"without the page cache that can go, network, disk, processes and threads.\n\n" +
			"Where a cgroup controller is missing, the figures are those of /proc, or -- where that\n" +
			"has none, and a line below says what they are. In JSON, Missing lists what is --, and\n" +
			"Notes say what the others are.\n\n" +
			"CPUPressure, MemPressure and IOPressure are the shares of the last ten seconds in which\n" +
			"something of the container waited for it (the kernel's PSI); in JSON, PSI has all of it.",
		examples: []string{"rc stats", "rc stats --no-stream web", `rc stats --no-stream --format "table {{.Name}}\t{{.CPUPressure}}\t{{.IOPressure}}"`, `rc stats --no-stream --format "{{.Name}} {{.CPUPerc}}"`},
		flags: func(fs *pflag.FlagSet) {
			fs.BoolVarP(&o.all, "all", "a", false, "show containers that do not run, too")
			fs.StringVar(&o.format, "format", "", "print in this `FORMAT`: table, \"table TEMPLATE\", json, or a Go template")
			fs.BoolVar(&o.noStream, "no-stream", false, "print once, after a second")
			fs.BoolVar(&o.noTrunc, "no-trunc", false, "print ids whole")
		},
		run: o.run,
	}
}

// statsHeadings are Docker's (docker/cli, command/container/formatter_stats.go).
var statsHeadings = map[string]string{
	"Container": "CONTAINER", "Name": "NAME", "ID": "CONTAINER ID", "CPUPerc": "CPU %", "MemUsage": "MEM USAGE / LIMIT", "MemPerc": "MEM %",
	"NetIO": "NET I/O", "BlockIO": "BLOCK I/O", "PIDs": "PIDS",
	"CPUPressure": "CPU WAIT %", "MemPressure": "MEM WAIT %", "IOPressure": "I/O WAIT %",
}

const statsTable = `table {{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}`

func (o *statsOptions) run(g *global, args []string) (int, error) {
	e, err := g.open()
	if err != nil {
		return 0, err
	}
	defer e.Close()
	w := &watcher{e: e, o: o, names: args}
	if w.ids, err = findEach(e, args); err != nil {
		return 0, err
	}
	format := o.format
	if format == "" || format == "table" {
		format, w.footnotes = statsTable, true
	}
	if w.f, err = g.formatted(e, format, statsHeadings); err != nil {
		return 0, err
	}
	err = w.watch()
	if cerr := w.f.close(); cerr != nil {
		err = cerr
	}
	return 0, err
}

func findEach(e *engine.Engine, refs []string) (ids []string, err error) {
	for _, ref := range refs {
		id, err := e.Store.FindContainer(ref)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// watcher shows the same containers again and again.
type watcher struct {
	e         *engine.Engine
	o         *statsOptions
	f         *formatter
	names     []string // as typed
	ids       []string // of names
	footnotes bool
	before    map[string]*engine.Usage
}

// sampleEvery is Docker's: its daemon measures once a second.
const sampleEvery = time.Second

// watch measures once before it shows anything: CPU % is a difference.
func (w *watcher) watch() error {
	live := !w.o.noStream && isTerminal(os.Stdout)
	for first := true; ; first = false {
		begin := time.Now()
		list, err := w.list()
		if err != nil {
			return err
		}
		if len(list) == 0 && len(w.ids) > 0 && !first {
			return nil // all are gone
		}
		usages, err := w.e.Usages(list)
		if err != nil {
			return err
		}
		if first {
			w.before = usages
			if len(usages) > 0 {
				time.Sleep(sampleEvery)
				continue
			}
		}
		if err := w.show(list, usages, live); err != nil {
			return err
		}
		if w.o.noStream {
			return nil
		}
		w.before = usages
		time.Sleep(sampleEvery - time.Since(begin))
	}
}

// list are the containers to show now, those named in the order of their names.
func (w *watcher) list() ([]*engine.Entry, error) {
	var list []*engine.Entry
	if len(w.names) == 0 {
		all, err := w.e.List()
		for _, c := range all {
			if w.o.all || up(c) {
				list = append(list, c)
			}
		}
		return list, err
	}
	for _, id := range w.ids {
		c, err := w.e.Load(id)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		list = append(list, c)
	}
	return list, nil
}

func (w *watcher) show(list []*engine.Entry, usages map[string]*engine.Usage, live bool) error {
	if live {
		if err := w.f.raw("\x1b[H\x1b[J"); err != nil {
			return err
		}
	}
	notes := map[string]bool{}
	for _, c := range list {
		line := newStatsLine(c, usages[c.ID], w.before[c.ID])
		if i := slices.Index(w.ids, c.ID); i >= 0 {
			line.Container = w.names[i]
		}
		if !w.o.noTrunc {
			line.ID = c.ID[:12]
		}
		for figure, why := range line.Notes {
			notes[figure+": "+why] = true
		}
		if err := w.f.print(line); err != nil {
			return err
		}
	}
	if err := w.f.flush(); err != nil || !w.footnotes || len(notes) == 0 {
		return err
	}
	text := strings.Join(slices.Sorted(maps.Keys(notes)), "\n") + "\n"
	if live {
		return w.f.raw("\n" + text)
	}
	if w.o.noStream { // a table that a script reads stays one
		fmt.Fprint(os.Stderr, text)
	}
	return nil
}
