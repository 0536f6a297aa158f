// Command agent is what runs in a test guest for the host: first as the kernel's
// first process, which mounts the disks and hands over to systemd; then as a
// service, which runs the host's commands as root; and, with the argument
// "session", in a login session of the user's, which runs those of the user.
package main

import (
	"fmt"
	"os"
)

func main() {
	var err error
	switch {
	case os.Getpid() == 1:
		err = firstStage()
	case len(os.Args) == 2 && os.Args[1] == "session":
		err = newServer(os.Stdin, os.Stdout).serve()
	default:
		err = service()
	}
	// systemd shows it on the console, which is the host's console.log.
	if err != nil {
		fmt.Fprintln(os.Stderr, "rc-agent:", err)
		os.Exit(1)
	}
}
