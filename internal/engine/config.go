package engine

import (
	"errors"
	"io/fs"
	"path/filepath"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/linux"
	"github.com/rc-containers/rc/internal/stage/start"
	"github.com/rc-containers/rc/internal/trace"
)

// LoadConfig reads config.json: what the shim of a container's first start was
// told, with the changes of `rc update`.
func (e *Engine) LoadConfig(id string) (*start.Config, error) {
	defer trace.Begin("load config.json").End()
	op := "read the configuration of container " + shortID(id)
	data, err := linux.ReadFile(filepath.Join(e.Store.ContainerDir(id), "config.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, hint.New(op, hint.Cause(err), "it was made by an older rc: make it again with `rc run`")
	}
	if err != nil {
		return nil, hint.New(op, hint.Cause(err), "")
	}
	c, err := start.Stored(data, e.Store.Root)
	if err != nil {
		return nil, hint.New(op, err, "make the container again with `rc run`")
	}
	if c.Spec == nil || c.Spec.Process == nil || c.Spec.Linux == nil || c.ID != id {
		return nil, hint.Newf(op, "make the container again with `rc run`", "it is not whole")
	}
	return c, nil
}
