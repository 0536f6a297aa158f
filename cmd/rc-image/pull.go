package main

import (
	"context"

	"github.com/spf13/pflag"
)

type pullCommand struct {
	common
	platform string
	allTags  bool
}

func (c *pullCommand) flags(f *pflag.FlagSet) {
	c.bind(f, true)
	c.bindQuiet(f, "print only the reference")
	f.StringVar(&c.platform, "platform", "", "take the image for this `PLATFORM`: OS/ARCH[/VARIANT]")
	f.BoolVarP(&c.allTags, "all-tags", "a", false, "not supported")
	_ = f.MarkHidden("all-tags") // known, so that the refusal can say more
}

func (c *pullCommand) run(ctx context.Context, args []string) error {
	if c.allTags {
		return wrongCall("pull", "--all-tags is not supported: pull each tag by name")
	}
	if len(args) != 1 {
		return wrongCall("pull", "one image is wanted")
	}
	s, err := c.session("pull", c.platform)
	if err != nil {
		return err
	}
	defer s.Close()
	return s.Pull(ctx, args[0])
}

type pushCommand struct {
	common
	allTags bool
}

func (c *pushCommand) flags(f *pflag.FlagSet) {
	c.bind(f, true)
	c.bindQuiet(f, "print only the reference")
	f.BoolVarP(&c.allTags, "all-tags", "a", false, "not supported")
	_ = f.MarkHidden("all-tags") // known, so that the refusal can say more
}

func (c *pushCommand) run(ctx context.Context, args []string) error {
	if c.allTags {
		return wrongCall("push", "--all-tags is not supported: push each tag by name")
	}
	if len(args) != 1 {
		return wrongCall("push", "one image is wanted")
	}
	s, err := c.session("push", "")
	if err != nil {
		return err
	}
	defer s.Close()
	return s.Push(ctx, args[0])
}
