package engine

import (
	"maps"

	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/trace"
)

// event tells `rc events` what rc itself did to a container. A verb does not fail
// because its event could not be written (a full disk).
func (e *Engine) event(c *record.Container, action string, more map[string]string) {
	defer trace.Begin("write an event").End()
	attrs := maps.Clone(c.Labels)
	if attrs == nil {
		attrs = map[string]string{}
	}
	attrs["name"], attrs["image"] = c.Name, c.ImageName
	maps.Copy(attrs, more)
	_ = e.Store.AppendEvent("container", action, c.ID, attrs)
}
