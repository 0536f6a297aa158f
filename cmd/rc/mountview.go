package main

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/rc-containers/rc/internal/engine"
)

// mountView is one of `docker inspect`'s Mounts. Name and Driver are there for a
// bind mount, too: {{range .Mounts}}{{.Name}}{{end}} must not fail on it.
type mountView struct {
	Type        string // bind, volume or tmpfs
	Name        string // "" of a bind; always there, because templates ask for it
	Source      string
	Destination string
	Driver      string
	Mode        string
	RW          bool
	Propagation string
}

// mountViews are the mounts that the user or the image asked for. spec is nil
// where the container's configuration cannot be read: then volumes alone.
func mountViews(e *engine.Engine, c *engine.Entry, spec *specs.Spec) []mountView {
	list := []mountView{}
	for _, v := range c.Volumes {
		list = append(list, mountView{Type: "volume", Name: v.Name, Source: e.Store.VolumeData(v.Name), Destination: v.Destination, Driver: "local", RW: true})
	}
	if spec == nil {
		return list
	}
	for i := range spec.Mounts {
		m := &spec.Mounts[i]
		if at := slices.IndexFunc(list, func(v mountView) bool { return v.Destination == m.Destination }); at >= 0 {
			list[at].Mode, list[at].RW, list[at].Propagation = mode(m.Options)
			continue
		}
		if m.Type == "bind" && !ownMount(e, c, m) {
			v := mountView{Type: "bind", Source: m.Source, Destination: m.Destination}
			v.Mode, v.RW, v.Propagation = mode(m.Options)
			list = append(list, v)
		}
	}
	return list
}

// ownMount tells whether rc itself mounts this in a container: its hosts file, a
// device, what stands in for /proc, /sys or /dev/mqueue.
func ownMount(e *engine.Engine, c *engine.Entry, m *specs.Mount) bool {
	return filepath.Dir(m.Source) == e.Store.ContainerDir(c.ID) || m.Source == m.Destination &&
		(strings.HasPrefix(m.Source, "/dev/") || m.Source == "/proc" || m.Source == "/sys")
}

// tmpfsViews are --tmpfs mounts as Docker's HostConfig.Tmpfs: destination to options.
func tmpfsViews(spec *specs.Spec) map[string]string {
	list := map[string]string{}
	for _, m := range spec.Mounts {
		if m.Type == "tmpfs" && !slices.Contains([]string{"/dev", "/dev/shm", "/sys/fs/cgroup"}, m.Destination) {
			list[m.Destination] = strings.Join(m.Options, ",")
		}
	}
	return list
}

// mode reads the options of a bind: as -v has them, whether it can be written to,
// and how mounts propagate.
func mode(options []string) (mode string, rw bool, propagation string) {
	rw = !slices.Contains(options, "ro")
	if !rw {
		mode = "ro"
	}
	for _, o := range options {
		switch o {
		case "private", "rprivate", "shared", "rshared", "slave", "rslave":
			propagation = o
		}
	}
	return mode, rw, propagation
}
