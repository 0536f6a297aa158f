// Command repeat runs a command again and again for a time, one after the other, and
// prints how often that went. It is what several of stand side by side when starts a
// second are counted: small, so that what is counted is the command and not the counting.
//
//	repeat [-clone] DURATION COMMAND [ARG...]
//
// -clone: each time in seven new namespaces, with nothing set up in them. With a command
// that does nothing that is the kernel's own share of a container's start, which nobody
// can go below.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// namespaces are those of a container.
const namespaces = syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID |
	syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS | syscall.CLONE_NEWCGROUP

// enough failures end it early: they say all there is to say.
const enough = 10

// result is what is printed, as JSON.
type result struct {
	Starts, Failed int
	Failure        string // what the last one said that failed
	Took           time.Duration
}

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "repeat:", err)
		os.Exit(1)
	}
}

func run(args []string, to io.Writer) error {
	var flags uintptr
	if len(args) > 0 && args[0] == "-clone" {
		flags, args = namespaces, args[1:]
	}
	if len(args) < 2 {
		return fmt.Errorf("%q: [-clone] DURATION COMMAND [ARG...]", args)
	}
	each, err := time.ParseDuration(args[0])
	if err != nil {
		return err
	}
	return json.NewEncoder(to).Encode(repeat(each, args[1:], flags))
}

func repeat(each time.Duration, command []string, flags uintptr) (r result) {
	path, err := exec.LookPath(command[0])
	if err != nil {
		return result{Failed: 1, Failure: err.Error()}
	}
	// A file, not a pipe: a pipe would keep us waiting for whoever inherited it.
	said, err := os.CreateTemp("", "repeat")
	if err != nil {
		return result{Failed: 1, Failure: err.Error()}
	}
	defer said.Close()
	_ = os.Remove(said.Name())
	begin := time.Now()
	for time.Since(begin) < each && r.Failed < enough {
		cmd := exec.Command(path, command[1:]...)
		cmd.Stdout, cmd.Stderr = said, said
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags}
		if err := cmd.Run(); err != nil {
			text, _ := os.ReadFile(fmt.Sprintf("/proc/self/fd/%d", said.Fd()))
			r.Failed, r.Failure = r.Failed+1, fmt.Sprintf("%v: %s", err, bytes.TrimSpace(text))
			continue
		}
		r.Starts++
	}
	r.Took = time.Since(begin)
	return r
}
