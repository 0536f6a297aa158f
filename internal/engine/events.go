package engine

import (
	"slices"
	"strings"
	"time"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/logs"
	"github.com/rc-containers/rc/internal/record"
)

// EventsQuery is what `rc events` was asked for.
type EventsQuery struct {
	Since, Until time.Time // zero: from now on; without end
	Filters      map[string][]string
	Each         func(*record.Event) error
	Idle         func() error // before it waits: what was kept back is to be shown
}

// Events passes on what has happened since Since and what happens, until Until.
func (e *Engine) Events(q EventsQuery) error {
	if err := checkEventFilters(q.Filters); err != nil {
		return err
	}
	w := logs.Watch(e.Store.Root) // before the first look, so that nothing is missed
	defer w.Close()
	r, err := e.Store.ReadEvents(!q.Since.IsZero() || !q.Until.IsZero())
	if err != nil {
		return hint.New("read the events", hint.Cause(err), "").WithCode(1)
	}
	defer r.Close()
	for {
		over := !q.Until.IsZero() && !time.Now().Before(q.Until) // before the last look
		err := r.Next(func(ev *record.Event) error {
			if q.wants(ev) {
				return q.Each(ev)
			}
			return nil
		})
		if err != nil {
			return err
		}
		if err := q.Idle(); err != nil || over {
			return err
		}
		if r.Lost {
			e.Warn("some events are lost: they were removed before they could be read, because this reader was stopped or too slow")
			r.Lost = false
		}
		wait := 10 * time.Second // inotify(7) tells of everything, but for an NFS server's other clients
		if !q.Until.IsZero() {
			wait = min(wait, max(0, time.Until(q.Until)))
		}
		w.Wait(wait)
	}
}

// wants applies the bounds and the filters: values of one key are alternatives,
// labels and different keys must all hold (moby, daemon/events/filter.go).
func (q *EventsQuery) wants(ev *record.Event) bool {
	at := time.Unix(0, ev.TimeNano)
	if !q.Since.IsZero() && at.Before(q.Since) || !q.Until.IsZero() && at.After(q.Until) {
		return false
	}
	for key, values := range q.Filters {
		match := func(v string) bool { return eventFilters[key](ev, v) }
		if key == "label" {
			if slices.ContainsFunc(values, func(v string) bool { return !match(v) }) {
				return false
			}
		} else if !slices.ContainsFunc(values, match) {
			return false
		}
	}
	return true
}

// eventFilters are Docker's keys. Objects are found by name, by id, and by the
// beginning of either.
var eventFilters = map[string]func(ev *record.Event, value string) bool{
	"type":      func(ev *record.Event, v string) bool { return ev.Type == v },
	"event":     func(ev *record.Event, v string) bool { return matchAction(ev.Action, v) },
	"scope":     func(ev *record.Event, v string) bool { return v == "local" },
	"label":     matchLabel,
	"image":     matchImage,
	"container": func(ev *record.Event, v string) bool { return matchObject(ev, "container", v) },
	"volume":    func(ev *record.Event, v string) bool { return matchObject(ev, "volume", v) },
	"network":   func(ev *record.Event, v string) bool { return matchObject(ev, "network", v) },
}

func checkEventFilters(filters map[string][]string) error {
	for key, values := range filters {
		switch {
		case slices.Contains([]string{"daemon", "plugin", "config", "secret", "node", "service"}, key):
			return hint.Newf("--filter "+key+"="+values[0], "leave it out", "rc has nothing of that kind, so there are no such events").WithCode(1)
		case eventFilters[key] == nil:
			return hint.Newf("--filter "+key+"="+values[0], "filter by type, event, container, image, label, volume or network", "no such filter").WithCode(1)
		}
	}
	return nil
}

func matchObject(ev *record.Event, kind, v string) bool {
	return ev.Type == kind && (strings.HasPrefix(ev.Actor.ID, v) || strings.HasPrefix(ev.Actor.Attributes["name"], v))
}

// matchAction: some actions carry a text after a colon, as in
// "health_status: healthy" and "exec_start: sh".
func matchAction(action, v string) bool {
	return action == v || strings.HasPrefix(action, v+":")
}

func matchLabel(ev *record.Event, v string) bool {
	key, value, hasValue := strings.Cut(v, "=")
	got, ok := ev.Actor.Attributes[key]
	return ok && (!hasValue || got == value)
}

// matchImage takes an image's id or name, with and without its tag, also of the
// containers that were made from it.
func matchImage(ev *record.Event, v string) bool {
	name := ev.Actor.Attributes["image"]
	if ev.Type == "image" {
		if name = ev.Actor.Attributes["name"]; ev.Actor.ID == v {
			return true
		}
	}
	return name == v || untagged(name) == v
}

func untagged(ref string) string {
	ref, _, _ = strings.Cut(ref, "@")
	if colon := strings.LastIndexByte(ref, ':'); colon > strings.LastIndexByte(ref, '/') {
		return ref[:colon]
	}
	return ref
}
