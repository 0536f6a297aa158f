package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/spf13/pflag"

	"github.com/rc-containers/rc/internal/engine"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/slirp"
)

type inspectOptions struct{ kind string }

func inspectCommand() *command {
	o := &inspectOptions{}
	return &command{
		name: "inspect", args: "CONTAINER|IMAGE...", short: "Show a container or an image as JSON",
		long:     "The output is a list, with the field names of `docker inspect`. A name that\na container and an image have means the container.\n\nThe exit code is 1 when one of several does not exist.",
		examples: []string{"rc inspect web", "rc inspect --type image alpine"},
		flags: func(fs *pflag.FlagSet) {
			fs.StringVar(&o.kind, "type", "", "look for this `TYPE` only: container or image")
		},
		run: o.run,
	}
}

func (o *inspectOptions) run(g *global, args []string) (int, error) {
	if len(args) == 0 {
		return 0, hint.Newf("rc inspect", "see `rc inspect --help`", "nothing is named")
	}
	if o.kind != "" && o.kind != "container" && o.kind != "image" {
		return 0, hint.Newf("--type "+o.kind, "choose container or image", "no such type")
	}
	e, err := g.open()
	if err != nil {
		return 0, err
	}
	defer e.Close()
	found := []any{}
	code, err := eachOf(args, func(ref string) error {
		v, err := o.find(e, ref)
		if err == nil {
			found = append(found, v)
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	enc := json.NewEncoder(os.Stdout)
	enc.SetIndent("", "    ")
	enc.SetEscapeHTML(false)
	return code, enc.Encode(found)
}

func (o *inspectOptions) find(e *engine.Engine, ref string) (any, error) {
	if o.kind != "image" {
		id, err := e.Store.FindContainer(ref)
		if err == nil {
			c, err := e.Load(id)
			if err == nil {
				return inspectContainer(c), nil
			}
			if !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
		} else if o.kind == "container" || !errors.Is(err, record.ErrNoContainer) {
			return nil, err
		}
	}
	img, err := e.Store.Image(ref)
	if err == nil {
		return inspectImage(e, img)
	}
	if o.kind == "" && errors.Is(err, record.ErrNoImage) {
		return nil, hint.Newf(fmt.Sprintf("inspect %q", ref), "see `rc ps -a` and `rc images`", "no such container or image").WithCode(1)
	}
	return nil, err
}

// containerView has the fields of `docker inspect` that rc knows.
type containerView struct {
	ID      string `json:"Id"`
	Name    string
	Created time.Time
	Image   string
	Driver  string
	Path    string
	Args    []string
	State   stateView
	Config  configView
	Host    hostConfigView `json:"HostConfig"`
	Network networkView    `json:"NetworkSettings"`
	Mounts  []record.VolumeUse
	LogPath string `json:",omitempty"`
}

type stateView struct {
	Status     string
	Running    bool
	OOMKilled  bool
	Pid        int
	ExitCode   int
	Error      string
	StartedAt  time.Time
	FinishedAt time.Time
}

type configView struct {
	Image       string
	Cmd         []string
	Tty         bool
	OpenStdin   bool
	Labels      map[string]string
	StopSignal  int
	StopTimeout float64 // seconds
}

type hostConfigView struct {
	AutoRemove  bool
	NetworkMode string
	CgroupPath  string `json:",omitempty"`
	Annotations map[string]string
}

type networkView struct {
	IPAddress   string
	IPPrefixLen int
	Gateway     string
	Ports       []slirp.Port
}

func inspectContainer(c *engine.Entry) *containerView {
	v := &containerView{
		ID: c.ID, Name: c.Name, Created: c.Created, Image: c.Image, Driver: c.State.Driver, Mounts: c.Volumes,
		State: stateView{string(c.State.Status), c.Running(), c.State.OOMKilled, c.State.PID, c.State.ExitCode,
			c.State.Error, c.State.Started, c.State.Finished},
		Config: configView{c.ImageName, c.Command, c.TTY, c.Interactive, c.Labels, c.StopSignal, c.StopAfter.Seconds()},
		Host:   hostConfigView{c.AutoRemove, c.Network, c.State.Cgroup, c.Annotations},
	}
	if len(c.Command) > 0 {
		v.Path, v.Args = c.Command[0], c.Command[1:]
	}
	v.Network.Ports = c.Ports
	if n := c.State.Net; n != nil && c.Running() {
		v.Network.IPAddress, v.Network.IPPrefixLen, v.Network.Gateway = n.IP, n.Prefix, n.Gateway
	}
	return v
}

// imageView has the fields of `docker image inspect` that rc knows.
type imageView struct {
	ID           string `json:"Id"`
	RepoTags     []string
	RepoDigests  []string
	Created      time.Time
	Architecture string
	Os           string
	Variant      string `json:",omitempty"`
	Size         int64
	Config       record.ImageConfig
	Layers       []string
}

func inspectImage(e *engine.Engine, img *record.Image) (*imageView, error) {
	names, err := e.Store.NamesOf(img.ID)
	if err != nil {
		return nil, err
	}
	return &imageView{"sha256:" + img.ID, names, img.RepoDigests, img.Created, img.Architecture, img.OS,
		img.Variant, img.Size, img.Config, img.Layers}, nil
}
