package main

import (
	"encoding/json"
	"fmt"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/pflag"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
)

type imagesOptions struct {
	quiet, noTrunc, digests bool
	format                  string
}

func imagesCommand() *command {
	o := &imagesOptions{}
	return &command{
		name: "images", args: "[IMAGE]", short: "List images",
		long:     "The newest come first. With IMAGE only that one, or nothing where it does not exist.",
		examples: []string{"rc images", "rc images --digests alpine", "rc images --format json"},
		flags: func(fs *pflag.FlagSet) {
			fs.BoolVarP(&o.quiet, "quiet", "q", false, "print ids only")
			fs.BoolVar(&o.noTrunc, "no-trunc", false, "print ids whole")
			fs.BoolVar(&o.digests, "digests", false, "show digests")
			fs.StringVar(&o.format, "format", "table", "print in this `FORMAT`: table, or json with one object a line")
		},
		run: o.run,
	}
}

func (o *imagesOptions) run(g *global, args []string) (int, error) {
	if len(args) > 1 {
		return 0, noArgs("images", args[1:])
	}
	if o.format != "table" && o.format != "json" {
		return 0, hint.Newf("--format "+o.format, "choose table or json", "no such format")
	}
	e, err := g.open()
	if err != nil {
		return 0, err
	}
	defer e.Close()
	list, err := e.Store.Images()
	if err != nil {
		return 0, err
	}
	if len(args) == 1 {
		img, err := e.Store.Image(args[0])
		if err != nil {
			return 0, nil // Docker prints an empty list
		}
		if img.Names, err = e.Store.NamesOf(img.ID); err != nil {
			return 0, err
		}
		list = []*record.Image{img}
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', 0)
	o.header(w)
	for _, img := range list {
		if err := o.print(w, img); err != nil {
			return 0, err
		}
	}
	return 0, w.Flush()
}

func (o *imagesOptions) header(w *tabwriter.Writer) {
	switch {
	case o.quiet || o.format == "json":
	case o.digests:
		fmt.Fprintln(w, "REPOSITORY\tTAG\tDIGEST\tIMAGE ID\tCREATED\tSIZE")
	default:
		fmt.Fprintln(w, "REPOSITORY\tTAG\tIMAGE ID\tCREATED\tSIZE")
	}
}

type imageLine struct {
	Repository, Tag, Digest, ID, CreatedAt, CreatedSince, Size string
}

func (o *imagesOptions) print(w *tabwriter.Writer, img *record.Image) error {
	id := img.ID
	if !o.noTrunc {
		id = id[:12]
	}
	if o.quiet {
		_, err := fmt.Fprintln(w, id)
		return err
	}
	names := img.Names
	if len(names) == 0 {
		names = []string{""}
	}
	for _, name := range names {
		line := imageLine{"<none>", "<none>", img.Digest, id, img.Created.Format(time.RFC3339), since(img.Created), size(img.Size)}
		if ref, err := record.ParseRef(name); name != "" && err == nil {
			line.Repository, line.Tag = ref.Repository(), ref.Tag
		}
		var err error
		switch {
		case o.format == "json":
			err = json.NewEncoder(w).Encode(line)
		case o.digests:
			_, err = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", line.Repository, line.Tag, line.Digest, line.ID, line.CreatedSince, line.Size)
		default:
			_, err = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", line.Repository, line.Tag, line.ID, line.CreatedSince, line.Size)
		}
		if err != nil {
			return err
		}
	}
	return nil
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
