package main

import (
	"os"

	"github.com/containers/image/v5/types"
	"github.com/spf13/pflag"

	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/transfer"
)

// common are the options of every verb that opens the store or a registry.
type common struct {
	root      string
	tlsVerify bool
	quiet     bool
	set       *pflag.FlagSet
}

func (c *common) bind(f *pflag.FlagSet, registry bool) {
	c.set = f
	f.StringVar(&c.root, "root", "", "state `FOLDER`")
	_ = f.MarkHidden("root") // it is rc's, before the verb; rc hands it on as RC_ROOT
	if registry {
		f.BoolVar(&c.tlsVerify, "tls-verify", true, "demand HTTPS and a valid certificate, or not (default as registries.conf says)")
		f.Lookup("tls-verify").DefValue = "" // else the help would end in "(default true)"
	}
}

func (c *common) bindQuiet(f *pflag.FlagSet, what string) {
	f.BoolVarP(&c.quiet, "quiet", "q", false, what)
}

// options makes the session's options; platform is "" for this machine's.
func (c *common) options(platform string) (transfer.Options, error) {
	root, err := record.DefaultRoot(c.root)
	if err != nil {
		return transfer.Options{}, err
	}
	tls := types.OptionalBoolUndefined
	if c.set.Changed("tls-verify") {
		tls = types.NewOptionalBool(c.tlsVerify)
	}
	return transfer.Options{Root: root, TLSVerify: tls, Platform: platform, Quiet: c.quiet, Out: os.Stdout, Report: os.Stderr}, nil
}

// session opens the store for a verb.
func (c *common) session(verb, platform string) (*transfer.Session, error) {
	if err := inNamespace(verb); err != nil {
		return nil, err
	}
	o, err := c.options(platform)
	if err != nil {
		return nil, err
	}
	o.Removes = verb == "rmi" || verb == "image prune"
	return transfer.Open(o)
}
