package main

import "github.com/spf13/pflag"

// bindSystemd binds what makes a system container: podman's flag, with its default.
func (o *runOptions) bindSystemd(fs *pflag.FlagSet) {
	fs.StringVar(&o.Systemd, "systemd", "", "be a system container, whose systemd has its own cgroups, `WHEN`: true, if the command is /sbin/init or systemd (the default), always, or false")
}
