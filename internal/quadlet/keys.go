package quadlet

import "strings"

// key says what becomes of one key of a section.
type key struct {
	name string
	as   form
	flag string // of rc's, for the forms that are a flag each
	// why rc does not take it and fix what to do instead: of refused.
	why, fix string
	// fine is a value of a refused key that says what is so anyway: "no" stands for
	// everything that is false, other texts for themselves.
	fine string
	note string // what differs from podman; "" for nothing
}

// form is how a key's values are read (podman-systemd.unit(5)).
type form int

const (
	text    form = iota // the last one, as it is
	texts               // each one
	list                // each one, split into words
	pairs               // each one, split into words KEY=VALUE
	onoff               // the last one, true or false
	special             // read by code of its own
	refused
)

// show is an assignment in a message, not longer than a line bears.
func show(e entry) string {
	const most = 80
	s := e.key + "=" + e.value
	if e.key == "Creds" || e.key == "DecryptionKey" {
		return e.key + "=…" // the journal is no place for a password
	}
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// checkKeys faults the keys that the section of f may not have.
func (f *file) checkKeys() {
	sec := f.unit.section(f.kind.section)
	if sec == nil {
		if len(f.faults) == 0 {
			f.fault(place{file: f.path}, "", "begin it with ["+f.kind.section+"]", "it has no section [%s]", f.kind.section)
		}
		return
	}
	for _, e := range sec.entries {
		k := keyOf(f.kind.keys, e.key)
		switch {
		case k == nil && strings.HasPrefix(e.key, "X-"): // whoever wants it reads it (systemd.syntax(7))
		case k == nil:
			f.fault(e.at, show(e), nearestKey(f.kind, e.key), "[%s] has no such key", f.kind.section)
		case k.as == refused && !k.accepts(e.value):
			f.fault(e.at, show(e), k.fix, "%s", k.why)
		}
	}
	quadlet := f.unit.section("Quadlet")
	if quadlet == nil {
		return
	}
	for _, e := range quadlet.entries {
		if e.key != "DefaultDependencies" {
			f.fault(e.at, show(e), "[Quadlet] has DefaultDependencies= only", "[Quadlet] has no such key")
		}
	}
}

// accepts tells whether the value of a refused key changes nothing.
func (k *key) accepts(value string) bool {
	on, ok := boolean(value)
	return value == "" || k.fine == "no" && ok && !on || k.fine != "" && k.fine == value
}

func keyOf(keys []key, name string) *key {
	for i := range keys {
		if keys[i].name == name {
			return &keys[i]
		}
	}
	return nil
}

// nearestKey says what may have been meant: keys are case-sensitive, and [Service]
// and [Unit] have many that are easily written into the wrong section.
func nearestKey(k *kind, name string) string {
	for _, other := range k.keys {
		if strings.EqualFold(other.name, name) {
			return "write " + other.name + "="
		}
	}
	return "see docs/quadlet.md for the keys; those of systemd belong into [Unit], [Service] or [Install]"
}

// flags adds what the keys of simple forms say, in the order of the table.
func (f *file) flags(s *service) {
	sec := f.unit.section(f.kind.section)
	for i := range f.kind.keys {
		switch k := &f.kind.keys[i]; k.as {
		case text:
			if e, ok := sec.last(k.name); ok {
				s.args = append(s.args, k.flag, e.value)
			}
		case texts:
			for _, e := range sec.all(k.name) {
				s.args = append(s.args, k.flag, e.value)
			}
		case list:
			for _, w := range f.words(k.name) {
				s.args = append(s.args, k.flag, w.value)
			}
		case pairs:
			for _, w := range f.words(k.name) {
				s.args = append(s.args, k.flag, w.value)
			}
		case onoff:
			if on, ok := f.boolean(k.name); ok {
				s.args = append(s.args, onOff(k.flag, on))
			}
		case special, refused:
		}
	}
}

func onOff(flag string, on bool) string {
	if on {
		return flag
	}
	return flag + "=false"
}

// words are the words of all values of a key, each with its place.
func (f *file) words(name string) []entry {
	var list []entry
	for _, e := range f.unit.section(f.kind.section).all(name) {
		split, err := Words(e.value)
		if err != nil {
			f.fault(e.at, show(e), "write it as in a unit of systemd", "%w", err)
		}
		for _, w := range split {
			list = append(list, entry{e.key, w, e.at})
		}
	}
	return list
}

func (f *file) boolean(name string) (on, given bool) {
	e, ok := f.unit.section(f.kind.section).last(name)
	if !ok {
		return false, false
	}
	on, ok = boolean(e.value)
	if !ok {
		f.fault(e.at, show(e), "write yes or no", "neither true nor false")
	}
	return on, ok
}
