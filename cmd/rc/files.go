package main

// fileCommands are the verbs that move files: cp, export, diff, commit.
func fileCommands() []*command {
	return []*command{}
}
