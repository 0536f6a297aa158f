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
	parts   []part   // of a simple template; nil: not simple
	rows    [][]byte // of the table so far
	flushed bool     // a table was printed
	helper  *engine.Renderer
	clean   bool // stdout is a terminal: what would steer it is not printed
}

// labelled is a value whose labels {{.Label "x"}} can ask for by name; its JSON
// has them as one text.
type labelled interface{ labels() map[string]string }

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
	var b bytes.Buffer
	enc := newEncoder(&b)
	if err := enc.Encode(value); err != nil {
		return err
	}
	if f.json {
		_, err := os.Stdout.Write(b.Bytes())
		return err
	}
	line := bytes.TrimSuffix(b.Bytes(), []byte{'\n'})
	if l, ok := value.(labelled); ok {
		labels, err := json.Marshal(l.labels())
		if err != nil {
			return err
		}
		line = append(line[:len(line)-1], `,"labelMap":`+string(labels)+"}"...)
	}
	switch {
	case f.helper != nil:
		return f.helper.Print(line)
	case f.table:
		f.rows = append(f.rows, line)
		return nil
	}
	if text, ok := f.execute(line); ok {
		return f.raw(text + "\n")
	}
	if err := f.start(); err != nil { // it words the error
		return err
	}
	return f.helper.Print(line)
}

// raw prints a text as it is, in order with the values.
func (f *formatter) raw(text string) error {
	if f.helper != nil {
		return f.helper.Raw(text)
	}
	_, err := os.Stdout.WriteString(text)
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
	return nil
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
	return nil
}

// printTable prints the rows here, or has the program do it where one of them has
// not the fields that the template names.
func (f *formatter) printTable() error {
	rows := f.rows
	f.rows, f.flushed = nil, true
	var b bytes.Buffer
	w := tabwriter.NewWriter(&b, 10, 1, 3, ' ', 0) // Docker's widths
	headings, err := json.Marshal(f.headers)
	if err != nil {
		return err
	}
	for _, row := range append([][]byte{headings}, rows...) {
		text, ok := f.execute(row)
		if !ok {
			if err := f.start(); err != nil {
				return err
			}
			for _, row := range rows {
				if err := f.helper.Print(row); err != nil {
					return err
				}
			}
			return nil
		}
		_, _ = w.Write([]byte(text + "\n")) // a bytes.Buffer takes it all
	}
	_ = w.Flush()
	_, err = os.Stdout.Write(b.Bytes())
	return err
}

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

// execute is a simple template over a value; false where a field is not there or
// is no text, whole number or truth, which text/template prints in its own way.
func (f *formatter) execute(value []byte) (string, bool) {
	var root any
	dec := json.NewDecoder(bytes.NewReader(value))
	dec.UseNumber()
	if dec.Decode(&root) != nil {
		return "", false
	}
	var out strings.Builder
	for _, p := range f.parts {
		if p.path == nil {
			out.WriteString(p.text)
			continue
		}
		text, ok := scalar(root, p.path)
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
