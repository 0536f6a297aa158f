package spec

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/rc-containers/rc/internal/hint"
)

// UnitOptions are the flags by which a container is a service of systemd's or of
// another manager's. They are podman's.
type UnitOptions struct {
	SDNotify      string // who says READY=1: "", conmon, container, healthy, ignore
	PIDFile       string // gets the payload's pid
	ConmonPIDFile string // gets the pid of what stays beside the container

	Args []string // the flags, as --NAME=VALUE, and what follows: for a unit that makes the container
}

// NotifyModes are the values of --sdnotify. In podman conmon is the process that
// stays beside the container; here that is the shim.
var NotifyModes = []string{"conmon", "container", "healthy", "ignore"}

// unitFlags checks them, and makes the paths absolute: a restart by policy writes
// the files again, in another working directory.
func (b *builder) unitFlags() error {
	u := &b.o.Unit
	if u.SDNotify != "" && !slices.Contains(NotifyModes, u.SDNotify) {
		return refuse("--sdnotify", u.SDNotify, orNearest(u.SDNotify, NotifyModes, "choose "+words(NotifyModes)), "no such mode")
	}
	for flag, path := range map[string]*string{"--pidfile": &u.PIDFile, "--conmon-pidfile": &u.ConmonPIDFile} {
		if *path == "" {
			continue
		}
		if strings.HasSuffix(*path, "/") {
			return refuse(flag, *path, "name a file", "it is a folder")
		}
		full, err := filepath.Abs(*path)
		if err != nil {
			return badFlag(flag, *path, err, "give an absolute path")
		}
		*path = full
	}
	return nil
}

// unitHealth wants a probe for a service that is ready when it is healthy. It runs
// when the image's own is known.
func (b *builder) unitHealth() error {
	h := b.plan.Health
	if b.o.Unit.SDNotify == "healthy" && (h == nil || len(h.Test) < 2) {
		return hint.Newf("--sdnotify healthy", "give it: --health-cmd COMMAND", "there is no health check that could say so")
	}
	return nil
}
