package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// cell is one command of one tool: what a row has in a column.
type cell struct {
	row, tool string
	args      []string
	run       func() (time.Duration, error) // what is measured instead of args from start to end
	before    func() error                  // not measured
	after     func() error                  // not measured
	times     []time.Duration
	failures  int
}

// patience is how often a cell may fail before it is left out, and the pauses are how
// long what a command leaves behind may go on: podman's and Docker's clean-up runs for a
// while after the command is over, and would be charged to whoever comes next.
const (
	patience   = 3
	shortPause = 30 * time.Millisecond
	longPause  = 200 * time.Millisecond
	extra      = 2 // looks in a round at what is compared with itself

	enoughRounds = 7 // for a median, where the machine is too slow for all of them
)

func (c *cell) name() string { return c.row + "/" + c.tool }

func (c *cell) pause() time.Duration {
	if c.tool == rcTool || c.tool == bwrapTool {
		return shortPause
	}
	return longPause
}

func (w *world) chosen(name string) bool { return w.o.chosen(name) }

// slow tells that half of the time is over, which leaves the rest for the other sections.
func (w *world) slow() bool { return w.o.total > 0 && time.Since(w.begin) > w.o.total/2 }

// measure goes round the cells and puts what they took into the report.
func (w *world) measure(r *report, cells []*cell, rounds int) {
	cells = slices.DeleteFunc(cells, func(c *cell) bool { return !w.chosen(c.name()) })
	// Not measured: the first time starts daemons and fills caches. What does not work
	// here is named with its reason, and left out.
	var live []*cell
	for _, c := range cells {
		w.say("first: %s", c.name())
		if _, err := w.once(c); err != nil {
			r.breaks(c.name(), err)
			continue
		}
		live = append(live, c)
	}
	for round := range rounds {
		if w.late() || w.slow() && round >= enoughRounds {
			r.breaks("rounds of single commands", fmt.Errorf("%d of %d: out of time", round, rounds))
			break
		}
		w.say("round %d of %d, %d commands", round+1, rounds, len(live))
		for _, c := range live {
			w.attempt(r, c)
		}
		// A difference of a tenth between rc and rc asks for more than one look.
		for range extra {
			for _, c := range live {
				if c.tool == rcTool && strings.HasPrefix(c.row, "present/") {
					w.attempt(r, c)
				}
			}
		}
		slices.Reverse(live)
	}
	for _, c := range cells {
		r.add(c)
	}
}

func (w *world) attempt(r *report, c *cell) {
	if c.failures >= patience {
		return
	}
	took, err := w.once(c)
	if err == nil {
		c.times = append(c.times, took)
		return
	}
	if c.failures++; c.failures == 1 || c.failures == patience {
		r.breaks(fmt.Sprintf("%s, failure %d of %d", c.name(), c.failures, patience), err)
	}
}

// once runs a cell, with what belongs before and after it.
func (w *world) once(c *cell) (took time.Duration, err error) {
	if c.before != nil {
		if err := c.before(); err != nil {
			return 0, fmt.Errorf("before it: %w", err)
		}
	}
	if c.run != nil {
		took, err = c.run()
	} else {
		took, err = w.timed(c.args)
	}
	if c.after != nil {
		if failed := c.after(); failed != nil && err == nil {
			err = fmt.Errorf("after it: %w", failed)
		}
	}
	time.Sleep(c.pause())
	return took, err
}

// firstByte is how long a command takes until something comes out of it.
func (w *world) firstByte(args []string) func() (time.Duration, error) {
	return func() (time.Duration, error) {
		w.halt()
		defer w.halt()
		cmd := w.command(args...)
		out, err := cmd.StdoutPipe()
		if err != nil {
			return 0, err
		}
		begin := time.Now()
		if err := cmd.Start(); err != nil {
			return 0, err
		}
		hung := time.AfterFunc(limit, func() { _ = cmd.Process.Kill() })
		defer hung.Stop()
		_, err = out.Read(make([]byte, 1))
		took := time.Since(begin)
		if failed := cmd.Wait(); err == nil {
			err = failed
		}
		if err != nil {
			err = fmt.Errorf("%s: %w", strings.Join(args, " "), err)
		}
		return took, err
	}
}
