package main

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/rc-containers/rc/internal/engine"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/slirp"
)

// filters are the values of --filter, by key, in the order given. It is the
// pflag.Value of the flag.
type filters struct {
	keys   []string
	values map[string][]string
}

func (f *filters) String() string { return "" }

// Type is what the help shows where the text names nothing.
func (f *filters) Type() string { return "KEY=VALUE" }

// Set takes one in, with Docker's words (docker/cli, opts: FilterOpt.Set).
func (f *filters) Set(value string) error {
	key, v, ok := strings.Cut(value, "=")
	if !ok && value != "" {
		return errors.New("bad format of filter (expected name=value)")
	}
	if value == "" {
		return nil
	}
	if f.values == nil {
		f.values = map[string][]string{}
	}
	key = strings.ToLower(strings.TrimSpace(key))
	if !f.names(key) {
		f.keys = append(f.keys, key)
	}
	f.values[key] = append(f.values[key], strings.TrimSpace(v))
	return nil
}

// names tells whether a key was given.
func (f *filters) names(key string) bool { _, ok := f.values[key]; return ok }

// test says whether a container passes.
type test func(*engine.Entry) bool

// psFilters make the test of a key. Values of one key are alternatives but for
// labels (moby, daemon/list.go).
var psFilters = map[string]func(s *containers, values []string) (test, error){
	"id": func(_ *containers, v []string) (test, error) {
		return anyOf(v, func(c *engine.Entry, id string) bool { return strings.HasPrefix(c.ID, id) }), nil
	},
	"name": nameFilter,
	"label": func(_ *containers, v []string) (test, error) {
		return allOf(v, func(c *engine.Entry, want string) bool { return hasLabel(c.Labels, want) }), nil
	},
	"label!": func(_ *containers, v []string) (test, error) { // podman's, and Docker's of prune
		return allOf(v, func(c *engine.Entry, want string) bool { return !hasLabel(c.Labels, want) }), nil
	},
	"status": func(_ *containers, v []string) (test, error) {
		return oneOf("status", v, []string{"created", "restarting", "running", "removing", "paused", "exited", "dead"},
			func(c *engine.Entry) string { return string(c.State.Status) })
	},
	"health": func(_ *containers, v []string) (test, error) {
		return oneOf("health", v, []string{"starting", "healthy", "unhealthy", "none"}, func(c *engine.Entry) string {
			if c.State.Health == nil || c.State.Health.Status == "" {
				return "none"
			}
			return c.State.Health.Status
		})
	},
	"restart-policy": func(_ *containers, v []string) (test, error) { // podman's
		return oneOf("restart-policy", v, []string{"no", "on-failure", "always", "unless-stopped"}, func(c *engine.Entry) string {
			if c.Restart.Name == "" {
				return "no"
			}
			return c.Restart.Name
		})
	},
	"should-start-on-boot": func(_ *containers, v []string) (test, error) { // podman's
		want, err := strconv.ParseBool(v[len(v)-1])
		if err != nil {
			return nil, invalid("should-start-on-boot", v[len(v)-1], "true or false")
		}
		return func(c *engine.Entry) bool { return c.StartsOnBoot() == want }, nil
	},
	"exited":   exitedFilter,
	"ancestor": ancestorFilter,
	"before":   func(s *containers, v []string) (test, error) { return s.beside("before", v) },
	"since":    func(s *containers, v []string) (test, error) { return s.beside("since", v) },
	"volume": func(s *containers, v []string) (test, error) {
		return func(c *engine.Entry) bool {
			return slices.ContainsFunc(s.mounts(c), func(m mountView) bool {
				return slices.Contains(v, m.Destination) || m.Name != "" && slices.Contains(v, m.Name) || m.Name == "" && slices.Contains(v, m.Source)
			})
		}, nil
	},
	"network": func(s *containers, v []string) (test, error) {
		names := slices.Clone(v)
		for i, ref := range names {
			if n, err := s.e.Store.FindNetwork(ref); err == nil {
				names[i] = n.Name // it was named by its id, perhaps
			} else if ref == "default" {
				names[i] = slirp.DefaultNetwork
			}
		}
		return anyOf(names, func(c *engine.Entry, want string) bool {
			return c.Network == want && want != slirp.DriverBridge ||
				slices.ContainsFunc(c.Networks, func(use record.NetworkUse) bool { return use.Name == want })
		}), nil
	},
	"publish": func(_ *containers, v []string) (test, error) {
		ports, err := portFilters("publish", v)
		return func(c *engine.Entry) bool {
			return slices.ContainsFunc(ports, func(p portFilter) bool { return published(c.Ports, p, true) })
		}, err
	},
	"expose": func(s *containers, v []string) (test, error) {
		ports, err := portFilters("expose", v)
		return func(c *engine.Entry) bool {
			return slices.ContainsFunc(ports, func(p portFilter) bool {
				return published(c.Ports, p, false) || slices.ContainsFunc(s.exposed(c), p.hasText)
			})
		}, err
	},
	"is-task": func(_ *containers, v []string) (test, error) { // of swarm: no container here is one
		want, err := strconv.ParseBool(v[len(v)-1])
		if err != nil {
			return nil, invalid("is-task", v[len(v)-1], "true or false")
		}
		return func(*engine.Entry) bool { return !want }, nil
	},
	"isolation": func(*containers, []string) (test, error) { // Windows has it; on Linux it changes nothing
		return func(*engine.Entry) bool { return true }, nil
	},
}

// matcher makes one test of all filters. A wrong key or value is an error.
func (f *filters) matcher(s *containers) (test, error) {
	var tests []test
	for _, key := range f.keys {
		build, ok := psFilters[key]
		if !ok {
			return nil, hint.Newf("--filter "+key+"="+f.values[key][0], "choose "+strings.Join(slices.Sorted(maps.Keys(psFilters)), ", "),
				"invalid filter '%s'", key).WithCode(1)
		}
		t, err := build(s, f.values[key])
		if err != nil {
			return nil, err
		}
		tests = append(tests, t)
	}
	return func(c *engine.Entry) bool {
		return !slices.ContainsFunc(tests, func(t test) bool { return !t(c) })
	}, nil
}

func anyOf(values []string, is func(*engine.Entry, string) bool) test {
	return func(c *engine.Entry) bool {
		return slices.ContainsFunc(values, func(v string) bool { return is(c, v) })
	}
}

func allOf(values []string, is func(*engine.Entry, string) bool) test {
	return func(c *engine.Entry) bool {
		return !slices.ContainsFunc(values, func(v string) bool { return !is(c, v) })
	}
}

func oneOf(key string, values, words []string, is func(*engine.Entry) string) (test, error) {
	for _, v := range values {
		if !slices.Contains(words, v) {
			return nil, invalid(key, v, strings.Join(words, ", "))
		}
	}
	return func(c *engine.Entry) bool { return slices.Contains(values, is(c)) }, nil
}

func invalid(key, value, words string) error {
	return hint.Newf("--filter "+key+"="+value, "choose "+words, "invalid filter '%s=%s'", key, value).WithCode(1)
}

// hasLabel tells whether labels have KEY, or KEY=VALUE.
func hasLabel(labels map[string]string, want string) bool {
	key, value, exact := strings.Cut(want, "=")
	have, ok := labels[key]
	return ok && (!exact || have == value)
}

// nameFilter matches names by regular expression, with and without the slash that
// Docker puts before them. What is no expression is compared as it is.
func nameFilter(_ *containers, values []string) (test, error) {
	var list []*regexp.Regexp
	for _, v := range values {
		list = append(list, nameExpression(v, "^/?"+regexp.QuoteMeta(v)+"$"))
	}
	return func(c *engine.Entry) bool {
		return slices.ContainsFunc(list, func(r *regexp.Regexp) bool { return r.MatchString(c.Name) || r.MatchString("/"+c.Name) })
	}, nil
}

// nameExpression is what a filter's name=WANT means, as Docker's and podman's users write
// ^app$ (moby, api/types/filters Args.Match); otherwise is for what is no expression.
func nameExpression(want, otherwise string) *regexp.Regexp {
	r, err := regexp.Compile(want)
	if err != nil {
		return regexp.MustCompile(otherwise)
	}
	return r
}

func exitedFilter(_ *containers, values []string) (test, error) {
	var codes []int
	for _, v := range values {
		code, err := strconv.Atoi(v)
		if err != nil {
			return nil, invalid("exited", v, "an exit code")
		}
		codes = append(codes, code)
	}
	return func(c *engine.Entry) bool {
		return c.State.Status == record.Exited && slices.Contains(codes, c.State.ExitCode)
	}, nil
}

// ancestorFilter finds containers of an image and of those made from it: whose
// lowest layers are all its layers.
func ancestorFilter(s *containers, values []string) (test, error) {
	var wanted []*record.Image
	for _, v := range values {
		if img, err := s.e.Store.Image(v); err == nil { // Docker's list is empty where there is none
			wanted = append(wanted, img)
		}
	}
	return func(c *engine.Entry) bool {
		return slices.ContainsFunc(wanted, func(w *record.Image) bool {
			if c.Image == w.ID {
				return true
			}
			img := s.image(c.Image)
			return img != nil && len(w.Layers) > 0 && len(img.Layers) > len(w.Layers) &&
				slices.Equal(img.Layers[len(img.Layers)-len(w.Layers):], w.Layers)
		})
	}, nil
}

// beside finds containers made before, or since, the one that the last value names.
func (s *containers) beside(key string, values []string) (test, error) {
	ref := strings.TrimPrefix(values[len(values)-1], "/")
	id, err := s.e.Store.FindContainer(ref)
	at := slices.IndexFunc(s.all, func(c *engine.Entry) bool { return c.ID == id })
	if err != nil || at < 0 {
		return nil, noSuch(key, ref)
	}
	made := s.all[at].Created
	return func(c *engine.Entry) bool {
		if key == "since" {
			return c.Created.After(made)
		}
		return c.Created.Before(made)
	}, nil
}

// portFilter is PORT[-PORT][/PROTOCOL].
type portFilter struct {
	from, to uint16
	proto    string
}

func (p portFilter) has(port uint16, proto string) bool {
	return p.from <= port && port <= p.to && p.proto == proto
}

// hasText is has of "80/tcp".
func (p portFilter) hasText(text string) bool {
	port, proto, _ := strings.Cut(text, "/")
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && p.has(uint16(n), proto)
}

func portFilters(key string, values []string) ([]portFilter, error) {
	var list []portFilter
	for _, v := range values {
		ports, proto, ok := strings.Cut(v, "/")
		if !ok {
			proto = "tcp"
		}
		first, last, ok := strings.Cut(ports, "-")
		if !ok {
			last = first
		}
		from, err1 := strconv.ParseUint(first, 10, 16)
		to, err2 := strconv.ParseUint(last, 10, 16)
		if err1 != nil || err2 != nil || to < from {
			return nil, invalid(key, v, fmt.Sprintf("a port or a range, as %s=80, %s=8000-8010/udp", key, key))
		}
		list = append(list, portFilter{uint16(from), uint16(to), strings.ToLower(proto)})
	}
	return list, nil
}
