package main

import (
	"context"
	"os"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/rc-containers/rc/internal/transfer"
)

type loadCommand struct {
	common
	input    string
	platform string
}

func (c *loadCommand) flags(f *pflag.FlagSet) {
	c.bind(f, false)
	c.bindQuiet(f, "print no progress")
	f.StringVarP(&c.input, "input", "i", "", "read this `FILE` or folder instead of stdin")
	f.StringVar(&c.platform, "platform", "", "take the image for this `PLATFORM`: OS/ARCH[/VARIANT]")
}

func (c *loadCommand) run(ctx context.Context, args []string) error {
	if len(args) > 0 {
		return wrongCall("load", "no argument is wanted: load -i FILE")
	}
	if c.input == "" && term.IsTerminal(int(os.Stdin.Fd())) {
		return wrongCall("load", "stdin is a terminal: load -i FILE, or load < FILE")
	}
	s, err := c.session("load", c.platform)
	if err != nil {
		return err
	}
	defer s.Close()
	return s.Load(ctx, c.input, os.Stdin)
}

type saveCommand struct {
	common
	output, format string
}

func (c *saveCommand) flags(f *pflag.FlagSet) {
	c.bind(f, false)
	c.bindQuiet(f, "print no progress")
	f.StringVarP(&c.output, "output", "o", "", "write to this `FILE` or folder instead of stdout")
	f.StringVar(&c.format, "format", transfer.DockerArchive, "write in this `FORMAT`: docker-archive, oci-archive or oci-dir")
}

func (c *saveCommand) run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return wrongCall("save", "at least one image is wanted")
	}
	if c.output == "" && term.IsTerminal(int(os.Stdout.Fd())) {
		return wrongCall("save", "stdout is a terminal: save -o FILE, or save > FILE")
	}
	s, err := c.session("save", "")
	if err != nil {
		return err
	}
	defer s.Close()
	return s.Save(ctx, c.format, c.output, os.Stdout, args)
}

type importCommand struct {
	common
	changes           []string
	message, platform string
}

func (c *importCommand) flags(f *pflag.FlagSet) {
	c.bind(f, false)
	c.bindQuiet(f, "print no progress")
	f.StringArrayVarP(&c.changes, "change", "c", nil, "apply a Dockerfile `INSTRUCTION`: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME, WORKDIR")
	f.StringVarP(&c.message, "message", "m", "", "put this `TEXT` into the image's history")
	f.StringVar(&c.platform, "platform", "", "say that the image is for this `PLATFORM`: OS/ARCH[/VARIANT]")
}

func (c *importCommand) run(ctx context.Context, args []string) error {
	if len(args) < 1 || len(args) > 2 {
		return wrongCall("import", "a file and perhaps a name are wanted")
	}
	s, err := c.session("import", c.platform)
	if err != nil {
		return err
	}
	defer s.Close()
	return s.Import(ctx, args[0], append(args, "")[1], os.Stdin, c.changes, c.message)
}

type rmiCommand struct {
	common
	force bool
}

func (c *rmiCommand) flags(f *pflag.FlagSet) {
	c.bind(f, false)
	f.BoolVarP(&c.force, "force", "f", false, "remove an image with all its names; of one in use take the names away")
}

func (c *rmiCommand) run(_ context.Context, args []string) error {
	if len(args) == 0 {
		return wrongCall("rmi", "at least one image is wanted")
	}
	s, err := c.session("rmi", "")
	if err != nil {
		return err
	}
	defer s.Close()
	return s.Remove(args, c.force)
}
