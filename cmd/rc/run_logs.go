package main

import "github.com/spf13/pflag"

func (o *runOptions) bindLog(fs *pflag.FlagSet) {
	fs.StringVar(&o.LogDriver, "log-driver", "", "keep the output by this `DRIVER`: json-file, journald (a copy) or none (default json-file)")
	fs.Var((*list)(&o.LogOpt), "log-opt", "set an `OPTION` of the log: max-size=10m, max-file=3, labels=KEY,…, env=KEY,…, tag=…")
}
