package main

import (
	"strings"
	"testing"
	"time"

	"github.com/rc-containers/rc/internal/record"
)

// names of the containers of shelf that filters let through, newest first.
func filtered(t *testing.T, filter ...string) string {
	t.Helper()
	args := []string{"ps", "-a", "--format", "{{.Names}}"}
	for _, f := range filter {
		args = append(args, "--filter", f)
	}
	o := rc(t, args...)
	if o.code != 0 || o.stderr != "" {
		t.Errorf("%v: %+v", filter, o)
	}
	return strings.Join(strings.Fields(o.stdout), " ")
}

func TestFilters(t *testing.T) {
	shelf(t)
	for filter, want := range map[string]string{
		"name=web": "web", "name=/web": "web", "name=^w.b$": "web", "name=e": "web", "name=(": "", "id=abc123": "web", "id=" + jobID: "job", "id=9": "",
		"label=a": "web", "label=a=1": "web", "label=a=2": "", "label!=a": "job far", "label=a label=b=2": "web", "label=a label=zz": "",
		"status=exited": "web job", "status=running": "far", "status=paused": "", "status=exited status=running": "web job far",
		"exited=3": "web", "exited=0": "", "exited=-1": "job", "exited=3 exited=-1": "web job", "exited=3 name=job": "",
		"ancestor=alpine": "web", "ancestor=" + imgID[:10]: "web", "ancestor=nosuch": "",
		"before=web": "job far", "since=job": "web", "since=far before=web": "job", "before=" + farID[:5]: "",
		"publish=8080": "web", "publish=8000-9000/tcp": "web", "publish=8080/udp": "", "expose=80": "web", "expose=81": "",
		"network=bridge": "", "network=slirp4netns": "web", "network=none": "", "health=none": "web job far", "health=healthy": "",
		"restart-policy=no": "web job far", "restart-policy=always": "", "is-task=false": "web job far", "is-task=true": "",
		"volume=data": "", "isolation=default": "web job far", "NAME = web": "web",
	} {
		var list []string
		if strings.Contains(filter, " = ") {
			list = []string{filter}
		} else {
			list = strings.Fields(filter)
		}
		if got := filtered(t, list...); got != want {
			t.Errorf("%s: %q, want %q", filter, got, want)
		}
	}
}

func TestFilterRefusals(t *testing.T) {
	shelf(t)
	for filter, c := range map[string]struct {
		code int
		says string
	}{
		"nosuch=1":      {1, "invalid filter 'nosuch'"},
		"nothing":       {125, "bad format of filter (expected name=value)"},
		"status=asleep": {1, "invalid filter 'status=asleep'"},
		"health=well":   {1, "invalid filter 'health=well'"},
		"exited=x":      {1, "invalid filter 'exited=x'"},
		"publish=a":     {1, "invalid filter 'publish=a'"},
		"expose=9-1":    {1, "invalid filter 'expose=9-1'"},
		"is-task=maybe": {1, "invalid filter 'is-task=maybe'"},
		"before=nobody": {1, "no such container"},
	} {
		o := rc(t, "ps", "--filter", filter)
		if o.code != c.code || !strings.Contains(o.stderr, c.says) || strings.Count(o.stderr, "\n") != 1 || o.stdout != "" {
			t.Errorf("%s: %+v", filter, o)
		}
	}
}

func TestPsLast(t *testing.T) {
	shelf(t)
	for flags, want := range map[string]string{
		"-n 1": "web", "-n 2": "web job", "-l": "web", "--last 9": "web job far", "-n 0": "", "-n 1 --filter name=job": "job", "": "", "-l -n 2": "web job",
	} {
		o := rc(t, append([]string{"ps", "--format", "{{.Names}}"}, strings.Fields(flags)...)...)
		if got := strings.Join(strings.Fields(o.stdout), " "); got != want || o.code != 0 {
			t.Errorf("%q: %+v", flags, o)
		}
	}
}

func TestImageFilters(t *testing.T) {
	s := shelf(t)
	other := strings.Repeat("77", 32)
	must(t, s.SaveImage(&record.Image{ID: other, Created: time.Now(), Size: 5, Layers: []string{"/m", "/l"},
		Config: record.ImageConfig{Labels: map[string]string{"stage": "2"}}}))
	for filter, want := range map[string]string{
		"dangling=true": other[:12], "dangling=false": imgID[:12], "label=stage": other[:12], "label=stage=3": "", "label!=stage": imgID[:12],
		"reference=alp*": imgID[:12], "reference=alpine:latest": imgID[:12], "reference=docker.io/library/*": imgID[:12], "reference=x": "",
		"before=" + other: imgID[:12], "since=alpine": other[:12], "until=24h": imgID[:12], "until=2001-01-01": "",
	} {
		o := rc(t, "images", "-q", "--filter", filter)
		if got := strings.Join(strings.Fields(o.stdout), " "); got != want || o.code != 0 {
			t.Errorf("%s: %+v, want %q", filter, o, want)
		}
	}
	for _, wrong := range []string{"nosuch=1", "dangling=x", "until=soon", "before=nosuch"} {
		if o := rc(t, "images", "--filter", wrong); o.code == 0 || strings.Count(o.stderr, "\n") != 1 {
			t.Errorf("%s: %+v", wrong, o)
		}
	}
	// A container of an image that is made from another is found by that one, too.
	must(t, s.SetName("docker.io/library/derived:latest", other))
	c, err := s.LoadContainer(jobID)
	must(t, err)
	c.Image, c.ImageName = other, "derived"
	must(t, s.SaveContainer(c))
	if got := filtered(t, "ancestor=alpine"); got != "web job" {
		t.Errorf("%q", got)
	}
	if got := filtered(t, "ancestor=derived"); got != "job" {
		t.Errorf("%q", got)
	}
}

func TestUntil(t *testing.T) {
	now := time.Date(2026, 5, 4, 3, 2, 1, 0, time.Local)
	for text, want := range map[string]time.Time{
		"24h": now.Add(-24 * time.Hour), "1h30m": now.Add(-90 * time.Minute), "2026-01-31": time.Date(2026, 1, 31, 0, 0, 0, 0, time.Local),
		"2026-01-31T10:20:30": time.Date(2026, 1, 31, 10, 20, 30, 0, time.Local), "2026-01-31T10:20:30Z": time.Date(2026, 1, 31, 10, 20, 30, 0, time.UTC),
		"1700000000": time.Unix(1700000000, 0),
	} {
		if got, err := until(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
}
