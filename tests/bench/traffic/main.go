// Command traffic measures a path between two places: throughput of one stream each
// way, connections per second, and the round trip of one byte; or work on files. Static,
// so that it runs in any container or namespace.
//
//	traffic serve ADDRESS            answers until it is killed
//	traffic bulk ADDRESS DURATION    measures the throughput each way for that long
//	traffic small ADDRESS DURATION   measures the round trip and connections, the same
//	traffic wait                     does nothing: it holds a namespace
//	traffic files WORK DATA          measures work on files: in the folder WORK, which is
//	                                 made and removed, and on the files of the folder DATA
//
// What was measured is printed as JSON.
package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "traffic:", err)
		os.Exit(1)
	}
}

var kinds = map[string]func(address string, each time.Duration) (result, error){"bulk": bulk, "small": small}

func run(args []string) error {
	switch {
	case len(args) == 2 && args[0] == "serve":
		l, err := net.Listen("tcp", args[1])
		if err != nil {
			return err
		}
		fmt.Println("ready")
		return serve(l)
	case len(args) == 3 && kinds[args[0]] != nil:
		each, err := time.ParseDuration(args[2])
		if err != nil {
			return err
		}
		result, err := kinds[args[0]](args[1], each)
		if err != nil {
			return err
		}
		return json.NewEncoder(os.Stdout).Encode(result)
	case len(args) == 3 && args[0] == "files":
		took, err := onFiles(args[1], args[2])
		if err != nil {
			return err
		}
		return json.NewEncoder(os.Stdout).Encode(took)
	case len(args) == 1 && args[0] == "wait":
		for {
			time.Sleep(time.Hour)
		}
	}
	return fmt.Errorf("%q: serve ADDRESS, bulk or small ADDRESS DURATION, files WORK DATA, or wait", args)
}
