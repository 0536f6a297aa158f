package engine

import (
	"maps"

	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/trace"
)

// event tells `rc events` what rc itself did to a container. A verb does not fail
// because its event could not be written (a full disk).
func (e *Engine) event(c *record.Container, action string, more map[string]string) {
	e.events(c, more, action)
}

// events is event of several that come with one another.
func (e *Engine) events(c *record.Container, more map[string]string, actions ...string) {
	defer trace.Begin("write an event").End()
	attrs := maps.Clone(c.Labels)
	if attrs == nil {
		attrs = map[string]string{}
	}
	attrs["name"], attrs["image"] = c.Name, c.ImageName
	maps.Copy(attrs, more)
	var list []*record.Event
	for _, action := range actions {
		list = append(list, &record.Event{Type: "container", Action: action, Actor: record.Actor{ID: c.ID, Attributes: attrs}})
	}
	_ = e.Store.AppendEvents(list...)
}
