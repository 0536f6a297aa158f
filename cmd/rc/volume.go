package main

// volumeCommands are the verbs of volumes, and those that clean up: volume, prune, system df.
func volumeCommands() []*command {
	return []*command{}
}
