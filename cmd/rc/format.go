package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/engine"
	"github.com/rc-containers/rc/internal/hint"
)

// formatter prints values as --format asks for:
//
//	json, {{json .}}   one JSON object a line
//	table TEMPLATE     the same as a table (lists only)
//	TEMPLATE           a Go template with Docker's functions, a line a value
//
// A template of nothing but fields is executed here; every other one by
// `rc-image format`, because text/template is not linked into rc.
type formatter struct {
	e      *engine.Engine
	format string
	// headers are a list's fields with their headings; nil for templates over an
	// object as `inspect` has them: no table, \t and \n stay, exit code 64 for a
	// template that cannot be parsed (docker/cli, command/inspect).
	headers map[string]string
	each    bool // a value that the template fails on does not stop the others
	json    bool
	table   bool
	parts   []part // of a simple template; nil: not simple
	rows    []any  // of the table so far: what encode gives, or a fielded value
	out     []byte // of a list: what is to be written
	flushed bool   // a table was printed
	helper  *engine.Renderer
	clean   bool // stdout is a terminal: what would steer it is not printed
}

// labelled is a value whose labels {{.Label "x"}} can ask for by name; its JSON
// has them as one text.
type labelled interface{ labels() map[string]string }

// fielded is a value of a list that knows its fields by name, all of them texts: a
// simple template works out only what it names, without JSON in between. For all
// others object is what JSON shows.
type fielded interface {
	field(name string) (text string, ok bool)
	object() any
}

// part is a text or, where path is set, a field.
type part struct {
	text string
	path []string
}

// formatted makes the formatter of a verb. For a list, format is the verb's own
// default where the user gave none or "table", and headers has every field of the
// values. The values need the field names of Docker's templates as JSON names.
// e may be nil.
func (g *global) formatted(e *engine.Engine, format string, headers map[string]string) (*formatter, error) {
	return newFormatter(e, format, headers, false)
}

func newFormatter(e *engine.Engine, format string, headers map[string]string, each bool) (*formatter, error) {
	if e == nil {
		e = new(engine.Engine)
	}
	f := &formatter{e: e, format: format, headers: headers, each: each, clean: isTerminal(os.Stdout)}
	if f.json = format == "json" || format == "{{json .}}"; f.json {
		return f, nil
	}
	if !strings.Contains(format, "{{") { // a line of text a value helps nobody
		return nil, hint.Newf("--format "+format, "choose table, json or a template as {{.Name}}", "no such format")
	}
	if headers != nil {
		// docker/cli, command/formatter/formatter.go: preFormat
		f.format, f.table = strings.CutPrefix(format, "table")
		f.format = strings.NewReplacer(`\t`, "\t", `\n`, "\n").Replace(strings.Trim(f.format, " "))
	}
	if f.parts = simple(f.format); f.parts == nil {
		return f, f.start()
	}
	return f, nil
}

// start runs the program that knows templates.
func (f *formatter) start() error {
	if err := f.write(); err != nil { // before the other begins
		return err
	}
	var args []string
	if f.each {
		args = append(args, "--each")
	}
	if f.headers != nil {
		headers, err := json.Marshal(f.headers)
		if err != nil {
			return err
		}
		args = append(args, "--list")
		if f.table {
			args = append(args, "--table", string(headers))
		}
	}
	var err error
	f.helper, err = f.e.Render(append(args, "--", f.format))
	return err
}

// print prints one value; of a table, flush or close does.
func (f *formatter) print(value any) error {
	if _, ok := value.(fielded); !ok || f.json || f.helper != nil {
		line, err := f.encode(value)
		if err != nil {
			return err
		}
		value = line
	}
	switch {
	case f.json:
		return f.line(string(value.([]byte)))
	case f.helper != nil:
		return f.helper.Print(value.([]byte))
	case f.table:
		f.rows = append(f.rows, value)
		return nil
	}
	if text, ok := f.execute(value); ok {
		return f.line(text)
	}
	return f.giveUp(value)
}

// giveUp leaves values, and all that follow, to the program that knows templates. Of
// a field that they do not have it words the error.
func (f *formatter) giveUp(values ...any) error {
	if err := f.start(); err != nil {
		return err
	}
	for _, v := range values {
		line, err := f.encode(v)
		if err != nil {
			return err
		}
		if err := f.helper.Print(line); err != nil {
			return err
		}
	}
	return nil
}

// encode is a value as a line of JSON, and as it is if it is one.
func (f *formatter) encode(value any) ([]byte, error) {
	if line, ok := value.([]byte); ok {
		return line, nil
	}
	if v, ok := value.(fielded); ok {
		value = v.object()
	}
	var b bytes.Buffer
	if err := newEncoder(&b).Encode(value); err != nil {
		return nil, err
	}
	line := bytes.TrimSuffix(b.Bytes(), []byte{'\n'})
	if l, ok := value.(labelled); ok && !f.json {
		labels, err := json.Marshal(l.labels())
		if err != nil {
			return nil, err
		}
		line = append(line[:len(line)-1], `,"labelMap":`+string(labels)+"}"...)
	}
	return line, nil
}

// raw prints a text as it is, in order with the values.
func (f *formatter) raw(text string) error {
	if f.helper != nil {
		return f.helper.Raw(text)
	}
	f.out = append(f.out, text...)
	return f.write()
}

// line prints a line of a value. Those of a list wait for each other; what is no list
// says between its values what went wrong, on the other stream.
func (f *formatter) line(text string) error {
	f.out = append(append(f.out, text...), '\n')
	if f.headers != nil && len(f.out) < 64<<10 {
		return nil
	}
	return f.write()
}

func (f *formatter) write() error {
	if len(f.out) == 0 {
		return nil
	}
	_, err := os.Stdout.Write(f.out)
	f.out = f.out[:0]
	return err
}

// flush has everything printed so far, as a verb that goes on needs; a table ends.
func (f *formatter) flush() error {
	if f.helper == nil && f.table {
		if err := f.printTable(); err != nil {
			return err
		}
	}
	if f.helper != nil {
		return f.helper.Flush()
	}
	return f.write()
}

// close prints what is left. The error of a template that failed has been printed
// already and carries its exit code.
func (f *formatter) close() error {
	if f.helper == nil && f.table && (len(f.rows) > 0 || !f.flushed) {
		if err := f.printTable(); err != nil {
			return err
		}
	}
	if f.helper != nil {
		return f.helper.Close()
	}
	return f.write()
}

// printTable prints the rows here, or has the program do it where one of them has
// not the fields that the template names.
func (f *formatter) printTable() error {
	rows := f.rows
	f.rows, f.flushed = nil, true
	var b bytes.Buffer
	w := tabwriter.NewWriter(&b, 10, 1, 3, ' ', 0) // Docker's widths
	for _, row := range append([]any{headings(f.headers)}, rows...) {
		text, ok := f.execute(row)
		if !ok {
			return f.giveUp(rows...)
		}
		_, _ = w.Write([]byte(text + "\n")) // a bytes.Buffer takes it all
	}
	_ = w.Flush()
	return f.raw(b.String())
}

// headings are the first row of a table.
type headings map[string]string

func (h headings) field(name string) (string, bool) { text, ok := h[name]; return text, ok }
func (h headings) object() any                      { return h }

// simple splits a template of texts and {{.Field}} or {{.A.B}}; nil for any other.
func simple(format string) []part {
	parts := []part{}
	for format != "" {
		text, rest, found := strings.Cut(format, "{{")
		if text != "" {
			parts = append(parts, part{text: text})
		}
		if !found {
			break
		}
		field, rest, found := strings.Cut(rest, "}}")
		field = strings.Trim(field, " ")
		if !found || len(field) < 2 || field[0] != '.' {
			return nil
		}
		path := strings.Split(field[1:], ".")
		for _, name := range path {
			if name == "" || strings.IndexFunc(name, notIdent) >= 0 || name[0] >= '0' && name[0] <= '9' {
				return nil
			}
		}
		parts = append(parts, part{path: path})
		format = rest
	}
	return parts
}

func notIdent(r rune) bool {
	return r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
}

// execute is a simple template over a fielded value or a line of JSON; false where a
// field is not there or is no text, whole number or truth, which text/template prints
// in its own way.
func (f *formatter) execute(value any) (string, bool) {
	look := scalars(value)
	var out strings.Builder
	for _, p := range f.parts {
		if p.path == nil {
			out.WriteString(p.text)
			continue
		}
		text, ok := look(p.path)
		if !ok {
			return "", false
		}
		if f.clean {
			text = harmless(text)
		}
		out.WriteString(text)
	}
	return out.String(), true
}

// scalars finds a value's fields.
func scalars(value any) func(path []string) (string, bool) {
	if v, ok := value.(fielded); ok {
		return func(path []string) (string, bool) {
			text, ok := v.field(path[0])
			if !utf8.ValidString(text) {
				text = string([]rune(text)) // U+FFFD for each wrong byte, as in JSON
			}
			return text, ok && len(path) == 1
		}
	}
	var root any
	dec := json.NewDecoder(bytes.NewReader(value.([]byte)))
	dec.UseNumber()
	if dec.Decode(&root) != nil {
		root = nil // which has no fields
	}
	return func(path []string) (string, bool) { return scalar(root, path) }
}

func scalar(v any, path []string) (string, bool) {
	for _, name := range path {
		object, ok := v.(map[string]any)
		if !ok {
			return "", false
		}
		v = object[name]
	}
	switch v := v.(type) {
	case string:
		return v, true
	case bool:
		if v {
			return "true", true
		}
		return "false", true
	case json.Number:
		return v.String(), !strings.ContainsAny(v.String(), ".eE")
	}
	return "", false
}

// harmless keeps texts of images and other users from steering the terminal.
func harmless(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' {
			return r
		}
		return printable(r)
	}, s)
}

// newEncoder writes JSON as Docker does, and so that no text in it steers a
// terminal: encoding/json escapes the C0 controls, and here the others become
// escapes too, which every reader of JSON takes for the same text.
func newEncoder(w io.Writer) *json.Encoder {
	enc := json.NewEncoder(escaping{w})
	enc.SetEscapeHTML(false)
	return enc
}

// escaping gets whole JSON values.
type escaping struct{ io.Writer }

// Write escapes what printable would take out; such runes are within strings.
func (w escaping) Write(b []byte) (int, error) {
	var safe []byte
	for _, r := range string(b) {
		if r >= 0x7f && printable(r) != r {
			safe = fmt.Appendf(safe, `\u%04x`, r)
		} else {
			safe = utf8.AppendRune(safe, r)
		}
	}
	if _, err := w.Writer.Write(safe); err != nil {
		return 0, err
	}
	return len(b), nil
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
