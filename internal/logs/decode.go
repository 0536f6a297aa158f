package logs

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"time"
	"unicode/utf8"
)

// Entry is one piece of a stream: a line with its end, or a part of a line.
type Entry struct {
	Stream string // stdout or stderr
	Line   []byte // as the payload wrote it; valid until the next entry
	stamp  []byte
	rest   []byte // ,"attrs":{…} and what else follows, as far as it was not read
	slow   *entryJSON
}

// entryJSON is an entry that somebody else wrote, or that has more fields.
type entryJSON struct {
	Log    *string           `json:"log"`
	Stream string            `json:"stream"`
	Time   *time.Time        `json:"time"`
	Raw    []byte            `json:"raw"`
	Attrs  map[string]string `json:"attrs"`
	At     int64             `json:"at"`
}

// Time is when the shim read the line; in UTC.
func (e *Entry) Time() time.Time {
	if e.slow != nil && e.slow.Time != nil {
		return e.slow.Time.UTC()
	}
	t, _ := time.Parse(time.RFC3339Nano, string(e.stamp))
	return t
}

// Attrs are the labels and variables that --log-opt chose.
func (e *Entry) Attrs() map[string]string {
	if e.slow != nil {
		return e.slow.Attrs
	}
	var a entryJSON
	if len(e.rest) > 1 {
		_ = json.Unmarshal(append([]byte{'{'}, e.rest[1:]...), &a)
	}
	return a.Attrs
}

// decode reads a line of the file; false for one that is torn. text is memory for
// the entry's Line, which it grows.
func (e *Entry) decode(line []byte, text *[]byte) bool {
	e.slow = nil
	return e.fast(line, text) || e.other(line, text)
}

// fast reads what encode.go writes, without a general parser: it decides how fast
// `rc logs` is.
func (e *Entry) fast(line []byte, text *[]byte) bool {
	b, ok := bytes.CutPrefix(line, []byte(`{"log":"`))
	if !ok {
		return false
	}
	t, b, ok := unquote((*text)[:0], b)
	*text = t
	if !ok {
		return false
	}
	switch {
	case bytes.HasPrefix(b, []byte(`,"stream":"stdout","time":"`)):
		e.Stream = "stdout"
	case bytes.HasPrefix(b, []byte(`,"stream":"stderr","time":"`)):
		e.Stream = "stderr"
	default:
		return false
	}
	b = b[len(`,"stream":"stdout","time":"`):]
	end := bytes.IndexByte(b, '"')
	if end < 0 || b[len(b)-1] != '}' {
		return false
	}
	e.stamp, b = b[:end], b[end+1:]
	e.Line, e.rest = t, b
	if raw, ok := bytes.CutPrefix(b, []byte(`,"raw":"`)); ok {
		if end = bytes.IndexByte(raw, '"'); end < 0 {
			return false
		}
		e.rest = raw[end+1:]
		lost, err := base64.StdEncoding.AppendDecode(nil, raw[:end])
		return err == nil && e.restore(lost)
	}
	return true
}

// other reads Docker's own lines and whatever else is an entry.
func (e *Entry) other(line []byte, text *[]byte) bool {
	v := new(entryJSON)
	if json.Unmarshal(line, v) != nil || v.Log == nil || v.Time == nil {
		return false
	}
	if v.Stream != "stderr" {
		v.Stream = "stdout"
	}
	*text = append((*text)[:0], *v.Log...)
	e.Stream, e.Line, e.slow = v.Stream, *text, v
	return v.Raw == nil || e.restore(v.Raw)
}

// restore puts the payload's bytes where the text has U+FFFD, in place; false
// when there are not as many of these.
func (e *Entry) restore(raw []byte) bool {
	out, in := e.Line[:0], e.Line
	for len(raw) > 0 {
		at := bytes.Index(in, []byte(replacement))
		if at < 0 {
			return false
		}
		out = append(append(out, in[:at]...), raw[0])
		in, raw = in[at+len(replacement):], raw[1:]
	}
	if bytes.Contains(in, []byte(replacement)) {
		return false
	}
	e.Line = append(out, in...)
	return true
}

// unquote adds the inside of a JSON string to t; rest is what follows its end.
func unquote(t, b []byte) (text, rest []byte, ok bool) {
	quote := bytes.IndexByte(b, '"')
	for quote >= 0 {
		// Up to the next quote there may be escapes, of that quote among them.
		slash := bytes.IndexByte(b[:quote], '\\')
		if slash < 0 {
			return append(t, b[:quote]...), b[quote+1:], true
		}
		t = append(t, b[:slash]...)
		var used int
		if t, used = unescape(t, b[slash:]); used == 0 {
			return t, nil, false
		}
		b = b[slash+used:]
		if quote -= slash + used; quote < 0 {
			quote = bytes.IndexByte(b, '"')
		}
	}
	return t, nil, false
}

// unescape adds what the escape at the beginning of b means; used is its length,
// 0 for one that is none. A surrogate is left to the general parser.
func unescape(t, b []byte) (text []byte, used int) {
	if len(b) < 2 {
		return t, 0
	}
	const from, to = `"\/bfnrt`, "\"\\/\b\f\n\r\t"
	for i := range len(from) {
		if b[1] == from[i] {
			return append(t, to[i]), 2
		}
	}
	if b[1] != 'u' || len(b) < 6 {
		return t, 0
	}
	var r rune
	for _, c := range b[2:6] {
		switch {
		case c >= '0' && c <= '9':
			r = r<<4 | rune(c-'0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			r = r<<4 | rune(c|0x20-'a'+10)
		default:
			return t, 0
		}
	}
	if r >= 0xd800 && r < 0xe000 {
		return t, 0
	}
	return utf8.AppendRune(t, r), 6
}

// endsLine tells whether the entry on a line of the file ends a line of the
// payload's, without decoding it.
func endsLine(line []byte) bool {
	at := bytes.Index(line, []byte(`\n","stream":"`))
	if at < 0 {
		return !bytes.Contains(line, []byte(`","stream":"`)) // somebody else's: taken for one
	}
	slashes := 0
	for at-slashes >= 0 && line[at-slashes] == '\\' {
		slashes++
	}
	return slashes%2 == 1 // an even number are backslashes of the text before an n
}
