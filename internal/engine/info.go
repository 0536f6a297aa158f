package engine

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/fuse"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/host"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/stage/start"
	"github.com/rc-containers/rc/internal/version"
	"github.com/rc-containers/rc/userns"
)

// CheckDriver refuses an unknown forced driver before anything is done.
func (e *Engine) CheckDriver() error {
	if e.Driver == "" {
		return nil
	}
	for _, d := range fuse.Drivers {
		if string(d) == e.Driver {
			return nil
		}
	}
	return hint.Newf("storage driver "+e.Driver, fmt.Sprintf("choose one of %v", fuse.Drivers), "no such driver")
}

// Info is what `rc info` shows.
type Info struct {
	Version    string
	Root       string
	Runtime    string
	Containers int
	Running    int
	Paused     int
	Stopped    int // all the others
	Images     int
	Driver     string // that a container would get now
	Cgroup     CgroupInfo
	Mapping    userns.Mapping
	Host       []host.Finding
}

// CgroupInfo is where limits of new containers would stand; Path is "" where
// nothing is delegated to us.
type CgroupInfo struct {
	Path        string
	How         string
	Controllers []string
}

// Info tries every feature of the host that rc uses.
func (e *Engine) Info() (*Info, error) {
	i := &Info{Version: version.Version, Root: e.Store.Root}
	var err error
	if i.Runtime, err = e.Store.Runtime(); err != nil {
		return nil, err
	}
	list, err := e.List()
	if err != nil {
		return nil, err
	}
	i.Containers = len(list)
	for _, c := range list {
		switch {
		case c.Alive && c.State.Status == record.Paused:
			i.Paused++
		case c.Running():
			i.Running++
		default:
			i.Stopped++
		}
	}
	images, err := e.Images()
	if err != nil {
		return nil, err
	}
	i.Images = len(images)
	i.Host = host.Here().All()
	i.Host = append(i.Host, e.cgroupFinding(i))
	i.Host = append(i.Host, e.storageFindings(i)...)
	return i, nil
}

func (e *Engine) cgroupFinding(i *Info) host.Finding {
	f := host.Finding{Name: "delegated cgroup"}
	subtree, err := e.subtree()
	if err != nil {
		var h *hint.Error
		if errors.As(err, &h) {
			f.Evidence, f.Fix = h.Op+": "+h.Err.Error(), h.Fix
		} else {
			f.Evidence = err.Error()
		}
		return f
	}
	f.OK = true
	i.Cgroup = CgroupInfo{subtree.Path, subtree.How, subtree.Controllers}
	f.Evidence = fmt.Sprintf("%s (%s), controllers: %s", subtree.Path, subtree.How, strings.Join(subtree.Controllers, " "))
	return f
}

// storageFindings tries the drivers in U0, on the store's own file system.
func (e *Engine) storageFindings(i *Info) []host.Finding {
	failed := func(err error) []host.Finding {
		return []host.Finding{{Name: "root file systems", Evidence: err.Error()}}
	}
	h, err := e.enter()
	if err != nil {
		return failed(err)
	}
	i.Mapping = h.mapping
	conn, proc, err := e.converse(h, "rc-probe", &start.ProbeConfig{Dir: e.Store.Root}, nil, &userns.Program{})
	if err != nil {
		return failed(err)
	}
	defer conn.Close()
	defer proc.Close()
	var r start.ProbeReply
	files, err := conn.Recv(&r)
	stage.CloseFiles(files)
	_, _ = proc.Wait()
	if err != nil {
		return failed(err)
	}
	if r.Fail != nil {
		return failed(r.Fail.Error())
	}
	var out []host.Finding
	for _, f := range r.Findings {
		if f.OK && i.Driver == "" {
			i.Driver = string(f.Driver)
		}
		out = append(out, host.Finding{Name: "storage " + string(f.Driver), OK: f.OK, Evidence: f.Why})
	}
	if e.Driver != "" {
		i.Driver = e.Driver + " (forced)"
	}
	return out
}

// Unshare runs a command of the user's own as root of U0.
func (e *Engine) Unshare(args []string) (int, error) {
	h, err := e.enter()
	if err != nil {
		return 0, err
	}
	signal.Ignore(unix.SIGINT, unix.SIGQUIT) // the terminal sends them to the command, too
	conn, proc, err := e.converse(h, "rc-unshare", &start.UnshareConfig{Args: args, Env: os.Environ(), Dir: workingDir()}, nil,
		&userns.Program{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Env: []string{}})
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	var m start.Message
	if files, err := conn.Recv(&m); err == nil { // end of file: the command runs
		stage.CloseFiles(files)
		_, _ = proc.Wait()
		if m.Fail != nil {
			return 0, m.Fail.Error()
		}
	}
	ws, err := proc.Wait()
	if err != nil {
		return 0, err
	}
	if ws.Signaled() {
		return 128 + int(ws.Signal()), nil
	}
	return ws.ExitStatus(), nil
}
