package main

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/linux"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/stage/start"
	"github.com/rc-containers/rc/internal/transfer"
	"github.com/rc-containers/rc/internal/version"
)

// filesCommand is cp, export, diff and commit, for rc, which found the container:
// see start.FilesConfig.
type filesCommand struct{ common }

func (c *filesCommand) flags(f *pflag.FlagSet) { c.bind(f, false) }

func (c *filesCommand) run(ctx context.Context, args []string) error {
	if len(args) != 0 {
		return wrongCall("files", "it takes no argument")
	}
	cfg, err := receiveFiles()
	if err != nil {
		return err
	}
	store, err := openStore(&c.common)
	if err != nil {
		return err
	}
	go giveUp(ctx)
	f := &transfer.Files{Ctx: ctx, Store: store, Config: cfg, In: os.Stdin, Out: os.Stdout, Report: os.Stderr}
	switch cfg.Verb {
	case "cp":
		return f.Copy()
	case "export":
		return f.Export()
	case "diff":
		return f.Diff(term.IsTerminal(int(os.Stdout.Fd())))
	case "commit":
		c.quiet = cfg.Quiet
		s, err := c.session("commit", "")
		if err != nil {
			return err
		}
		defer s.Close()
		return s.Commit(ctx, f)
	}
	return wrongCall("files", "unknown verb "+cfg.Verb)
}

// receiveFiles takes the configuration, and keeps the descriptors beside it from
// the programs that we start.
func receiveFiles() (*start.FilesConfig, error) {
	if _, err := unix.FcntlInt(start.FilesFD, unix.F_GETFD, 0); err != nil {
		return nil, hint.Newf("rc-image files", "use rc cp, rc export, rc diff or rc commit", "it is started by rc")
	}
	if err := linux.CloexecFrom(start.FilesFD - 1); err != nil {
		return nil, err
	}
	cfg := new(start.FilesConfig)
	if err := stage.Unseal(os.NewFile(start.FilesFD, "config"), cfg); err != nil {
		return nil, hint.New("rc-image files", err, "use rc cp, rc export, rc diff or rc commit")
	}
	if cfg.Version != version.Version {
		return nil, hint.Newf("rc "+cfg.Verb, "run `make install` again: all four programs must come from one build",
			"rc is version %s and rc-image %s", cfg.Version, version.Version)
	}
	return cfg, nil
}

func openStore(c *common) (*record.Store, error) {
	if err := inNamespace("files"); err != nil {
		return nil, err
	}
	root, err := record.DefaultRoot(c.root)
	if err != nil {
		return nil, err
	}
	return record.Open(root)
}

// giveUp ends an interrupted verb that hangs in a read, for which there is no
// other way out.
func giveUp(ctx context.Context) {
	<-ctx.Done()
	time.Sleep(2 * time.Second)
	os.Exit(exitCode(errors.New("interrupted"), true))
}
