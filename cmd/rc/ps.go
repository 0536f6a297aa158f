package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/spf13/pflag"

	"github.com/rc-containers/rc/internal/engine"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/slirp"
)

type psOptions struct {
	all, quiet, noTrunc, latest, size bool
	last                              int
	format                            string
	filter                            filters

	shown  containers
	mounts bool // the format names them; each is a file more to read
}

func psCommand() *command {
	o := &psOptions{}
	return &command{
		name: "ps", aliases: []string{"ls"}, short: "List containers",
		long: "Containers that run; with -a those that have ended, too. The newest come first.\n\n" +
			"Filters of one key are alternatives (labels must all be there), and all keys must hold:\n" +
			"id, name, label, label!, status, exited, health, ancestor, before, since, volume,\n" +
			"network, publish, expose, restart-policy.",
		examples: []string{"rc ps", "rc ps -aq --no-trunc", "rc ps -a --filter status=exited --filter label=app=web",
			`rc ps --format "table {{.Names}}\t{{.Status}}"`},
		flags: func(fs *pflag.FlagSet) {
			fs.BoolVarP(&o.all, "all", "a", false, "show containers that have ended, too")
			fs.VarP(&o.filter, "filter", "f", "show only those for which `KEY=VALUE` holds (several times)")
			fs.StringVar(&o.format, "format", "", "print in this `FORMAT`: table, \"table TEMPLATE\", json, or a Go template")
			fs.IntVarP(&o.last, "last", "n", -1, "show this `NUMBER` of the newest containers, in any state")
			fs.BoolVarP(&o.latest, "latest", "l", false, "show the newest container, in any state")
			fs.BoolVar(&o.noTrunc, "no-trunc", false, "print ids and commands whole")
			fs.BoolVarP(&o.quiet, "quiet", "q", false, "print ids only")
			fs.BoolVarP(&o.size, "size", "s", false, "show how many bytes a container wrote, and those of its image")
		},
		run: o.run,
	}
}

// psHeadings are the fields and headings of Docker's (docker/cli,
// command/formatter/container.go).
var psHeadings = map[string]string{
	"ID": "CONTAINER ID", "Names": "NAMES", "Image": "IMAGE", "Command": "COMMAND", "CreatedAt": "CREATED AT", "RunningFor": "CREATED",
	"Ports": "PORTS", "State": "STATE", "Status": "STATUS", "Size": "SIZE", "Labels": "LABELS", "Mounts": "MOUNTS",
	"LocalVolumes": "LOCAL VOLUMES", "Networks": "NETWORKS",
}

// psFormat is what --format means (container.go: NewContainerFormat).
func (o *psOptions) psFormat() string {
	size := ""
	switch {
	case o.quiet && o.format != "raw":
		return "{{.ID}}"
	case o.quiet:
		return "container_id: {{.ID}}"
	case o.format == "" || o.format == "table":
		if o.size {
			size = `\t{{.Size}}`
		}
		return `table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}` + size
	case o.format == "raw":
		if o.size {
			size = `size: {{.Size}}\n`
		}
		return "container_id: {{.ID}}\nimage: {{.Image}}\ncommand: {{.Command}}\ncreated_at: {{.CreatedAt}}\nstate: {{- pad .State 1 0}}\n" +
			"status: {{- pad .Status 1 0}}\nnames: {{.Names}}\nlabels: {{- pad .Labels 1 0}}\nports: {{- pad .Ports 1 0}}\n" + size
	}
	o.size = o.size || strings.Contains(o.format, ".Size")
	return o.format
}

func (o *psOptions) run(g *global, args []string) (int, error) {
	if err := noArgs("ps", args); err != nil {
		return 0, err
	}
	if o.quiet && o.format != "" && o.format != "table" {
		fmt.Fprintln(os.Stderr, "rc: --format is ignored because of --quiet")
	}
	e, err := g.open()
	if err != nil {
		return 0, err
	}
	defer e.Close()
	list, err := o.list(e)
	if err != nil {
		return 0, err
	}
	format := o.psFormat()
	var sizes map[string]int64
	if o.size && !o.quiet {
		if sizes, err = e.Written(list); err != nil {
			return 0, err
		}
	}
	f, err := g.formatted(e, format, psHeadings)
	if err != nil {
		return 0, err
	}
	o.mounts = strings.Contains(format, "json") || strings.Contains(format, ".Mounts") || strings.Contains(format, ".LocalVolumes")
	for _, c := range list {
		row := &psRow{o, c, "0B"}
		if size, ok := sizes[c.ID]; ok {
			row.size = sizeText(size, size+o.shown.imageSize(c))
		}
		if err := f.print(row); err != nil {
			break // close knows why
		}
	}
	return 0, f.close()
}

// list are the containers that shall be shown.
func (o *psOptions) list(e *engine.Engine) ([]*engine.Entry, error) {
	all, err := e.List()
	if err != nil {
		return nil, err
	}
	if o.latest && o.last < 0 {
		o.last = 1
	}
	o.shown = containers{e: e, all: all, images: map[string]*record.Image{}, names: map[string]string{}}
	match, err := o.filter.matcher(&o.shown)
	if err != nil {
		return nil, err
	}
	var list []*engine.Entry
	for _, c := range all {
		if !o.all && o.last <= 0 && !o.filter.names("status") && !up(c) {
			continue
		}
		if o.last > 0 && len(list) == o.last {
			break
		}
		if match(c) {
			list = append(list, c)
		}
	}
	return list, nil
}

// ellipsis cuts a text to n characters.
func ellipsis(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

// sizeText is "2B (virtual 21.5MB)".
func sizeText(written, whole int64) string { return size(written) + " (virtual " + size(whole) + ")" }

// containers answer what `ps` asks about them beyond their records; each image
// is read once.
type containers struct {
	e      *engine.Engine
	all    []*engine.Entry
	images map[string]*record.Image // by id; nil for one that is not there
	names  map[string]string        // what a name means now
}

func (s *containers) image(id string) *record.Image {
	if id == "" {
		return nil
	}
	img, ok := s.images[id]
	if !ok {
		if found, err := s.e.Store.Image(id); err == nil {
			img = found
		}
		s.images[id] = img
	}
	return img
}

func (s *containers) imageSize(c *engine.Entry) int64 {
	if img := s.image(c.Image); img != nil {
		return img.Size
	}
	return 0
}

// imageText is the name that the container was made with, as long as the name
// means that image; else the image's id (moby, daemon/list.go: refreshImage).
func (s *containers) imageText(c *engine.Entry, whole bool) string {
	if c.ImageName == "" {
		return c.Rootfs
	}
	id, ok := s.names[c.ImageName]
	if !ok {
		id, _ = s.e.Store.ImageID(c.ImageName)
		s.names[c.ImageName] = id
	}
	switch {
	case c.Image == "" || id == c.Image && whole:
		return c.ImageName
	case id == c.Image && strings.HasPrefix(c.Image, strings.TrimPrefix(c.ImageName, "sha256:")):
		return c.Image[:12] // typed as an id
	case id == c.Image:
		name, _, _ := strings.Cut(c.ImageName, "@")
		return name
	case whole:
		return "sha256:" + c.Image
	}
	return c.Image[:12]
}

// portsOf is empty for a container that does not run, as Docker has it: nobody listens.
func (s *containers) portsOf(c *engine.Entry) string {
	if !up(c) {
		return ""
	}
	text := portsText(c.Published(), s.exposed(c)...)
	for _, l := range c.Lost() {
		text = strings.TrimPrefix(text+", "+portsText([]slirp.Port{l.Port})+" (taken)", ", ")
	}
	return text
}

// exposed are the image's ports, as a running container on a network of its own
// shows them.
func (s *containers) exposed(c *engine.Entry) []string {
	img := s.image(c.Image)
	if img == nil || len(img.Config.ExposedPorts) == 0 {
		img = new(record.Image)
	}
	if !up(c) || c.Network == "host" || c.Network == "none" {
		return nil
	}
	ports := slices.Clone(c.Exposed)
	for _, p := range slices.Sorted(maps.Keys(img.Config.ExposedPorts)) {
		if !strings.Contains(p, "/") {
			p += "/tcp"
		}
		ports = append(ports, p)
	}
	return ports
}

func (s *containers) mounts(c *engine.Entry) []mountView {
	var spec *specs.Spec
	if cfg, err := s.e.LoadConfig(c.ID); err == nil {
		spec = cfg.Spec
	}
	return mountViews(s.e, c, spec)
}

// published tells whether a port range that a filter names has one of the ports.
func published(ports []slirp.Port, want portFilter, host bool) bool {
	return slices.ContainsFunc(ports, func(p slirp.Port) bool {
		n := p.ContainerPort
		if host {
			n = p.HostPort
		}
		return want.has(n, p.Proto)
	})
}

// noSuch is Docker's refusal of a container that a filter names.
func noSuch(key, ref string) error {
	return hint.New("--filter "+key+"="+ref, record.ErrNoContainer, "see `rc ps -a`").WithCode(1)
}
