package e2e

import (
	"fmt"
	"net"
	"os"
	"strconv"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/rc-containers/rc/tests/accept"
)

// serve VAR TEXT listens on the host's loopback, answers each connection with
// TEXT, and puts its port into $VAR.
func cmdServe(ts *testscript.TestScript, neg bool, args []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { _ = l.Close() })
	ts.Setenv(args[0], strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	accept.Each(l, accept.Saying(args[1]+"\n"))
}

// asked PART COUNT: the misbehaving registry got that many requests for paths
// that contain PART.
func cmdAsked(ts *testscript.TestScript, neg bool, args []string) {
	if n := strconv.Itoa(world.bad.Requests(args[0])); (n == args[1]) == neg {
		ts.Fatalf("%s was asked for %s times", args[0], n)
	}
}

// archive oci|docker IMAGE REF FILE writes an image of the catalogue.
func cmdArchive(ts *testscript.TestScript, neg bool, args []string) {
	a := world.all[args[1]]
	if a == nil {
		ts.Fatalf("no image %q", args[1])
	}
	f, err := os.Create(ts.MkAbs(args[3]))
	ts.Check(err)
	switch args[0] {
	case "oci":
		err = a.WriteOCIArchive(f, args[2])
	case "docker":
		err = a.WriteDockerArchive(f, args[2])
	default:
		err = fmt.Errorf("no kind %q", args[0])
	}
	ts.Check(err)
	ts.Check(f.Close())
}
