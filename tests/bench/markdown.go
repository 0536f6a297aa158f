package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"sort"
	"strings"
)

// titles are what tables call the tools.
var titles = map[string]string{rcTool: "rc", podmanTool: "podman, crun", runcTool: "podman, runc", dockerTool: "Docker, rootless", bwrapTool: "bubblewrap", floorTool: "the same, bare", cloneTool: "clone alone"}

func (r *report) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Benchmarks\n\nMade by `make bench`, not by hand. Compare ratios, not milliseconds: they hold for one run on one machine.\n\n%s\n\n", r.host)
	b.WriteString("The same busybox root file system and the same user everywhere, images local, all commands in turns, and in every second round backwards,\n")
	b.WriteString("with a pause after each in which what it left behind ends. Medians; minima in brackets; –: [not measured](#not-measured). [How each row was measured](#how).\n")
	r.goals(&b)
	for _, part := range []func(*strings.Builder){r.single, r.present, r.parallel, r.row, r.memory, r.disk, r.files, r.vm, r.network, r.missing, r.how} {
		part(&b)
	}
	return b.String()
}

// have are the tools with a figure in any of the rows.
func (r *report) have(rows ...string) (all []string) {
	for _, tool := range columns {
		if slices.ContainsFunc(rows, func(row string) bool { return r.get(row, tool) != 0 }) {
			all = append(all, tool)
		}
	}
	return all
}

// titled is a row of a table: its key and what the reader sees.
type titled struct{ row, title string }

func keys(rows []titled) (all []string) {
	for _, t := range rows {
		all = append(all, t.row)
	}
	return all
}

// table writes one column for each tool and, where ratio names it, how many times one of
// rc and podman has the other's figure.
// Rows without any figure are left out.
func (r *report) table(b *strings.Builder, head string, rows []titled, ratio string) {
	tools := r.have(keys(rows)...)
	if len(tools) == 0 {
		return
	}
	fmt.Fprintf(b, "\n| %s |", head)
	for _, tool := range tools {
		fmt.Fprintf(b, " %s |", titles[tool])
	}
	if ratio != "" {
		fmt.Fprintf(b, " %s |", ratio)
	}
	b.WriteString("\n|---|" + strings.Repeat("---:|", len(tools)))
	if ratio != "" {
		b.WriteString("---:|")
	}
	b.WriteString("\n")
	for _, t := range rows {
		if len(r.have(t.row)) == 0 {
			continue
		}
		fmt.Fprintf(b, "| %s |", t.title)
		for _, tool := range tools {
			fmt.Fprintf(b, " %s |", r.entry(t.row, tool))
		}
		switch rc, podman := r.get(t.row, rcTool), r.get(t.row, podmanTool); ratio {
		case shorter:
			fmt.Fprintf(b, " %s |", over(podman, rc))
		case more:
			fmt.Fprintf(b, " %s |", over(rc, podman))
		}
		b.WriteString("\n")
	}
	for _, t := range rows {
		for _, note := range r.notes[t.row] {
			fmt.Fprintf(b, "\n%s: %s.\n", strings.TrimSpace(t.title), note)
		}
	}
}

// What a table's ratio is: of times and sizes, and of rates.
const (
	shorter = "podman : rc"
	more    = "rc : podman"
)

// entry is a figure, with the minimum where there are several.
func (r *report) entry(row, tool string) string {
	value := r.get(row, tool)
	if c := r.find(row, tool); c != nil {
		return fmt.Sprintf("%s (%s)", short(value), ms(slices.Min(c.times)))
	}
	if value == 0 {
		return "–"
	}
	return short(value)
}

var startRows = []titled{
	{"start/default", "`run --rm IMAGE true`, default network"}, {"start/none", "`--network none`"}, {"start/host", "`--network host`"},
	{"start/limits", "with limits of memory, CPU and processes"}, {"start/layers-1", "image of 1 layer"}, {"start/layers-10", "10 layers"},
	{"start/layers-100", "100 layers"}, {"first-byte", "until the first byte of output"},
}

var verbRows = []titled{
	{"run-d", "`run -d`"}, {"exec", "`exec NAME true`"}, {"stop", "`stop`, stop signal KILL"}, {"ps", "`ps`"}, {"logs", "`logs --tail 10`"}, {"version", "`--version`"},
}

func (r *report) single(b *strings.Builder) {
	if len(r.have(append(keys(startRows), keys(verbRows)...)...)) == 0 {
		return
	}
	fmt.Fprintf(b, "\n## Single commands, ms, %d rounds\n", r.o.runs)
	if r.o.plots != "" {
		b.WriteString("\n![One start](plots/start.svg)\n")
	}
	r.table(b, "start to end", startRows, shorter)
	if with, without := r.get("start/default", rcTool), r.get("start/none", rcTool); with != 0 && without != 0 {
		fmt.Fprintf(b, "\nThe default network costs a start of rc %s ms: default less none. bubblewrap has no image, record, log or seccomp profile.\n", short(with-without))
	}
	r.table(b, "command", verbRows, shorter)
}

func (r *report) presentRows() []titled {
	return []titled{
		{"present/nothing", "`run --rm IMAGE true`: 1 image, 1 container"}, {"present/images", fmt.Sprintf("%d images", r.o.images)},
		{"present/containers", fmt.Sprintf("%d containers, stopped", r.o.containers)}, {"ps/many", fmt.Sprintf("`ps -a` of %d containers", r.o.containers)},
		{"running/before", "`run --rm IMAGE true` before any runs, and after they have ended"}, {"running/start", fmt.Sprintf("beside %d running ones", r.o.many)}, {"running/ps", fmt.Sprintf("`ps` of %d running ones", r.o.many)},
	}
}

func (r *report) present(b *strings.Builder) {
	rows := r.presentRows()
	if len(r.have(keys(rows)...)) == 0 {
		return
	}
	b.WriteString("\n## Beside many images and containers, ms\n")
	r.table(b, "what is there", rows, shorter)
}

func (r *report) parallel(b *strings.Builder) {
	if len(r.have(parallelRows()...)) == 0 {
		return
	}
	fmt.Fprintf(b, "\n## Starts a second\n")
	if r.o.plots != "" {
		b.WriteString("\n![Starts a second](plots/parallel.svg)\n")
	}
	for _, network := range []string{"default", "none"} {
		var rows []titled
		for _, width := range widths {
			rows = append(rows, titled{parallelRow(network, width), fmt.Sprintf("%d at a time", width)})
		}
		r.table(b, "network "+network, rows, more)
	}
	b.WriteString("\n*the same, bare*: a program in C with rc's namespaces, overlay, mounts and files, and nothing that decides or watches (tests/bench/floor): what is above it is rc's own.\n")
	b.WriteString("*clone alone*: an empty program in seven new namespaces, and nothing set up in them: what the kernel asks for, which no tool can go below.\n")
}

func (r *report) row(b *strings.Builder) {
	if starts := r.get("loop", "starts"); starts != 0 {
		fmt.Fprintf(b, "\n## %.0f starts in a row\n\nMedian of the first tenth %s ms, of the last tenth %s ms. Processes, mounts, files, cgroups and namespaces that stay: %.0f.\n",
			starts, short(r.get("loop", "first")), short(r.get("loop", "last")), r.get("loop", "left"))
		if first := r.get("loop", bwrapTool+" first"); first != 0 {
			fmt.Fprintf(b, "bubblewrap, once after each %d of them: first tenth %s ms, last %s ms.\n", besideEach, short(first), short(r.get("loop", bwrapTool+" last")))
		}
	}
	for _, note := range r.notes["loop"] {
		fmt.Fprintf(b, "\n%s\n", note)
	}
	if c := r.find("cold", rcTool); c != nil {
		fmt.Fprintf(b, "\n## The first start after a pause\n\nrc's keeper of the network leaves when there has been no container for a while: five seconds, or five minutes in a cgroup of its own. The next start brings a new one: %s ms (minimum %s).\n",
			ms(median(c.times)), ms(slices.Min(c.times)))
	}
}

func (r *report) memory(b *strings.Builder) {
	if len(r.weights) == 0 {
		return
	}
	b.WriteString("\n## Memory beside the payload of idle containers, PSS\n")
	if r.o.plots != "" {
		b.WriteString("\n![Memory](plots/memory.svg)\n")
	}
	b.WriteString("\n| | network | containers | KiB each | MiB in all | of which, each in KiB | start ms, each | stop of all ms |\n|---|---|---:|---:|---:|---|---:|---:|\n")
	for _, g := range r.weights {
		network := strings.TrimPrefix(g.row, "memory/")
		if network == "many" {
			network = "default"
		}
		stopped := "–"
		if g.stopped != 0 {
			stopped = ms(g.stopped)
		}
		fmt.Fprintf(b, "| %s | %s | %d | %.0f | %.1f | %s | %s | %s |\n", titles[g.tool.name], network, g.number, g.total()*1024/float64(g.number), g.total(), g.parts(), ms(g.started), stopped)
	}
	b.WriteString("\nWhat serves all containers (a keeper, a pause process, a daemon) is divided among them.\n")
}

// parts lists the helpers by name.
func (g *weight) parts() string {
	var all []string
	for name, kib := range g.kib {
		all = append(all, fmt.Sprintf("%d × %s %d", g.count[name], name, kib/g.count[name]))
	}
	sort.Strings(all)
	return strings.Join(all, ", ")
}

func (r *report) disk(b *strings.Builder) {
	rows := []titled{{"disk/image", "a store with the image, MiB"}, {"disk/container", "one container, created, KiB"}, {"create", "`create`, ms"}}
	if len(r.have(keys(rows)...)) > 0 {
		b.WriteString("\n## Disk\n")
		r.table(b, "", rows, shorter)
	}
}

func (r *report) files(b *strings.Builder) {
	if len(r.places) == 0 {
		return
	}
	fmt.Fprintf(b, "\n## Work on files, µs each, %d rounds\n\n| |", r.o.files)
	for _, place := range r.places {
		fmt.Fprintf(b, " %s |", place)
	}
	b.WriteString("\n|---|" + strings.Repeat("---:|", len(r.places)) + "\n")
	for _, work := range works {
		fmt.Fprintf(b, "| %s |", work.title)
		for _, place := range r.places {
			fmt.Fprintf(b, " %s (%s) |", short(r.get("files/"+work.key, place)), short(r.get("files/"+work.key, leastOf+place)))
		}
		b.WriteString("\n")
	}
	b.WriteString("\nIn the root file system of a container; a folder given by `-v` is the host's own. Through the page cache: nothing is synced.\n")
	if len(r.places) < 2 || r.places[0] != hostPlace {
		return
	}
	b.WriteString("\n| times the host's | " + strings.Join(r.places[1:], " | ") + " |\n|---|" + strings.Repeat("---:|", len(r.places)-1) + "\n")
	for _, work := range works {
		fmt.Fprintf(b, "| %s |", work.title)
		for _, place := range r.places[1:] {
			fmt.Fprintf(b, " %s |", over(r.get("files/"+work.key, place), r.get("files/"+work.key, hostPlace)))
		}
		b.WriteString("\n")
	}
}

func (r *report) vm(b *strings.Builder) {
	if len(r.machines) == 0 {
		return
	}
	b.WriteString("\n## The same as a virtual machine\n\n| | to the end of the first command, ms | memory, MiB | disk, MiB |\n|---|---:|---:|---:|\n")
	start, mib, disk := r.get("start/default", rcTool), r.get("memory/default", rcTool)/1024, r.get("disk/image", rcTool)
	for _, m := range r.machines {
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", m.name, ms(m.took), short(m.mib), short(m.disk))
	}
	if start != 0 {
		fmt.Fprintf(b, "| a container of rc | %s | %s (helpers) | %s |\n", short(start), short(mib), short(disk))
		for _, m := range r.machines {
			fmt.Fprintf(b, "| %s : a container of rc | %s | %s | %s |\n", m.name, over(millis(m.took), start), over(m.mib, mib), over(m.disk, disk))
		}
	}
	for _, note := range r.notes["vm"] {
		fmt.Fprintf(b, "\n%s.\n", note)
	}
}

// omitted is what nobody measures, whatever the machine.
var omitted = []string{
	"podman with runc where the runtime has no part in what differs: the rest is podman's own work, and the same as with crun",
	"podman beside many images, and Docker beside many containers and on the disk: to fill their stores takes as long as a third of all rows, and Docker's daemon has one store, which all its rows would have to live with",
	"bubblewrap where a row asks for an image, a limit, a network or something that is kept: it has none",
}

func (r *report) missing(b *strings.Builder) {
	if len(r.broken) == 0 && (r.o.only != "" || len(r.cells) == 0) {
		return
	}
	b.WriteString("\n## Not measured\n\n")
	for _, line := range r.broken {
		fmt.Fprintf(b, "- %s\n", strings.Join(strings.Fields(line), " "))
	}
	if r.o.only == "" {
		for _, line := range omitted {
			fmt.Fprintf(b, "- %s.\n", line)
		}
	}
}

// how lists the commands, without where this run kept its files.
func (r *report) how(b *strings.Builder) {
	o := r.o
	fmt.Fprintf(b, "\n## How\n\n`tests/bench/run -n %d -slot %v -images %d -containers %d -loop %d -idle %d -many %d -rounds %d -each %v -files %d`; `-only start/default` runs one row, `-list` lists them.\n",
		o.runs, o.slot, o.images, o.containers, o.loop, o.idle, o.many, o.rounds, o.each, o.files)
	if len(r.cells) == 0 {
		return
	}
	b.WriteString("\nIn front of rc's verbs: `--root DIR`; of podman's: `--root DIR --runroot DIR --storage-driver overlay --runtime crun --cgroup-manager cgroupfs --events-backend file`; of Docker's: `-H unix://SOCKET`.\n")
	b.WriteString("\n| row | tool | command |\n|---|---|---|\n")
	for _, c := range r.cells {
		if len(c.args) > 0 {
			fmt.Fprintf(b, "| %s | %s | `%s` |\n", c.row, titles[c.tool], shown(c, o.dir))
		}
	}
}

// shown is a command without what stands in front of each verb.
func shown(c *cell, dir string) string {
	skip := map[string]int{rcTool: 3, podmanTool: 13, runcTool: 13, dockerTool: 3}[c.tool]
	words := c.args
	if skip > 0 && len(words) > skip {
		words = append([]string{filepath.Base(words[0])}, words[skip:]...)
	}
	return strings.ReplaceAll(strings.ReplaceAll(strings.Join(words, " "), dir, "$DIR"), image, "IMAGE")
}
