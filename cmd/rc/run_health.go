package main

import "github.com/spf13/pflag"

// bindHealth binds the health check of a container, Docker's flags and podman's
// --health-on-failure.
func (o *runOptions) bindHealth(fs *pflag.FlagSet) {
	h := &o.Health
	fs.StringVar(&h.Cmd, "health-cmd", "", "ask how it is by this `COMMAND`, run by the container's shell; exit code 0 is healthy")
	fs.DurationVar(&h.Interval, "health-interval", 0, "ask again after this `TIME` (default 30s)")
	fs.DurationVar(&h.Timeout, "health-timeout", 0, "let the command run for this `TIME` (default 30s)")
	fs.DurationVar(&h.StartPeriod, "health-start-period", 0, "count no failure in this first `TIME` of a container (default 0s)")
	fs.DurationVar(&h.StartInterval, "health-start-interval", 0, "ask again after this `TIME` in the start period (default 5s)")
	fs.IntVar(&h.Retries, "health-retries", 0, "call it unhealthy after this `NUMBER` of failures in a row (default 3)")
	fs.BoolVar(&h.None, "no-healthcheck", false, "leave out the image's health check")
	fs.StringVar(&h.OnFailure, "health-on-failure", "", "do this `ACTION` when it turns unhealthy: none, kill, restart or stop")
}
