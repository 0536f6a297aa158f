package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/rc-containers/rc/internal/engine"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
)

type imagesOptions struct {
	all, quiet, noTrunc, digests bool
	format                       string
	filter                       filters
}

func imagesCommand() *command {
	o := &imagesOptions{}
	return &command{
		name: "images", args: "[IMAGE]", short: "List images",
		long: "The newest come first. With IMAGE only that one, or nothing where it does not exist.\n\n" +
			"Filters: dangling, label, reference (a pattern), before, since, until (a time or an age).",
		examples: []string{"rc images", "rc images --digests alpine", "rc images --format json", "rc images --filter dangling=true -q"},
		flags: func(fs *pflag.FlagSet) {
			fs.BoolVarP(&o.all, "all", "a", false, "show all images (always done: there are no intermediate ones)")
			fs.BoolVar(&o.digests, "digests", false, "show digests")
			fs.VarP(&o.filter, "filter", "f", "show only those for which `KEY=VALUE` holds (several times)")
			fs.StringVar(&o.format, "format", "", "print in this `FORMAT`: table, \"table TEMPLATE\", json, or a Go template")
			fs.BoolVar(&o.noTrunc, "no-trunc", false, "print ids whole")
			fs.BoolVarP(&o.quiet, "quiet", "q", false, "print ids only")
		},
		run: o.run,
	}
}

// imageHeadings are Docker's (docker/cli, command/formatter/image.go).
var imageHeadings = map[string]string{
	"Repository": "REPOSITORY", "Tag": "TAG", "Digest": "DIGEST", "ID": "IMAGE ID", "CreatedAt": "CREATED AT", "CreatedSince": "CREATED",
	"Size": "SIZE", "Containers": "CONTAINERS", "VirtualSize": "SIZE", "SharedSize": "SHARED SIZE", "UniqueSize": "UNIQUE SIZE",
}

// imageFormat is what --format means (image.go: NewImageFormat).
func (o *imagesOptions) imageFormat() string {
	table := `table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}`
	if o.digests {
		table = `table {{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}`
	}
	switch {
	case o.quiet && o.format == "raw":
		return "image_id: {{.ID}}"
	case o.quiet && (o.format == "" || o.format == "table"):
		return "{{.ID}}"
	case o.format == "" || o.format == "table":
		return table
	case o.format == "raw":
		return "repository: {{.Repository}}\ntag: {{.Tag}}\nimage_id: {{.ID}}\ncreated_at: {{.CreatedAt}}\nvirtual_size: {{.Size}}\n"
	}
	if strings.HasPrefix(o.format, "table") && o.digests && !strings.Contains(o.format, "{{.Digest}}") {
		return o.format + "\t{{.Digest}}"
	}
	return o.format
}

func (o *imagesOptions) run(g *global, args []string) (int, error) {
	if len(args) > 1 {
		return 0, noArgs("images", args[1:])
	}
	e, err := g.open()
	if err != nil {
		return 0, err
	}
	defer e.Close()
	match, err := o.filter.imageMatcher(e)
	if err != nil {
		return 0, err
	}
	list, err := e.Images()
	if err != nil {
		return 0, err
	}
	if len(args) == 1 {
		if list, err = named(e, args[0]); err != nil {
			return 0, err
		}
	}
	slices.SortStableFunc(list, func(a, b *record.Image) int { return b.Created.Compare(a.Created) })
	f, err := g.formatted(e, o.imageFormat(), imageHeadings)
	if err != nil {
		return 0, err
	}
	for _, img := range list {
		for _, line := range o.lines(img) {
			if !match(img, line.name) {
				continue
			}
			if err := f.print(line); err != nil {
				return 0, f.close()
			}
			if o.quiet {
				break // one line an image, as Docker
			}
		}
	}
	return 0, f.close()
}

// named is the image that ref means, if there is one.
func named(e *engine.Engine, ref string) ([]*record.Image, error) {
	img, err := e.Store.Image(ref)
	if err != nil {
		return nil, nil // Docker prints an empty list
	}
	if img.Names, err = e.Store.NamesOf(img.ID); err != nil {
		return nil, err
	}
	return []*record.Image{img}, nil
}

type imageLine struct {
	Repository, Tag, Digest, ID, CreatedAt, CreatedSince, Size, VirtualSize, SharedSize, UniqueSize, Containers string

	name string // the whole name, "" of an image without one
	all  map[string]string
}

func (l *imageLine) labels() map[string]string { return l.all }

// lines has one for each name of an image.
func (o *imagesOptions) lines(img *record.Image) (lines []*imageLine) {
	id := "sha256:" + img.ID
	if !o.noTrunc {
		id = img.ID[:12]
	}
	names := img.Names
	if len(names) == 0 {
		names = []string{""}
	}
	for _, name := range names {
		line := &imageLine{Repository: "<none>", Tag: "<none>", Digest: cmp.Or(img.Digest, "<none>"), ID: id, CreatedAt: "N/A",
			CreatedSince: since(img.Created), Size: size(img.Size), VirtualSize: size(img.Size), SharedSize: "N/A", UniqueSize: "N/A", Containers: "N/A",
			name: name, all: img.Config.Labels}
		if !img.Created.IsZero() {
			line.CreatedAt = date(img.Created)
		}
		if ref, err := record.ParseRef(name); name != "" && err == nil {
			line.Repository, line.Tag = ref.Repository(), ref.Tag
		}
		lines = append(lines, line)
	}
	return lines
}

func since(t time.Time) string {
	if t.IsZero() {
		return "N/A"
	}
	return ago(time.Since(t)) + " ago"
}

// size words bytes in decimal units with at most four characters, as Docker does.
func size(n int64) string {
	f, units := float64(n), []string{"B", "kB", "MB", "GB", "TB"}
	i := 0
	for f >= 999.5 && i < len(units)-1 { // 999.5 would be rounded to 1e+03
		f /= 1000
		i++
	}
	if f >= 999.5 {
		return fmt.Sprintf("%.0f%s", f, units[i])
	}
	return fmt.Sprintf("%.3g%s", f, units[i])
}

func tagCommand() *command {
	return &command{
		name: "tag", args: "IMAGE NAME", short: "Give an image another name",
		long:     "A name that another image has moves to this one. NAME without a tag means :latest.",
		examples: []string{"rc tag alpine registry.example.com/me/alpine:1"},
		run: func(g *global, args []string) (int, error) {
			if len(args) != 2 {
				return 0, hint.Newf("rc tag", "see `rc tag --help`", "it takes an image and a name, %d were given", len(args))
			}
			e, err := g.open()
			if err != nil {
				return 0, err
			}
			defer e.Close()
			return 0, e.Store.Tag(args[0], args[1])
		},
	}
}
