package main

// lifeCommands are the verbs of a container's life: create, start, stop, restart, kill, …
func lifeCommands() []*command {
	return []*command{rmCommand()}
}
