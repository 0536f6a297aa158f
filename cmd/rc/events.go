package main

import (
	"bufio"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/rc-containers/rc/internal/engine"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
)

type eventsOptions struct {
	since, until, format string
	filter               []string
}

func eventsCommand() *command {
	o := &eventsOptions{}
	return &command{
		name: "events", short: "Show what happens to containers, images and volumes",
		long: `It goes on until it is interrupted, or until the time of --until. What has happened
already is shown with --since or --until.

TIME is 10m or 1h30m ago, 2024-01-02T15:04:05Z (the zone may be left out), or
seconds of the Unix epoch.`,
		examples: []string{"rc events --since 1h --until 0s", "rc events --filter container=web --filter event=die", "rc events --format json"},
		flags: func(fs *pflag.FlagSet) {
			fs.StringVar(&o.since, "since", "", "begin with what has happened since this `TIME`")
			fs.StringVar(&o.until, "until", "", "end at this `TIME`")
			fs.StringArrayVarP(&o.filter, "filter", "f", nil, "show what passes `KEY=VALUE`: type, event, container, image, label, volume, network")
			fs.StringVar(&o.format, "format", "", "print as json, or by this `TEMPLATE` of Go: {{.Time}} {{.Type}} {{.Action}} {{.Actor.ID}}")
		},
		run: o.run,
	}
}

func (o *eventsOptions) run(g *global, args []string) (int, error) {
	if err := noArgs("events", args); err != nil {
		return 0, err
	}
	q := engine.EventsQuery{Filters: map[string][]string{}}
	for _, f := range o.filter {
		key, value, ok := strings.Cut(f, "=")
		if !ok {
			return 0, hint.Newf("--filter "+f, "write KEY=VALUE, as in type=container", "not a key and a value")
		}
		key = strings.ToLower(strings.TrimSpace(key))
		q.Filters[key] = append(q.Filters[key], strings.TrimSpace(value))
	}
	var err error
	if q.Since, q.Until, err = parseSpan(o.since, o.until); err != nil {
		return 0, err
	}
	e, err := g.open()
	if err != nil {
		return 0, err
	}
	defer e.Close()
	done, err := o.printer(g, e, &q)
	if err != nil {
		return 0, err
	}
	if err := e.Events(q); err != nil {
		return 0, err
	}
	return 0, done()
}

// printer fills in how the events are shown; done ends it.
func (o *eventsOptions) printer(g *global, e *engine.Engine, q *engine.EventsQuery) (done func() error, err error) {
	out := bufio.NewWriter(os.Stdout)
	q.Idle = out.Flush
	switch o.format {
	case "":
		q.Each = func(ev *record.Event) error {
			_, err := out.WriteString(eventText(ev) + "\n")
			return err
		}
	case "json", "{{json .}}":
		enc := newEncoder(out)
		q.Each = func(ev *record.Event) error { return enc.Encode(eventObject(ev)) }
	default:
		f, err := g.formatted(e, o.format, nil)
		if err != nil {
			return nil, err
		}
		q.Each = func(ev *record.Event) error { return f.print(eventFields(eventObject(ev))) }
		q.Idle = f.flush
		return f.close, nil
	}
	return out.Flush, nil
}

// eventText is Docker's line (docker/cli, command/system/events.go).
func eventText(ev *record.Event) string {
	at := time.Unix(0, ev.TimeNano).Format("2006-01-02T15:04:05.000000000Z07:00")
	text := at + " " + ev.Type + " " + ev.Action + " " + ev.Actor.ID
	if len(ev.Actor.Attributes) > 0 {
		var pairs []string
		for _, key := range slices.Sorted(maps.Keys(ev.Actor.Attributes)) {
			pairs = append(pairs, fmt.Sprintf("%s=%s", key, ev.Actor.Attributes[key]))
		}
		text += " (" + strings.Join(pairs, ", ") + ")"
	}
	return strings.Map(printable, text)
}

// eventJSON is Docker's object (moby, api/types/events: Message); the first three
// are its older names for the same.
type eventJSON struct {
	Status   string `json:"status,omitempty"`
	ID       string `json:"id,omitempty"`
	From     string `json:"from,omitempty"`
	Type     string
	Action   string
	Actor    eventActor
	Scope    string `json:"scope"`
	Time     int64  `json:"time"`
	TimeNano int64  `json:"timeNano"`
}

type eventActor struct {
	ID         string
	Attributes map[string]string
}

func eventObject(ev *record.Event) eventJSON {
	o := eventJSON{Type: ev.Type, Action: ev.Action, Actor: eventActor(ev.Actor), Scope: "local", Time: ev.Time, TimeNano: ev.TimeNano}
	if o.Actor.Attributes == nil {
		o.Actor.Attributes = map[string]string{}
	}
	switch ev.Type {
	case "container":
		o.Status, o.ID, o.From = ev.Action, ev.Actor.ID, ev.Actor.Attributes["image"]
	case "image":
		o.Status, o.ID = ev.Action, ev.Actor.ID
	}
	return o
}

// eventFields has the names of Go's fields, which templates use.
type eventFields struct {
	Status, ID, From string
	Type, Action     string
	Actor            eventActor
	Scope            string
	Time, TimeNano   int64
}
