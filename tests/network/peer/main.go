// Command peer is what runs in the containers of tests/network: servers that say
// whom they see, flows that notice every pause, questions of DNS by the thousand,
// and what a hostile payload would send.
//
//	peer stand            serve until it is told to end; the container's command
//	peer flow ADDR SECS   talk to another's echo; prints a Flow
//	peer ...              an act for `rc exec`; prints one line, or one line each
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"time"
)

// acts by name. An error ends the program with 1 and its words on stderr.
var acts = map[string]func(args []string) error{
	"stand":     stand,
	"flow":      flow,
	"dial":      dialOne,
	"ask":       ask,
	"questions": questions,
	"resolve":   resolve,
	"fuzz":      fuzz,
	"hog":       hog,
	"hold":      hold,
	"spoof":     spoof,
	"arp":       arp,
	"count":     count,
	"icmpv6":    icmpv6,
	"neighbour": neighbour,
	"cat":       cat,
	"true":      func([]string) error { return nil },
}

func main() {
	if len(os.Args) < 2 || acts[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "peer: no such act:", os.Args[1:])
		os.Exit(2)
	}
	if err := acts[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "peer:", os.Args[1:], err)
		os.Exit(1)
	}
}

// print writes v as one line of JSON.
func print(v any) error { return json.NewEncoder(os.Stdout).Encode(v) }

// number is the i-th argument, or otherwise.
func number(args []string, i, otherwise int) int {
	if i < len(args) {
		if n, err := strconv.Atoi(args[i]); err == nil {
			return n
		}
	}
	return otherwise
}

func seconds(n int) time.Duration { return time.Duration(n) * time.Second }

func cat(args []string) error {
	for _, name := range args {
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		_, _ = os.Stdout.Write(data)
	}
	return nil
}
