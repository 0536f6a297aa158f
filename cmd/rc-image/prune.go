package main

import (
	"context"
	"encoding/json"
	"os"
	"time"

	"github.com/spf13/pflag"

	"github.com/rc-containers/rc/internal/transfer"
)

// pruneCommand removes unused images for `rc image prune` and `rc system prune`,
// which ask the user, read the filters, and print what this answers: one object of
// transfer.Pruned as JSON.
type pruneCommand struct {
	common
	o     transfer.PruneOptions
	until int64
}

func (c *pruneCommand) flags(f *pflag.FlagSet) {
	c.bind(f, false)
	f.BoolVar(&c.o.All, "all", false, "also images that have a name")
	f.Int64Var(&c.until, "until", 0, "only images made before this `TIME`, nanoseconds since 1970")
	f.StringArrayVar(&c.o.Labels, "label", nil, "only images with this `LABEL`")
	f.StringArrayVar(&c.o.NotLabels, "not-label", nil, "only images without this `LABEL`")
	f.DurationVar(&c.o.Downloads, "downloads", -1, "also downloads that broke off so `LONG` ago")
}

func (c *pruneCommand) run(_ context.Context, args []string) error {
	if len(args) > 0 {
		return wrongCall("image prune", "it takes no argument")
	}
	if c.until != 0 {
		c.o.Until = time.Unix(0, c.until)
	}
	s, err := c.session("image prune", "")
	if err != nil {
		return err
	}
	defer s.Close()
	p, err := s.Prune(c.o)
	if p != nil {
		if jerr := json.NewEncoder(os.Stdout).Encode(p); jerr != nil {
			return jerr
		}
	}
	return err
}
