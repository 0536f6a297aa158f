package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/pflag"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
)

// duCommand measures what containers wrote, as root of the user's namespace: some
// of their folders belong to subordinate ids. One line a container, "ID BYTES".
type duCommand struct{ common }

func (c *duCommand) flags(f *pflag.FlagSet) { c.bind(f, false) }

func (c *duCommand) run(_ context.Context, args []string) error {
	root, err := record.DefaultRoot(c.root)
	if err != nil {
		return err
	}
	s, err := record.Open(root)
	if err != nil {
		return err
	}
	for _, id := range args {
		if !record.ValidID(id) {
			return wrongCall("du", "full ids of containers are wanted")
		}
		n, err := record.TreeSize(s.Path("containers", id, "upper"))
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil {
			return hint.New("measure container "+id[:12], err, "")
		}
		fmt.Println(id, n)
	}
	return nil
}
