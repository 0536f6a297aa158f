package quadlet

import (
	"strings"
	"unicode/utf8"
)

// source is a file in the syntax of systemd.syntax(7), sections of one name merged.
type source struct {
	sections []*section
	faults   []fault
}

type section struct {
	name    string
	at      place
	entries []entry
}

// entry is one assignment. value has its continuation lines joined.
type entry struct {
	key, value string
	at         place
}

type fault struct {
	at        place
	why, hint string
}

// section returns the section of a name, nil without one.
func (s *source) section(name string) *section {
	for _, sec := range s.sections {
		if sec.name == name {
			return sec
		}
	}
	return nil
}

// open returns the section of a name, made where there is none.
func (s *source) open(name string, at place) *section {
	if sec := s.section(name); sec != nil {
		return sec
	}
	sec := &section{name: name, at: at}
	s.sections = append(s.sections, sec)
	return sec
}

// merge appends what a drop-in says, so that it comes last and counts.
func (s *source) merge(d *source) {
	for _, from := range d.sections {
		to := s.open(from.name, from.at)
		to.entries = append(to.entries, from.entries...)
	}
	s.faults = append(s.faults, d.faults...)
}

// all are the values of a key that is a list: an empty one takes back those before
// it (systemd.syntax(7)).
func (sec *section) all(key string) []entry {
	if sec == nil {
		return nil
	}
	var list []entry
	for _, e := range sec.entries {
		switch {
		case e.key != key:
		case e.value == "":
			list = nil
		default:
			list = append(list, e)
		}
	}
	return list
}

// last is the value of a key that is given once: the last one counts. ok is false
// where it is not there or empty.
func (sec *section) last(key string) (e entry, ok bool) {
	list := sec.all(key)
	if len(list) == 0 {
		return entry{}, false
	}
	e = list[len(list)-1]
	// podman takes the quotes off where they surround the whole (parser.Lookup).
	if v := e.value; len(v) >= 2 && v[0] == '"' && v[len(v)-1] == '"' {
		e.value = v[1 : len(v)-1]
	}
	return e, e.value != ""
}

// parse reads the text of a file. What is no assignment is a fault that names its
// line; what comes after it is read all the same, to name all faults at once.
func parse(path, text string) *source {
	p := parser{source: &source{}, path: path}
	for line := range strings.SplitSeq(text, "\n") {
		p.line++
		p.take(line)
		if len(p.source.faults) >= maxFaults {
			return p.source
		}
	}
	if p.joining {
		p.finish() // a file that ends in a backslash
	}
	return p.source
}

// maxFaults bounds what a binary file says of itself.
const maxFaults = 5

type parser struct {
	source  *source
	current *section
	path    string
	line    int

	joining bool // the line before ended in a backslash
	joined  strings.Builder
	began   int // the line of its beginning
}

func (p *parser) fault(why, fix string) {
	p.source.faults = append(p.source.faults, fault{place{p.path, p.line}, why, fix})
}

func (p *parser) take(line string) {
	line = strings.TrimSpace(line)
	if !utf8.ValidString(line) || strings.ContainsFunc(line, control) {
		p.fault("the line is no text", "write the file in UTF-8; in quotes a control character is written \\n, \\t or \\x07")
		return
	}
	comment := line != "" && strings.ContainsRune("#;", rune(line[0]))
	if p.joining && comment || !p.joining && (comment || line == "") {
		return // systemd.syntax(7): comments among continuation lines are left out
	}
	if !p.joining {
		p.began = p.line
	}
	if front, ok := strings.CutSuffix(line, "\\"); ok {
		p.joining = true
		p.joined.WriteString(front + " ") // ibid.: "the backslash is replaced by a space"
		return
	}
	p.joined.WriteString(line)
	p.finish()
}

// finish takes a line whose continuations are all there.
func (p *parser) finish() {
	line := strings.TrimSpace(p.joined.String())
	p.joined.Reset()
	p.joining = false
	at := place{p.path, p.began}
	switch key, value, ok := strings.Cut(line, "="); {
	case line == "":
	case line[0] == '[':
		name, rest, closed := strings.Cut(line[1:], "]")
		if !closed || strings.TrimSpace(rest) != "" || name == "" || strings.ContainsAny(name, "[]") {
			p.fault("not the head of a section", "write [Container], or another name in square brackets")
			return
		}
		p.current = p.source.open(name, at)
	case !ok || strings.TrimSpace(key) == "":
		p.fault("neither a section, nor KEY=VALUE, nor a comment", "write KEY=VALUE, or # before it")
	case p.current == nil:
		p.fault("it stands before the first section", "write the section's name above it, as [Container]")
	default:
		p.current.entries = append(p.current.entries, entry{strings.TrimSpace(key), strings.TrimSpace(value), at})
	}
}

func control(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }
