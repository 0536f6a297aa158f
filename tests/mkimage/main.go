// Command mkimage makes the test images and pushes, writes or serves them.
//
//	mkimage list
//	mkimage push URL [NAME ...]              to a registry, e.g. http://127.0.0.1:5000
//	mkimage archive oci|docker NAME REF      to standard output
//	mkimage serve FAULT NAME                 on a free port of loopback, printed first
package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/rc-containers/rc/tests/images"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "mkimage:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return errors.New("want list, push, archive or serve")
	}
	all, err := images.Catalog()
	if err != nil {
		return err
	}
	switch verb, args := args[0], args[1:]; {
	case verb == "list":
		for _, name := range images.Names(all) {
			fmt.Println(name)
		}
		return nil
	case verb == "push" && len(args) >= 1:
		return push(images.Remote{URL: args[0]}, args[1:], all)
	case verb == "archive" && len(args) == 3:
		return archive(args[0], args[2], all[args[1]])
	case verb == "serve" && len(args) == 2:
		return serve(images.Fault(args[0]), args[1], all[args[1]])
	}
	return fmt.Errorf("cannot %q", args)
}

func push(to images.Remote, names []string, all map[string]*images.Artifact) error {
	if len(names) == 0 {
		names = images.Names(all)
	}
	for _, name := range names {
		a := all[name]
		if a == nil {
			return fmt.Errorf("no image %q", name)
		}
		if err := to.Push(name, "latest", a); err != nil {
			return err
		}
	}
	return nil
}

func archive(kind, ref string, a *images.Artifact) error {
	if a == nil {
		return errors.New("no such image")
	}
	if kind == "docker" {
		return a.WriteDockerArchive(os.Stdout, ref)
	}
	return a.WriteOCIArchive(os.Stdout, ref)
}

func serve(fault images.Fault, name string, a *images.Artifact) error {
	if a == nil {
		return fmt.Errorf("no image %q", name)
	}
	s := images.NewServer()
	s.Add(name, fault, a)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	server := &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	return server.Serve(l)
}
