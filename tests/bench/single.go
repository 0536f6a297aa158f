package main

import (
	"fmt"
	"slices"
	"time"
)

// singleRows are the rows of single commands, in their order.
var singleRows = []string{
	"start/default", "start/none", "start/host", "start/limits", "start/layers-1", "start/layers-10", "start/layers-100", "first-byte",
	"run-d", "exec", "stop", "ps", "logs", "version",
	"present/nothing", "present/images", "present/containers", "ps/many", "disk/container", "disk/image", "create",
}

// fullRows are those that the store with many containers fills.
var fullRows = []string{"present/containers", "ps/many", "disk/container", "disk/image", "create"}

// anchor stands in every store while commands are measured: exec and logs need somebody,
// and rc's keeper, which leaves after five seconds without containers, stays for it.
const anchor = "bench-anchor"

// verbsName is the container of run -d and stop.
const verbsName = "bench-verbs"

var limits = []string{"--memory", "256m", "--cpus", "1", "--pids-limit", "100"}

// single measures one command after the other, all tools interleaved.
func (w *world) single(r *report) error {
	var cells []*cell
	for _, t := range w.tools(r) {
		cells = append(cells, w.starts(r, t)...)
		cells = append(cells, w.verbs(t)...)
	}
	// Between the stores of one tool and their peers: A B C, A B C.
	cells = append(cells, w.present(r)...)
	cells = append(cells,
		&cell{row: "start/none", tool: bwrapTool, args: w.bwrap("true")},
		&cell{row: "first-byte", tool: bwrapTool, run: w.firstByte(w.bwrap("echo", "x"))})
	// Row by row instead of tool by tool: what is compared is close together.
	slices.SortStableFunc(cells, func(a, b *cell) int {
		return slices.Index(singleRows, a.row) - slices.Index(singleRows, b.row)
	})
	w.measure(r, cells, w.o.runs)
	w.endAnchors()
	return nil
}

// tools are those that keep containers and work here, with the image and an anchor.
func (w *world) tools(r *report) []tool {
	var all []tool
	for _, t := range []tool{w.rcIn("store"), w.podmanIn("store", "crun"), w.podmanIn("store", "runc"), w.docker()} {
		rows := slices.DeleteFunc(slices.Clone(singleRows), func(row string) bool { return !w.chosen(row + "/" + t.name) })
		if len(rows) == 0 {
			continue
		}
		w.say("image: %s", t.name)
		if err := w.ready(t); err != nil {
			r.breaks(t.name, err)
			continue
		}
		all = append(all, t)
	}
	return all
}

// runs brings up a tool's daemon, if it has one.
func (w *world) runs(t tool) error {
	if t.name != dockerTool {
		return nil
	}
	return w.startDocker()
}

// ready gives a tool its image. podman with runc has podman's.
func (w *world) ready(t tool) error {
	if err := w.runs(t); err != nil {
		return err
	}
	if _, err := w.said(t.line("inspect", "--type", "image", image)); err == nil {
		return nil
	}
	_, err := w.timed(t.line("import", w.o.dir+"/rootfs.tar", image))
	if err != nil && t.name == rcTool {
		w.without = fmt.Errorf("rc does not work here: %w", err)
	}
	return err
}

// hold starts a store's anchor, if it does not stand yet. It prints a thousand lines.
func (w *world) hold(t tool) func() error {
	return func() error {
		key := fmt.Sprint(t.front)
		if w.standing[key] {
			return nil
		}
		_, err := w.timed(t.line("run", "-d", "--name", anchor, image, "sh", "-c", "seq 1000; exec sleep 3600"))
		if err != nil {
			_, _ = w.timed(t.remove(anchor)) // its name would hide the reason from the next row
			return err
		}
		w.standing[key] = true
		w.anchors = append(w.anchors, t)
		return nil
	}
}

func (w *world) endAnchors() {
	for _, t := range w.anchors {
		_, _ = w.timed(t.remove(anchor))
		_, _ = w.timed(t.remove(verbsName)) // a round backwards ends with run -d
	}
	w.anchors, w.standing = nil, map[string]bool{}
}

// starts are the rows about `run --rm IMAGE true`.
func (w *world) starts(r *report, t tool) []*cell {
	hold := w.hold(t)
	if t.name == runcTool { // podman's containers, and its anchor unless crun makes none here
		own, crun := hold, w.hold(w.podmanIn("store", "crun"))
		hold = func() error {
			if crun() == nil {
				return nil
			}
			return own()
		}
	}
	on := func(row string, flags ...string) *cell {
		line := t.line("run", "--rm")
		return &cell{row: row, tool: t.name, args: append(append(line, flags...), image, "true"), before: hold}
	}
	cells := []*cell{on("start/default"), on("start/none", "--network", "none")}
	if t.name == runcTool {
		return cells // the rest is podman's own work
	}
	cells = append(cells, on("start/host", "--network", "host"))
	flags := limits
	if t.name == rcTool && w.chosen("start/limits/rc") {
		if _, err := w.said(t.line(append(append([]string{"run", "--rm"}, limits...), image, "true")...)); err != nil {
			flags = append(slices.Clone(limits), "--cgroup-fallback")
			r.note("start/limits", "rc: no controllers are delegated here, so with --cgroup-fallback")
		}
	}
	cells = append(cells, on("start/limits", flags...))
	first := t.line("run", "--rm", image, "echo", "x")
	cells = append(cells, &cell{row: "first-byte", tool: t.name, run: w.firstByte(first), args: first, before: w.hold(t)})
	for _, n := range []int{1, 10, 100} {
		row := fmt.Sprintf("start/layers-%d", n)
		if !w.chosen(row + "/" + t.name) {
			continue
		}
		if err := w.loadLayers(t, n); err != nil {
			r.breaks(row+"/"+t.name, err)
			continue
		}
		c := on(row)
		c.args[len(c.args)-2] = layered(n)
		cells = append(cells, c)
	}
	return cells
}

// verbs are the other commands of a day. run -d leaves its container for stop.
func (w *world) verbs(t tool) []*cell {
	if t.name == runcTool {
		return nil
	}
	const name = verbsName
	// sleep has no handler for SIGTERM, and as process 1 no default action either.
	up := t.line("run", "-d", "--name", name, "--stop-signal", "KILL", image, "sleep", "3600")
	key := fmt.Sprint(t.front, name)
	remove := func() error {
		delete(w.standing, key)
		_, err := w.timed(t.remove(name))
		return err
	}
	clear := func() error {
		err := w.hold(t)()
		if err == nil && w.standing[key] {
			err = remove()
		}
		return err
	}
	raise := func() error {
		if w.standing[key] {
			return nil
		}
		_, err := w.timed(up)
		return err
	}
	plain := func(row string, args ...string) *cell {
		return &cell{row: row, tool: t.name, args: t.line(args...), before: w.hold(t)}
	}
	return []*cell{
		{row: "run-d", tool: t.name, args: up, before: clear, after: func() error { w.standing[key] = true; return nil }},
		plain("exec", "exec", anchor, "true"),
		{row: "stop", tool: t.name, args: t.line("stop", name), before: raise, after: remove},
		plain("ps", "ps"), plain("logs", "logs", "--tail", "10", anchor), plain("version", "--version"),
	}
}

// present are starts beside many images and many containers.
func (w *world) present(r *report) []*cell {
	var cells []*cell
	with := func(row string, t tool, fill func(tool) error) {
		fills := []string{row}
		if row == "present/containers" {
			fills = fullRows
		}
		if !slices.ContainsFunc(fills, func(row string) bool { return w.chosen(row + "/" + t.name) }) {
			return
		}
		w.say("%s: %s", row, t.name)
		err := w.ready(t)
		if err == nil && fill != nil {
			err = fill(t)
		}
		if err != nil {
			r.breaks(row+"/"+t.name, err)
			return
		}
		cells = append(cells, &cell{row: row, tool: t.name, args: t.line("run", "--rm", image, "true"), before: w.hold(t)})
		if row == "present/containers" {
			cells = append(cells, &cell{row: "ps/many", tool: t.name, args: t.line("ps", "-a"), before: w.hold(t)})
		}
	}
	many := func(store string) func(tool) error {
		return func(t tool) error { return w.createMany(r, t, store) }
	}
	with("present/nothing", w.rcIn("one"), nil)
	with("present/nothing", w.podmanIn("one", "crun"), nil)
	with("present/images", w.rcIn("many"), func(t tool) error { return w.importMany(t) })
	with("present/containers", w.rcIn("full"), many(w.rcStore("full")))
	with("present/containers", w.podmanIn("full", "crun"), many(w.podmanStore("full")))
	return cells
}

// createMany makes containers that do not run, and weighs the disk before and after.
func (w *world) createMany(r *report, t tool, store string) error {
	before := usage(store)
	r.set("disk/image", t.name, float64(before)/(1<<20))
	begin := time.Now()
	for i := range w.o.containers {
		if _, err := w.timed(t.line("create", image, "true")); err != nil {
			return fmt.Errorf("container %d: %w", i, err)
		}
		if i%50 == 49 {
			w.say("%d containers of %s", i+1, t.name)
		}
	}
	r.set("create", t.name, time.Since(begin).Seconds()*1000/float64(w.o.containers))
	r.set("disk/container", t.name, float64(usage(store)-before)/1024/float64(w.o.containers))
	return nil
}
