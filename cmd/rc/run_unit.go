package main

import "github.com/spf13/pflag"

// bindUnit binds what makes a container a service of systemd's. The names are podman's.
func (o *runOptions) bindUnit(fs *pflag.FlagSet) {
	u := &o.Unit
	fs.StringVar(&u.SDNotify, "sdnotify", "", "in a Type=notify unit, let this `WHO` say that it is ready: conmon (it runs; the default), container, healthy or ignore")
	fs.StringVar(&u.PIDFile, "pidfile", "", "write the command's pid to this `FILE`")
	fs.StringVar(&u.ConmonPIDFile, "conmon-pidfile", "", "write to this `FILE` the pid of rc's process beside the container: PIDFile= of a unit")
}
