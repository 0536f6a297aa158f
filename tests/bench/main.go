// Command bench measures starts of containers: rc, podman and bubblewrap side by
// side. tests/bench/run prepares what it needs and calls it.
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
	flag.BoolVar(&o.quick, "quick", false, "3 rounds, 8 starts: to see that it works")
	flag.Parse()
	if o.quick {
		o.runs, o.starts, o.idle, o.settle = 3, 8, 3, time.Second
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
	subjects := w.subjects()
	for _, s := range subjects {
		// Not measured: the first run starts keepers and fills caches. A subject
		// that does not work here is named with its reason, and left out.
		if _, err := w.time(s); err != nil {
			r.broken = append(r.broken, fmt.Sprintf("%s, %s network: %v", s.name, s.network, err))
			continue
		}
		r.rows = append(r.rows, &row{subject: s})
	}
	for round := range o.runs {
		fmt.Fprintf(os.Stderr, "\rround %d of %d ", round+1, o.runs)
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
	text := r.markdown()
	fmt.Print(text)
	if err := os.MkdirAll(filepath.Dir(o.out), 0o755); err != nil {
		return err
	}
	return os.WriteFile(o.out, []byte(text), 0o644)
}
