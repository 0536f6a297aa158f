// Command bench holds rc against podman, rootless Docker, bubblewrap and the kernel: what
// a start and each everyday command costs, how many there are a second, what an idle
// container holds, what networks and file systems carry. tests/bench/run prepares what it
// needs and calls it.
//
// Each round runs every command once, so that whatever else the machine does meets all of
// them; every second round goes backwards, so that nobody always follows the same one.
// Medians are compared, and minima shown. What does not work here costs its row, with the
// reason, and nothing else.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
	"time"
)

type options struct {
	user, home, dir, out, tree string
	plots, readme              string
	runs                       int           // rounds of single commands
	slot                       time.Duration // of each tool and width of the starts side by side
	images, containers         int           // how many are present in the rows about that
	loop                       int           // starts in a row
	idle, many                 int           // idle containers that are weighed
	settle                     time.Duration
	rounds                     int           // of the network's paths
	each                       time.Duration // and of each of their figures
	files                      int           // rounds of work on files
	total                      time.Duration // after that, what is left is left out
	only                       string
	quick, keep                bool
	pattern                    *regexp.Regexp
}

func main() {
	var o options
	flag.StringVar(&o.user, "user", "", "run the commands as this user (needs root)")
	flag.StringVar(&o.home, "home", "", "that user's home folder")
	flag.StringVar(&o.dir, "dir", "", "folder with bin/, rootfs/ and rootfs.tar; stores are made in it")
	flag.StringVar(&o.tree, "tree", ".", "the source tree")
	flag.StringVar(&o.out, "out", "", "file to write; default: docs/benchmarks.md for a whole run, standard output alone for a part")
	flag.StringVar(&o.plots, "plots", "", "folder for the plots; default: docs/plots for a whole run, none for a part")
	flag.IntVar(&o.runs, "n", 20, "rounds of single commands")
	flag.DurationVar(&o.slot, "slot", 1500*time.Millisecond, "how long each tool starts containers at each width, twice")
	flag.IntVar(&o.images, "images", 500, "images of the rows about many images")
	flag.IntVar(&o.containers, "containers", 300, "containers of the rows about many containers")
	flag.IntVar(&o.loop, "loop", 1000, "starts in a row; 10000: the long form")
	flag.IntVar(&o.idle, "idle", 20, "idle containers of the memory test, each tool")
	flag.IntVar(&o.many, "many", 300, "idle containers of rc's own memory test")
	flag.DurationVar(&o.settle, "settle", 10*time.Second, "how long they idle before they are weighed")
	flag.IntVar(&o.rounds, "rounds", 4, "rounds of the network's paths")
	flag.DurationVar(&o.each, "each", 400*time.Millisecond, "how long each figure of a path is measured in a round")
	flag.IntVar(&o.files, "files", 5, "rounds of work on files")
	flag.DurationVar(&o.total, "limit", 18*time.Minute, "after that, what is left is left out")
	flag.StringVar(&o.only, "only", "", "regular expression: those rows alone, as start/default, start/.*/podman, network; -list shows them")
	flag.BoolVar(&o.quick, "quick", false, "everything once or twice: to see that it works")
	flag.BoolVar(&o.keep, "keep", false, "leave the stores in place")
	list := flag.Bool("list", false, "print the rows that there are, or that -only leaves, and end")
	flag.Parse()
	err := o.complete()
	if err == nil && flag.NArg() > 0 {
		err = fmt.Errorf("%q: rows are chosen with -only", flag.Args())
	}
	to := io.Discard
	if *list {
		to = os.Stdout
	}
	if err == nil {
		err = o.list(to)
	}
	if err == nil && !*list {
		err = run(o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// complete fills in what follows from other options. A part of the rows, or a quick
// look, never replaces the figures of a whole run.
func (o *options) complete() (err error) {
	if o.quick {
		o.runs, o.slot, o.images, o.containers, o.loop, o.idle, o.many = 2, 200*time.Millisecond, 5, 5, 20, 3, 6
		o.settle, o.rounds, o.each, o.files = time.Second, 1, 100*time.Millisecond, 1
	}
	if o.only == "" && !o.quick {
		for at, file := range map[*string]string{&o.out: "docs/benchmarks.md", &o.plots: "docs/plots"} {
			if *at == "" {
				*at = filepath.Join(o.tree, file)
			}
		}
		o.readme = filepath.Join(o.tree, "README.md")
	}
	o.pattern, err = regexp.Compile("^(" + o.only + ")")
	return err
}

func run(o options) error {
	w, err := newWorld(o)
	if err != nil {
		return err
	}
	defer w.close()
	// ^C still ends what was started, and no figures are written.
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	go func() { <-stop; w.stopped.Store(true); w.close(); os.Exit(130) }()

	r := newReport(o)
	r.host = describe(w)
	q := observe()
	for _, s := range sections() {
		if !w.o.anyChosen(s.rows) {
			continue
		}
		if w.late() {
			r.breaks(s.name, fmt.Errorf("left out: the run had taken %v already", o.total))
			continue
		}
		w.say("== %s", s.name)
		if err := s.of(w, r); err != nil {
			r.breaks(s.name, err)
		}
	}
	r.host += fmt.Sprintf(" The run took %s.\n%s", w.elapsed(), q.verdict())
	w.halt()
	if w.without != nil { // no page of one
		o.out, o.plots, o.readme = "", "", ""
	}
	return errors.Join(publish(o, r), w.without)
}

// publish writes what was asked for: the report, its plots, README's figures.
func publish(o options, r *report) error {
	text := r.markdown()
	fmt.Print(text)
	var err error
	if o.plots != "" {
		err = r.plots(o.plots)
	}
	if o.out != "" {
		err = errors.Join(err, os.MkdirAll(filepath.Dir(o.out), 0o755), os.WriteFile(o.out, []byte(text), 0o644))
	}
	if o.readme != "" {
		err = errors.Join(err, rewrite(o.readme, r.figures()))
	}
	return err
}
