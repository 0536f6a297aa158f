package engine

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
)

func TestEventFilters(t *testing.T) {
	start := &record.Event{Type: "container", Action: "start", Actor: record.Actor{ID: "abc123",
		Attributes: map[string]string{"name": "web", "image": "docker.io/library/alpine:3", "k": "v", "empty": ""}}}
	pull := &record.Event{Type: "image", Action: "pull", Actor: record.Actor{ID: "sha256:1", Attributes: map[string]string{"name": "localhost:5000/x"}}}
	health := &record.Event{Type: "container", Action: "health_status: healthy", Actor: record.Actor{ID: "abc123"}}
	volume := &record.Event{Type: "volume", Action: "create", Actor: record.Actor{ID: "data"}}
	for _, c := range []struct {
		filters string // key=value;key=value
		want    []*record.Event
	}{
		{"", []*record.Event{start, pull, health, volume}},
		{"type=container", []*record.Event{start, health}},
		{"type=container;type=image", []*record.Event{start, pull, health}},
		{"event=start;event=pull", []*record.Event{start, pull}},
		{"event=health_status", []*record.Event{health}},
		{"event=health_status: healthy", []*record.Event{health}},
		{"event=health", nil},
		{"container=web", []*record.Event{start}},
		{"container=abc", []*record.Event{start, health}},
		{"container=abc;event=start", []*record.Event{start}},
		{"container=data", nil},
		{"volume=data", []*record.Event{volume}},
		{"network=data", nil},
		{"image=docker.io/library/alpine", []*record.Event{start}},
		{"image=docker.io/library/alpine:3", []*record.Event{start}},
		{"image=docker.io/library/alpine:4", nil},
		{"image=localhost:5000/x", []*record.Event{pull}},
		{"image=localhost", nil},
		{"image=sha256:1", []*record.Event{pull}},
		{"label=k", []*record.Event{start}},
		{"label=k=v;label=empty=", []*record.Event{start}},
		{"label=k=w", nil},
		{"label=k;label=none", nil},
		{"scope=local", []*record.Event{start, pull, health, volume}},
		{"scope=swarm", nil},
	} {
		q := EventsQuery{Filters: map[string][]string{}}
		for f := range strings.FieldsFuncSeq(c.filters, func(r rune) bool { return r == ';' }) {
			key, value, _ := strings.Cut(f, "=")
			q.Filters[key] = append(q.Filters[key], value)
		}
		var got []*record.Event
		for _, ev := range []*record.Event{start, pull, health, volume} {
			if q.wants(ev) {
				got = append(got, ev)
			}
		}
		if len(got) != len(c.want) {
			t.Errorf("%s: %d events, want %d", c.filters, len(got), len(c.want))
			continue
		}
		for i := range got {
			if got[i] != c.want[i] {
				t.Errorf("%s: %v", c.filters, got[i])
			}
		}
	}
	for _, key := range []string{"daemon", "plugin", "config", "secret", "node", "service", "nonsense"} {
		if err := checkEventFilters(map[string][]string{key: {"x"}}); hint.ExitCode(err) != 1 || !strings.Contains(err.Error(), "--filter "+key+"=x") {
			t.Errorf("%v", err)
		}
	}
}

func TestEvents(t *testing.T) {
	store, err := record.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	e := &Engine{Store: store, Warn: func(s string) { t.Error(s) }}
	begin := time.Now()
	add := func(action string) {
		if err := store.AppendEvent("container", action, "id", nil); err != nil {
			t.Error(err)
		}
	}
	add("create")
	collect := func(q EventsQuery) string {
		var got []string
		q.Each = func(ev *record.Event) error { got = append(got, ev.Action); return nil }
		q.Idle = func() error { return nil }
		if err := e.Events(q); err != nil {
			t.Fatal(err)
		}
		return strings.Join(got, " ")
	}
	if got := collect(EventsQuery{Since: begin, Until: time.Now()}); got != "create" {
		t.Errorf("%q", got)
	}
	time.AfterFunc(100*time.Millisecond, func() { add("start"); add("die") })
	if got := collect(EventsQuery{Since: begin, Until: time.Now().Add(time.Second), Filters: map[string][]string{"event": {"create", "die"}}}); got != "create die" {
		t.Errorf("%q", got)
	}
	// Without bounds: from now on, without end.
	stop := errors.New("enough")
	time.AfterFunc(100*time.Millisecond, func() { add("late") })
	err = e.Events(EventsQuery{Idle: func() error { return nil }, Each: func(ev *record.Event) error {
		if ev.Action != "late" {
			t.Errorf("%q has been before", ev.Action)
		}
		return stop
	}})
	if !errors.Is(err, stop) {
		t.Errorf("%v", err)
	}
}
