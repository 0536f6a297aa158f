package main

// viewCommands are the verbs that show: ps, inspect, top, stats, port, events.
func viewCommands() []*command {
	return []*command{psCommand(), inspectCommand()}
}
