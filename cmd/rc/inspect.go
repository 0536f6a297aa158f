package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/rc-containers/rc/internal/engine"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/stage/control"
)

type inspectOptions struct {
	kind, format string
	size         bool
}

// inspectCommand is `inspect`, and with a kind `container inspect` and `image
// inspect`, which look for nothing else.
func inspectCommand(kind string) *command {
	o := &inspectOptions{kind: kind}
	c := &command{
		name: "inspect", args: "CONTAINER|IMAGE...", short: "Show a container or an image as JSON",
		long: "The output is a list, with the field names of `docker inspect`. A name that\na container and an image have means the container.\n\n" +
			"The exit code is 1 when one of several does not exist, or has not a field of\nthe template; 64 when that is none.",
		examples: []string{"rc inspect web", "rc inspect --type image alpine", "rc inspect -f '{{.State.Status}}' web",
			`rc inspect -f '{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}' web`},
		run: o.run,
	}
	c.flags = func(fs *pflag.FlagSet) {
		fs.StringVarP(&o.format, "format", "f", "", "print in this `FORMAT`: json, or a Go template")
		if kind != "image" {
			fs.BoolVarP(&o.size, "size", "s", false, "show SizeRw and SizeRootFs, in bytes")
		}
		if kind != "image" {
			fs.StringVar(&o.kind, "type", kind, "look for this `TYPE` only: container, image, volume or network")
		}
	}
	switch kind {
	case "container":
		c.name, c.args, c.short = "container inspect", "CONTAINER...", "Show a container as JSON"
		c.examples = []string{"rc container inspect -s web"}
	case "image":
		c.name, c.args, c.short = "image inspect", "IMAGE...", "Show an image as JSON"
		c.examples = []string{"rc image inspect -f '{{.Size}}' alpine"}
	}
	if kind != "" {
		c.long = ""
	}
	return c
}

func (o *inspectOptions) run(g *global, args []string) (int, error) {
	if len(args) == 0 {
		return 0, hint.Newf("rc inspect", "see `rc inspect --help`", "nothing is named")
	}
	switch o.kind {
	case "", "container", "image":
	case "volume":
		return runVolumeInspect(g, o.format, args)
	case "network":
		return runNetworkInspect(g, o.format, args)
	default:
		return 0, hint.Newf("--type "+o.kind, "choose container, image, volume or network", "no such type")
	}
	e, err := g.open()
	if err != nil {
		return 0, err
	}
	defer e.Close()
	if o.format == "" || o.format == "json" {
		return o.list(e, args)
	}
	f, err := newFormatter(e, o.format, nil, true)
	if err != nil {
		return 0, err
	}
	code, err := eachOf(args, func(ref string) error {
		v, err := o.find(e, ref)
		if err != nil {
			return err
		}
		return f.print(v)
	})
	if cerr := f.close(); err == nil {
		err = cerr
	}
	return code, err
}

// list prints all that was found as one JSON list.
func (o *inspectOptions) list(e *engine.Engine, args []string) (int, error) {
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
	enc := newEncoder(os.Stdout)
	if o.format == "" {
		enc.SetIndent("", "    ")
	}
	return code, enc.Encode(found)
}

func (o *inspectOptions) find(e *engine.Engine, ref string) (any, error) {
	if o.kind != "image" {
		id, err := e.Store.FindContainer(ref)
		if err == nil {
			c, err := e.Load(id)
			if err == nil {
				return o.container(e, c)
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
		if _, nerr := e.Store.FindNetwork(ref); nerr == nil {
			n, err := e.Network(ref)
			if err != nil {
				return nil, err
			}
			return inspectNetwork(n), nil
		}
		return nil, hint.Newf(fmt.Sprintf("inspect %q", ref), "see `rc ps -a` and `rc images`", "no such container or image").WithCode(1)
	}
	return nil, err
}

// container is the view of one container, with what its shim says now.
func (o *inspectOptions) container(e *engine.Engine, c *engine.Entry) (*containerView, error) {
	freshen(e, c)
	v := inspectContainer(e, c)
	if o.size {
		sizes, err := e.Written([]*engine.Entry{c})
		if err != nil {
			return nil, err
		}
		rw := sizes[c.ID]
		whole := rw
		if img, err := e.Store.Image(c.Image); c.Image != "" && err == nil {
			whole += img.Size
		}
		v.SizeRw, v.SizeRootFs = &rw, &whole
	}
	return v, nil
}

// shimBound is how long inspect waits for a shim, whose state.json says nearly
// the same.
const shimBound = time.Second

// freshen asks the shim, which knows of its health more than it wrote down.
func freshen(e *engine.Engine, c *engine.Entry) {
	if !up(c) || c.State.Health == nil {
		return
	}
	path, err := e.Store.ControlPath(c.ID)
	if err != nil {
		return
	}
	if r, _, err := control.Ask(path, control.Request{Op: control.OpState}, shimBound); err == nil && r.State != nil && r.State.Health != nil {
		c.State.Health = r.State.Health
	}
}

// imageView has the fields of `docker image inspect` that rc knows.
type imageView struct {
	ID           string `json:"Id"`
	RepoTags     []string
	RepoDigests  []string
	Created      time.Time
	Architecture string
	Variant      string
	Os           string
	Size         int64
	Config       imageConfigView
	Layers       []string // folders, topmost first
}

// imageConfigView has every field, so that a template may ask for what the image
// does not say.
type imageConfigView struct {
	User         string
	ExposedPorts map[string]struct{}
	Env          []string
	Cmd          []string
	Healthcheck  json.RawMessage
	Volumes      map[string]struct{}
	WorkingDir   string
	Entrypoint   []string
	Labels       map[string]string
	StopSignal   string
	Shell        []string
}

func inspectImage(e *engine.Engine, img *record.Image) (*imageView, error) {
	names, err := e.Store.NamesOf(img.ID)
	if err != nil {
		return nil, err
	}
	// A name by digest is no tag: RepoDigests has it.
	names = slices.DeleteFunc(names, func(name string) bool { return strings.Contains(name, "@") })
	c := &img.Config
	return &imageView{"sha256:" + img.ID, orEmpty(names), orEmpty(img.RepoDigests), img.Created, img.Architecture, img.Variant, img.OS, img.Size,
		imageConfigView{c.User, c.ExposedPorts, orEmpty(c.Env), c.Cmd, c.Healthcheck, c.Volumes, c.WorkingDir, c.Entrypoint, c.Labels, c.StopSignal, c.Shell},
		img.Layers}, nil
}

// orEmpty is [] in JSON where null would be; scripts loop over it.
func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}
