package main

import (
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rc-containers/rc/internal/engine"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
)

// imageTest says whether an image passes, under one of its names.
type imageTest func(img *record.Image, name string) bool

// imageFilters are Docker's of `docker images` (moby, daemon/images/images.go).
var imageFilters = map[string]func(e *engine.Engine, values []string) (imageTest, error){
	"dangling": func(_ *engine.Engine, v []string) (imageTest, error) {
		want, err := strconv.ParseBool(v[len(v)-1])
		if err != nil {
			return nil, invalid("dangling", v[len(v)-1], "true or false")
		}
		return func(_ *record.Image, name string) bool { return (name == "") == want }, nil
	},
	"label": func(_ *engine.Engine, v []string) (imageTest, error) {
		return func(img *record.Image, _ string) bool {
			return !slices.ContainsFunc(v, func(want string) bool { return !hasLabel(img.Config.Labels, want) })
		}, nil
	},
	"label!": func(_ *engine.Engine, v []string) (imageTest, error) {
		return func(img *record.Image, _ string) bool {
			return !slices.ContainsFunc(v, func(want string) bool { return hasLabel(img.Config.Labels, want) })
		}, nil
	},
	"reference": func(_ *engine.Engine, v []string) (imageTest, error) {
		return func(_ *record.Image, name string) bool {
			ref, err := record.ParseRef(name)
			return name != "" && err == nil && slices.ContainsFunc(v, func(pattern string) bool { return matchesRef(pattern, ref) })
		}, nil
	},
	"before": func(e *engine.Engine, v []string) (imageTest, error) {
		return besideImage(e, v[len(v)-1], time.Time.Before)
	},
	"since": func(e *engine.Engine, v []string) (imageTest, error) {
		return besideImage(e, v[len(v)-1], time.Time.After)
	},
	"until": func(_ *engine.Engine, v []string) (imageTest, error) {
		at, err := until(v[len(v)-1], time.Now())
		return func(img *record.Image, _ string) bool { return img.Created.Before(at) }, err
	},
}

func (f *filters) imageMatcher(e *engine.Engine) (imageTest, error) {
	var tests []imageTest
	for _, key := range f.keys {
		build, ok := imageFilters[key]
		if !ok {
			return nil, hint.Newf("--filter "+key+"="+f.values[key][0], "choose "+strings.Join(slices.Sorted(maps.Keys(imageFilters)), ", "),
				"invalid filter '%s'", key).WithCode(1)
		}
		t, err := build(e, f.values[key])
		if err != nil {
			return nil, err
		}
		tests = append(tests, t)
	}
	return func(img *record.Image, name string) bool {
		return !slices.ContainsFunc(tests, func(t imageTest) bool { return !t(img, name) })
	}, nil
}

// matchesRef compares a pattern of path.Match with the repository, with it and the
// tag, and with the name in full (distribution/reference, FamiliarMatch).
func matchesRef(pattern string, ref record.Ref) bool {
	for _, name := range []string{ref.Repository(), ref.Familiar(), ref.Name, ref.String()} {
		if ok, _ := path.Match(pattern, name); ok {
			return true
		}
	}
	return false
}

func besideImage(e *engine.Engine, ref string, cmp func(a, b time.Time) bool) (imageTest, error) {
	at, err := e.Store.Image(ref)
	if err != nil {
		return nil, err
	}
	return func(img *record.Image, _ string) bool { return cmp(img.Created, at.Created) }, nil
}

// until reads a point in time: RFC 3339, a date, seconds of the epoch, or an age as
// in 24h (moby, api/types/time: GetTimestamp).
func until(value string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(value); err == nil {
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, value, time.Local); err == nil {
			return t, nil
		}
	}
	if n, err := strconv.ParseInt(value, 10, 64); err == nil {
		return time.Unix(n, 0), nil
	}
	return time.Time{}, invalid("until", value, "an age as 24h, a date as 2026-01-31, or seconds of the epoch")
}
