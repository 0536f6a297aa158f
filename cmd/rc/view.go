package main

// viewCommands are the verbs that show: ps, inspect, top, stats.
func viewCommands() []*command {
	return []*command{psCommand(), inspectCommand(""), inspectCommand("container"), inspectCommand("image"), statsCommand(), topCommand()}
}
