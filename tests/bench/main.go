// Command bench measures starts of containers: rc, podman and bubblewrap side by
// side; and what their networks carry, beside slirp4netns, pasta and plain namespaces. tests/bench/run prepares what it needs and calls it.
//
// Each round runs every command once, in the same order, so that whatever else
// the machine does meets all of them; medians are compared, and minima shown.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

type options struct {
	user, home, dir, out string
	runs, starts, width  int
	idle                 int
	settle               time.Duration
	rounds               int
	each                 time.Duration
	only                 string
	quick                bool
}

func main() {
	var o options
	flag.StringVar(&o.user, "user", "", "run the commands as this user (needs root)")
	flag.StringVar(&o.home, "home", "", "that user's home folder")
	flag.StringVar(&o.dir, "dir", "", "folder with bin/, rootfs/ and rootfs.tar; stores are made in it")
	flag.StringVar(&o.out, "out", "docs/benchmarks.md", "file to write")
	flag.IntVar(&o.runs, "n", 20, "rounds")
	flag.IntVar(&o.starts, "starts", 40, "starts of the parallel test")
	flag.IntVar(&o.width, "width", 8, "how many of them at a time")
	flag.IntVar(&o.idle, "idle", 20, "idle containers of the memory test")
	flag.DurationVar(&o.settle, "settle", 10*time.Second, "how long they idle before they are weighed")
	flag.IntVar(&o.rounds, "rounds", 5, "rounds of the network's paths; 0: leave them out")
	flag.DurationVar(&o.each, "each", 500*time.Millisecond, "how long each figure of a path is measured in a round")
	flag.StringVar(&o.only, "only", "", "starts or network: that part alone")
	flag.BoolVar(&o.quick, "quick", false, "3 rounds, 8 starts: to see that it works")
	flag.Parse()
	if o.quick {
		o.runs, o.starts, o.idle, o.settle, o.rounds, o.each = 3, 8, 3, time.Second, 1, 100*time.Millisecond
	}
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(o options) error {
	w, err := newWorld(o)
	if err != nil {
		return err
	}
	defer w.close()
	// ^C still ends what was started.
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	go func() { <-stop; w.close(); os.Exit(130) }()

	r := &report{host: describe(w), o: o}
	if err := w.load(); err != nil {
		return err
	}
	if o.only != "network" {
		if err := w.measure(r); err != nil {
			return err
		}
	}
	if o.only != "starts" && o.rounds > 0 {
		w.networks(r)
	}
	text := r.markdown()
	fmt.Print(text)
	if err := os.MkdirAll(filepath.Dir(o.out), 0o755); err != nil {
		return err
	}
	return os.WriteFile(o.out, []byte(text), 0o644)
}

// measure fills in what starts, lists, memory and ends cost.
func (w *world) measure(r *report) error {
	for _, s := range w.subjects() {
		// Not measured: the first run starts keepers and fills caches. A subject
		// that does not work here is named with its reason, and left out.
		if _, err := w.time(s); err != nil {
			r.broken = append(r.broken, fmt.Sprintf("%s, %s network: %v", s.name, s.network, err))
			continue
		}
		r.rows = append(r.rows, &row{subject: s})
	}
	for round := range w.o.runs {
		fmt.Fprintf(os.Stderr, "\rround %d of %d ", round+1, w.o.runs)
		for _, row := range r.rows {
			d, err := w.time(row.subject)
			if err != nil {
				return fmt.Errorf("%s, round %d: %w", row.name, round+1, err)
			}
			row.times = append(row.times, d)
		}
	}
	fmt.Fprintln(os.Stderr)
	for _, row := range r.rows {
		if row.parallel {
			fmt.Fprintln(os.Stderr, "eight at a time:", row.name)
			w.many(row)
		}
	}
	for _, row := range r.rows {
		if len(row.sleep) > 0 {
			fmt.Fprintln(os.Stderr, "memory:", row.name)
			if err := w.memory(row); err != nil {
				r.broken = append(r.broken, fmt.Sprintf("memory of %s, %s network: %v", row.name, row.network, err))
			}
		}
	}
	return nil
}
