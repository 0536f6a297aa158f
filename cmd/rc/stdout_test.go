package main

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// What could not be printed is remembered, whoever printed it; the first failure counts.
func TestStdoutRemembersAFailure(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	old, was := os.Stdout, *stdout
	defer func() { os.Stdout, *stdout = old, was }()
	os.Stdout = full
	printHelpOfVersion()
	_ = full.Close()
	printHelpOfVersion() // now: file already closed
	if !errors.Is(stdout.err, unix.ENOSPC) {
		t.Errorf("got %v", stdout.err)
	}
}

func printHelpOfVersion() {
	c := versionCommand()
	c.printHelp(newFlags(c.name))
}
