// Command vm runs a command in a fresh test guest, by hand.
//
//	go run ./tests/guest/vm 'rc info'                     as the lingering user
//	go run ./tests/guest/vm -u root 'systemctl status'
//	go run ./tests/guest/vm -u plain 'rc info'            as one who does not linger; a login of its own
//	go run ./tests/guest/vm -share data=/some/folder 'ls /share/data'
//	go run ./tests/guest/vm -home /tmp/home.ext4 'touch f; sync'    made if not there; kept
//	go run ./tests/guest/vm                               bash, which reads what you type
//
// /share/bin is bin/ of this tree (run `make` first) or $RC_BIN.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/rc-containers/rc/tests/guest"
)

func main() {
	code, err := run()
	if err != nil {
		fmt.Fprintln(os.Stderr, "vm:", err)
		if errors.Is(err, guest.ErrUnmet) {
			os.Exit(77)
		}
		os.Exit(125)
	}
	os.Exit(code)
}

func run() (code int, err error) {
	user := flag.String("u", guest.User, "run as this user: root, "+guest.User+", "+guest.Plain+", or login:NAME for a session of its own")
	o := guest.Options{Share: map[string]string{}}
	flag.StringVar(&o.Home, "home", "", "disk image for /home, made if it is not there")
	flag.StringVar(&o.HomeOptions, "home-options", "", "mount options of /home")
	flag.IntVar(&o.Scratch, "scratch", 0, "`MiB` of an empty disk on /scratch")
	flag.BoolVar(&o.Cold, "cold", false, "boot, where a snapshot would do")
	flag.Func("share", "`NAME=PATH`: a file or folder to be found as /share/NAME", func(s string) error {
		name, path, ok := strings.Cut(s, "=")
		if !ok {
			return errors.New("want NAME=PATH")
		}
		o.Share[name] = path
		return nil
	})
	flag.Parse()
	if why := guest.Unmet(); why != "" {
		return 125, errors.New(why)
	}
	if bin := programs(); bin != "" {
		o.Share["bin"] = bin
	}
	if o.Home != "" {
		if _, err := os.Stat(o.Home); errors.Is(err, fs.ErrNotExist) {
			if err := guest.NewDisk(o.Home, 1024); err != nil {
				return 125, err
			}
		}
	}
	return boot(o, *user, strings.Join(flag.Args(), " "))
}

// programs returns the folder of rc's programs, "" without one.
func programs() string {
	bin := os.Getenv("RC_BIN")
	if bin == "" {
		bin = "bin"
	}
	if _, err := os.Stat(bin + "/rc"); err != nil {
		return ""
	}
	return bin
}

func boot(o guest.Options, user, line string) (code int, err error) {
	streams := guest.Streams{Stdout: os.Stdout, Stderr: os.Stderr}
	if line == "" {
		line = "exec bash"
		streams.Stdin = io.Reader(os.Stdin)
	}
	g, err := guest.New(o)
	if err != nil {
		return 125, err
	}
	defer func() { err = errors.Join(err, g.Close()) }()
	ctx := context.Background()
	if err := g.Boot(ctx); err != nil {
		return 125, err
	}
	return g.Stream(ctx, user, line, streams)
}
