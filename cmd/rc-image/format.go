package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"text/template"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
)

// formatCommand executes a template for JSON values from stdin, one a line. rc
// has it as a program of its own because text/template would cost each of its
// starts. On stdin, beside objects: a JSON string is printed as it is, and an
// empty line has everything printed so far (and ends a table).
type formatCommand struct {
	list, each bool
	headings   string // JSON object; a table is made if set

	in    *bufio.Reader
	out   *bufio.Writer
	rows  bytes.Buffer // of the table so far
	ended bool         // a table was printed
	tmpl  *template.Template
	clean bool
}

func (c *formatCommand) flags(f *pflag.FlagSet) {
	f.BoolVar(&c.list, "list", false, "the template is of a list: one that cannot be parsed is exit code 1, not 64")
	f.BoolVar(&c.each, "each", false, "go on after a value that the template fails on")
	f.StringVar(&c.headings, "table", "", "print a table with the headings of this `OBJECT`")
}

func (c *formatCommand) run(_ context.Context, args []string) error {
	if len(args) != 1 {
		return wrongCall("format", "one template is wanted")
	}
	var err error
	if c.tmpl, err = parseTemplate(args[0]); err != nil {
		// docker/cli: 64 in command/inspect, the general 1 in command/container/list.go
		code := 64
		if c.list {
			code = 1
		}
		return badTemplate(err).WithCode(code)
	}
	c.in, c.out = bufio.NewReaderSize(os.Stdin, 64<<10), bufio.NewWriterSize(os.Stdout, 64<<10)
	_, terr := unix.IoctlGetTermios(1, unix.TCGETS)
	c.clean = terr == nil
	err = c.execute()
	if c.ended && c.rows.Len() == 0 {
		return errors.Join(err, c.out.Flush())
	}
	return errors.Join(err, c.flush())
}

func badTemplate(err error) *hint.Error {
	return hint.New("template parsing error", err, "`--format json` shows the fields")
}

// execute does all of stdin. What was printed before an error stays.
func (c *formatCommand) execute() error {
	var failed error
	for {
		line, err := c.in.ReadBytes('\n')
		if len(line) > 0 {
			if err := c.one(bytes.TrimSpace(line)); err != nil {
				if failed = err; !c.each {
					return failed
				}
			}
		}
		switch {
		case err == io.EOF:
			return failed
		case err != nil:
			return hint.New("read the values", err, "")
		}
	}
}

func (c *formatCommand) one(line []byte) error {
	switch {
	case len(line) == 0:
		return c.flush()
	case line[0] == '"':
		var text string
		if err := json.Unmarshal(line, &text); err != nil {
			return hint.New("read a text", err, "")
		}
		_, err := c.out.WriteString(text)
		return err
	}
	value, err := decode(line)
	if err != nil {
		return hint.New("read a value", err, "")
	}
	var b bytes.Buffer
	if err := c.tmpl.Execute(&b, value); err != nil {
		return badTemplate(err).WithCode(1)
	}
	b.WriteByte('\n')
	text := b.Bytes()
	if c.clean {
		text = bytes.Map(harmless, text)
	}
	if c.headings != "" {
		_, err = c.rows.Write(text)
	} else {
		_, err = c.out.Write(text)
	}
	return err
}

// flush prints the table, if it is one, with its headings, in Docker's widths
// (docker/cli, command/formatter/formatter.go: postFormat).
func (c *formatCommand) flush() error {
	if c.headings == "" {
		return c.out.Flush()
	}
	headings := map[string]string{}
	if err := json.Unmarshal([]byte(c.headings), &headings); err != nil {
		return hint.New("read the headings", err, "")
	}
	c.ended = true
	// Another copy: HeaderFuncs would replace those of the rows.
	heading, err := c.tmpl.Clone()
	if err != nil {
		return err
	}
	var b bytes.Buffer
	_ = heading.Funcs(headerFunctions).Option("missingkey=default").Execute(&b, header(headings)) // Docker prints what it has, too
	w := tabwriter.NewWriter(c.out, 10, 1, 3, ' ', 0)
	b.WriteByte('\n')
	_, _ = w.Write(b.Bytes())
	_, _ = w.Write(c.rows.Bytes())
	c.rows.Reset()
	if err := w.Flush(); err != nil {
		return err
	}
	return c.out.Flush()
}

// object is a decoded JSON object. Its methods are the fields that Docker's Go
// types call otherwise than their JSON; text/template looks for methods first.
type object map[string]any

// texts are an object that Docker's types call map[string]string: `index` of what
// is not there is an empty text, not "<no value>".
type texts map[string]string

// textsNames are the fields of that type.
var textsNames = map[string]bool{"Labels": true, "Annotations": true, "Attributes": true, "Options": true, "Sysctls": true,
	"Tmpfs": true, "DriverOpts": true, labelMap: true}

// labelMap is a field of a list's values, whose Labels are one text: all of them,
// for Label alone.
const labelMap = "labelMap"

// Label is the value of a label: `docker ps --format '{{.Label "x"}}'`.
func (o object) Label(name string) string {
	for _, key := range []string{labelMap, "Labels"} {
		if labels, ok := o[key].(texts); ok {
			return labels[name]
		}
	}
	return ""
}

// ID is the field "ID", or "Id" as in `docker inspect`, or "id" as in events.
func (o object) ID() (any, error) { return o.named("ID", "Id", "id") }

// Time and TimeNano are those of an event.
func (o object) Time() (any, error) { return o.named("Time", "time") }

// TimeNano is Time in nanoseconds.
func (o object) TimeNano() (any, error) { return o.named("TimeNano", "timeNano") }

func (o object) named(names ...string) (any, error) {
	for _, name := range names {
		if v, ok := o[name]; ok {
			return v, nil
		}
	}
	return nil, fmt.Errorf("map has no entry for key %q", names[0])
}

// MarshalJSON leaves out what only the methods use.
func (o object) MarshalJSON() ([]byte, error) {
	shown := map[string]any{}
	for k, v := range o {
		if k != labelMap {
			shown[k] = v
		}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(shown)
	return b.Bytes(), err
}

// header is what the headings' template is executed on.
type header map[string]string

// Label is the heading of a label's column (docker/cli, SubHeaderContext.Label).
func (header) Label(name string) string {
	n := strings.Split(name, ".")
	return strings.NewReplacer("-", " ", "_", " ").Replace(n[len(n)-1])
}

// decode keeps numbers exact: whole ones are int64 or uint64, which `eq` and
// printf take, and wider ones stay texts. A float64 would change sizes and ids
// from 2^53 on.
func decode(line []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	return typed(v), nil
}

func typed(v any) any {
	switch v := v.(type) {
	case map[string]any:
		o := make(object, len(v))
		for k, e := range v {
			o[k] = typed(e)
			if textsNames[k] {
				o[k] = onlyTexts(o[k])
			}
		}
		return o
	case []any:
		for i, e := range v {
			v[i] = typed(e)
		}
		return v
	case json.Number:
		return number(v)
	}
	return v
}

// onlyTexts makes texts of null and of an object that holds nothing else.
func onlyTexts(v any) any {
	o, ok := v.(object)
	if !ok && v != nil {
		return v
	}
	t := make(texts, len(o))
	for k, e := range o {
		if t[k], ok = e.(string); !ok {
			return v
		}
	}
	return t
}

func number(n json.Number) any {
	if i, err := n.Int64(); err == nil {
		return i
	}
	var u uint64
	if _, err := fmt.Sscanf(n.String(), "%d", &u); err == nil && fmt.Sprint(u) == n.String() {
		return u
	}
	if f, err := n.Float64(); err == nil && strings.ContainsAny(n.String(), ".eE") {
		return f
	}
	return n
}

// harmless is bytes.Map's function that takes out what steers a terminal: texts
// come from images, too.
func harmless(r rune) rune {
	if r == '\n' || r == '\t' {
		return r
	}
	if r < ' ' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
		return ' '
	}
	return r
}
