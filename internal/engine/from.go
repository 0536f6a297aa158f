package engine

import (
	"path/filepath"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/spec"
)

// volumesFrom looks up what the containers of --volumes-from mount; they need not
// run.
func (e *Engine) volumesFrom(values []string) ([]spec.From, error) {
	var list []spec.From
	for _, value := range values {
		name, _, err := spec.ParseFrom(value)
		if err != nil {
			return nil, err
		}
		op := "--volumes-from " + value
		id, err := e.Store.FindContainer(name)
		if err != nil {
			return nil, hint.New(op, record.ErrNoContainer, "see `rc ps -a`")
		}
		cfg, err := e.LoadConfig(id)
		if err != nil {
			return nil, hint.New(op, hint.Reason(err), fixOf(err))
		}
		f := spec.From{Value: value}
		for i, m := range cfg.Spec.Mounts {
			if m.Type == "bind" && i != cfg.ShmMount && !e.ownMount(id, &m) {
				f.Mounts = append(f.Mounts, e.sharedMount(m))
			}
		}
		list = append(list, f)
	}
	return list, nil
}

// ownMount tells whether rc itself mounts this in a container: its resolver files,
// a device, what stands in for /proc or /sys.
func (e *Engine) ownMount(id string, m *specs.Mount) bool {
	if filepath.Dir(m.Source) == e.Store.ContainerDir(id) {
		return true
	}
	return m.Source == m.Destination && (strings.HasPrefix(m.Source, "/dev/") || m.Source == "/proc" || m.Source == "/sys")
}

// sharedMount tells a volume from a folder of the host.
func (e *Engine) sharedMount(m specs.Mount) spec.FromMount {
	rel, err := filepath.Rel(e.Store.Path("volumes"), m.Source)
	if err != nil || !filepath.IsLocal(rel) {
		return spec.FromMount{Mount: m}
	}
	parts := strings.SplitN(rel, "/", 3) // NAME/_data/SUBPATH
	fm := spec.FromMount{Volume: parts[0], Mount: m}
	if len(parts) == 3 {
		fm.Subpath = parts[2]
	}
	return fm
}
