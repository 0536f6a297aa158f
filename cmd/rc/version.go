package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/engine"
	"github.com/rc-containers/rc/internal/version"
)

// versionView has those fields of `docker version --format` that make sense
// without a server; Server is the same program.
type versionView struct {
	Client versionSide
	Server versionSide
}

type versionSide struct {
	Version   string
	GoVersion string
	Os        string
	Arch      string
}

func versionCommand() *command {
	var format string
	return &command{
		name: "version", short: "Print the version",
		examples: []string{"rc version", "rc version --format '{{.Server.Version}}'"},
		flags: func(fs *pflag.FlagSet) {
			fs.StringVarP(&format, "format", "f", "", "print in this `FORMAT`: json, or a Go template")
		},
		run: func(g *global, args []string) (int, error) {
			if err := noArgs("version", args); err != nil {
				return 0, err
			}
			if format == "" {
				fmt.Fprintln(stdout, "rc "+version.Version)
				return 0, nil
			}
			f, err := g.formatted(nil, format, nil)
			if err != nil {
				return 0, err
			}
			side := versionSide{version.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH}
			_ = f.print(&versionView{side, side}) // close knows why
			return 0, f.close()
		},
	}
}

// infoView is rc's own facts with those of `docker info` that scripts ask for.
type infoView struct {
	*engine.Info
	ServerVersion     string
	ContainersRunning int
	ContainersPaused  int
	ContainersStopped int
	DockerRootDir     string
	OSType            string
	Architecture      string
	KernelVersion     string
	OperatingSystem   string
	Name              string
	NCPU              int
	MemTotal          uint64 // bytes
	CgroupDriver      string // cgroupfs, or none where nothing is delegated
	CgroupVersion     string
	MemoryLimit       bool
	SwapLimit         bool
	PidsLimit         bool
	CPUShares         bool
	CPUSet            bool
	CPUCfsQuota       bool `json:"CpuCfsQuota"`
	LoggingDriver     string
	DefaultRuntime    string
	SecurityOptions   []string
	Warnings          []string
}

func newInfoView(i *engine.Info) *infoView {
	v := &infoView{
		Info: i, ServerVersion: i.Version, ContainersRunning: i.Running, ContainersPaused: i.Paused, ContainersStopped: i.Stopped, DockerRootDir: i.Root,
		OSType: runtime.GOOS, Architecture: runtime.GOARCH, OperatingSystem: osName(), NCPU: runtime.NumCPU(), MemTotal: engine.HostMemory(),
		CgroupDriver: "none", CgroupVersion: "2", LoggingDriver: "json-file", DefaultRuntime: "rc",
		SecurityOptions: []string{"name=seccomp,profile=builtin", "name=rootless", "name=cgroupns"}, Warnings: []string{},
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		v.Architecture, v.KernelVersion, v.Name = unix.ByteSliceToString(u.Machine[:]), unix.ByteSliceToString(u.Release[:]), unix.ByteSliceToString(u.Nodename[:])
	}
	if i.Cgroup.Path != "" {
		v.CgroupDriver = "cgroupfs"
	}
	for _, c := range i.Cgroup.Controllers {
		switch c {
		case "memory":
			v.MemoryLimit, v.SwapLimit = true, true
		case "pids":
			v.PidsLimit = true
		case "cpu":
			v.CPUShares, v.CPUCfsQuota = true, true
		case "cpuset":
			v.CPUSet = true
		}
	}
	for _, f := range i.Host {
		if !f.OK {
			v.Warnings = append(v.Warnings, "no "+f.Name+": "+f.Evidence)
		}
	}
	return v
}

// osName is PRETTY_NAME of os-release(5).
func osName() string {
	for _, path := range []string{"/etc/os-release", "/usr/lib/os-release"} {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			if name, ok := strings.CutPrefix(strings.TrimSpace(line), "PRETTY_NAME="); ok {
				return strings.Trim(name, `"'`)
			}
		}
	}
	return ""
}
