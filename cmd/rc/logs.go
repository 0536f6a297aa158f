package main

// logCommands is logs.
func logCommands() []*command {
	return []*command{}
}
