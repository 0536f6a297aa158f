package main

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/engine"
	"github.com/rc-containers/rc/internal/logs"
	"github.com/rc-containers/rc/internal/record"
)

// containerView has the fields of `docker inspect` that rc knows, in its order
// (moby, api/types/container). What may be missing is null, not left out: a
// template can ask for it.
type containerView struct {
	ID             string `json:"Id"`
	Created        time.Time
	Path           string
	Args           []string
	State          stateView
	Image          string
	Rootfs         string `json:",omitempty"` // rc's own: --rootfs
	ResolvConfPath string
	HostnamePath   string
	HostsPath      string
	LogPath        string
	Name           string
	RestartCount   int
	Driver         string
	Platform       string
	HostConfig     hostConfigView
	GraphDriver    graphDriverView
	SizeRw         *int64 `json:",omitempty"`
	SizeRootFs     *int64 `json:",omitempty"`
	Mounts         []mountView
	Config         configView
	Network        networkView `json:"NetworkSettings"`
}

type stateView struct {
	Status     string
	Running    bool
	Paused     bool
	Restarting bool
	OOMKilled  bool
	Dead       bool
	Pid        int
	ExitCode   int
	Error      string
	StartedAt  time.Time
	FinishedAt time.Time
	Health     *record.Health
}

type configView struct {
	Hostname     string
	Domainname   string
	User         string
	ExposedPorts map[string]struct{}
	Tty          bool
	OpenStdin    bool
	StdinOnce    bool
	Env          []string
	Cmd          []string
	Healthcheck  *record.Healthcheck
	Image        string
	Volumes      map[string]struct{}
	WorkingDir   string
	Entrypoint   []string
	Labels       map[string]string
	StopSignal   string
	StopTimeout  int // seconds; -1 for ever
}

type graphDriverView struct {
	Name string
	Data map[string]string
}

func inspectContainer(e *engine.Engine, c *engine.Entry) *containerView {
	st, dir := &c.State, e.Store.ContainerDir(c.ID)
	v := &containerView{
		ID: c.ID, Created: c.Created, Rootfs: c.Rootfs, Name: "/" + c.Name, RestartCount: st.RestartCount, Driver: st.Driver, Platform: "linux", Args: []string{},
		ResolvConfPath: existing(dir, "resolv.conf"), HostnamePath: existing(dir, "hostname"), HostsPath: existing(dir, "hosts"), LogPath: logs.Current(filepath.Join(dir, "log")),
		State: stateView{
			Status: string(st.Status), Running: up(c), Paused: st.Status == record.Paused, Restarting: st.Status == record.Restarting,
			OOMKilled: st.OOMKilled, Pid: st.PID, ExitCode: st.ExitCode, Error: st.Error, StartedAt: st.Started, FinishedAt: st.Finished, Health: st.Health,
		},
		GraphDriver: graphDriverView{st.Driver, map[string]string{}},
		Config: configView{
			Image: c.ImageName, Cmd: c.Command, Tty: c.TTY, OpenStdin: c.Interactive, StdinOnce: c.Interactive, Healthcheck: c.Health, Env: []string{},
			Labels: c.Labels, ExposedPorts: map[string]struct{}{}, StopSignal: signalName(c.StopSignal), StopTimeout: seconds(c.StopAfter),
		},
	}
	if c.Image != "" {
		v.Image = "sha256:" + c.Image
	}
	if v.Config.Labels == nil {
		v.Config.Labels = map[string]string{}
	}
	if len(c.Command) > 0 {
		v.Path, v.Args = c.Command[0], c.Command[1:]
	}
	for _, p := range c.Ports {
		v.Config.ExposedPorts[portKey(p)] = struct{}{}
	}
	v.ofImage(e, c)
	v.Network = networkOf(e, c, v.Config.ExposedPorts)
	v.ofConfig(e, c)
	return v
}

// ofImage adds what the image says. Which part of the command line is the
// entrypoint is not in the record: it is where the image's stands at its begin.
func (v *containerView) ofImage(e *engine.Engine, c *engine.Entry) {
	if c.Image == "" {
		return
	}
	img, err := e.Store.Image(c.Image)
	if err != nil {
		return
	}
	for p := range img.Config.ExposedPorts {
		if !strings.Contains(p, "/") {
			p += "/tcp"
		}
		v.Config.ExposedPorts[p] = struct{}{}
	}
	v.Config.Volumes = img.Config.Volumes
	if n := len(img.Config.Entrypoint); n > 0 && len(c.Command) >= n && slices.Equal(c.Command[:n], img.Config.Entrypoint) {
		v.Config.Entrypoint, v.Config.Cmd = c.Command[:n], c.Command[n:]
	}
	v.GraphDriver.Data["LowerDir"] = strings.Join(img.Layers, ":")
	v.GraphDriver.Data["UpperDir"] = filepath.Join(e.Store.ContainerDir(c.ID), "upper")
	v.GraphDriver.Data["WorkDir"] = filepath.Join(e.Store.ContainerDir(c.ID), "work")
}

// ofConfig adds what only config.json knows; a container of an older rc has none.
func (v *containerView) ofConfig(e *engine.Engine, c *engine.Entry) {
	v.HostConfig = hostConfigOf(c)
	var spec *specs.Spec
	if cfg, err := e.LoadConfig(c.ID); err == nil {
		spec = cfg.Spec
		v.Config.Hostname, v.Config.Domainname = spec.Hostname, spec.Domainname
		v.Config.Env, v.Config.WorkingDir = orEmpty(spec.Process.Env), spec.Process.Cwd
		v.Config.User = spec.Process.User.Username
		v.HostConfig.ofSpec(spec)
		v.HostConfig.ofResources(cfg.Again.Resources)
		v.HostConfig.ofPlace(cfg.Again.Place)
		v.HostConfig.SecurityOpt = securityOpt(cfg.Again.Unconfined, cfg.Again.SeccompPath)
		dns := &cfg.Again.DNS
		v.HostConfig.DNS, v.HostConfig.DNSSearch, v.HostConfig.DNSOptions = orEmpty(dns.Servers), orEmpty(dns.Search), orEmpty(dns.Options)
		v.HostConfig.ExtraHosts = orEmpty(dns.AddHosts)
		v.HostConfig.Init, v.HostConfig.Privileged, v.HostConfig.GroupAdd = cfg.Inside.Init, cfg.Inside.Privileged, orEmpty(cfg.Inside.Groups)
		joined := func(name string, flag int) string {
			switch {
			case slices.Contains(cfg.Again.JoinNames, name):
				return "container:" + cfg.Again.Join
			case cfg.Clone&flag == 0:
				return "host"
			}
			return ""
		}
		v.HostConfig.PidMode, v.HostConfig.UTSMode = joined("pid", unix.CLONE_NEWPID), joined("uts", unix.CLONE_NEWUTS)
		if v.HostConfig.IpcMode = joined("ipc", unix.CLONE_NEWIPC); v.HostConfig.IpcMode == "" {
			v.HostConfig.IpcMode = "private"
		}
	}
	v.Mounts = mountViews(e, c, spec)
	for _, m := range v.Mounts {
		source := m.Source
		if m.Name != "" {
			source = m.Name
		}
		bind := source + ":" + m.Destination
		if m.Mode != "" {
			bind += ":" + m.Mode
		}
		v.HostConfig.Binds = append(v.HostConfig.Binds, bind)
	}
}

// existing is the path of a container's file, "" where it has none.
func existing(dir, name string) string {
	path := filepath.Join(dir, name)
	if _, err := os.Lstat(path); err != nil {
		return ""
	}
	return path
}

// signalName is SIGTERM, or SIGRTMIN+3: the C library's SIGRTMIN is 34 (signal(7)).
func signalName(n int) string {
	if name := unix.SignalName(unix.Signal(n)); name != "" {
		return name
	}
	if n >= 34 && n <= 64 {
		return "SIGRTMIN+" + strconv.Itoa(n-34)
	}
	return strconv.Itoa(n)
}

func seconds(d time.Duration) int {
	if d < 0 {
		return -1
	}
	return int(d.Seconds())
}
