package main

import (
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/rc-containers/rc/internal/engine"
	"github.com/rc-containers/rc/internal/record"
)

// aRow is a row with something in each of its fields; its texts are not all UTF-8.
func aRow() *psRow {
	o := &psOptions{mounts: true, shown: containers{e: new(engine.Engine), images: map[string]*record.Image{}, names: map[string]string{"al\xffpine": imgID}}}
	return &psRow{o, &engine.Entry{
		Container: record.Container{ID: webID, Name: "we\xff\xfeb", ImageName: "al\xffpine", Image: imgID, Created: time.Now().Add(-time.Hour),
			Command: []string{"sh", "<&>\u2028" + secret}, Labels: map[string]string{"b": "<2>", "a": "1"}, Network: "none", MachineID: record.MachineID()},
		State: record.State{Status: record.Running, Started: time.Now().Add(-time.Hour)},
	}, "3B"}
}

// Every field of the object that JSON shows is one of the row, with the same text.
func TestRowAndObject(t *testing.T) {
	row := aRow()
	row.o.mounts = false // they need files
	object := reflect.ValueOf(row.object()).Elem()
	for name := range psHeadings {
		text, ok := row.field(name)
		if f := object.FieldByName(name); !ok || !f.IsValid() || f.String() != text {
			t.Errorf("%s: %q %v, in the object %v", name, text, ok, f)
		}
	}
	for i := range object.NumField() {
		if f := object.Type().Field(i); f.IsExported() && psHeadings[f.Name] == "" {
			t.Errorf("%s has no heading", f.Name)
		}
	}
	for _, name := range []string{"", "id", "Nosuch", "all"} {
		if text, ok := row.field(name); ok {
			t.Errorf("%s: %q", name, text)
		}
	}
}

// A template says the same of a row as of the row's JSON.
func TestExecuteRow(t *testing.T) {
	row := aRow()
	row.o.mounts = false
	for _, clean := range []bool{false, true} {
		for _, format := range []string{"{{.ID}}", "{{.Names}} {{.Image}}", "{{.Command}}", "{{.Labels}}|{{.Size}}|{{.State}}|{{.Status}}", "{{.Networks}}", "",
			"{{.Nosuch}}", "{{.ID.X}}", "{{.Labels.a}}", "{{.all}}"} {
			f := &formatter{parts: simple(format), clean: clean, headers: psHeadings}
			line, err := f.encode(row)
			must(t, err)
			want, wantOK := f.execute(line)
			if got, ok := f.execute(row); got != want || ok != wantOK {
				t.Errorf("%s: %q %v, by JSON %q %v", format, got, ok, want, wantOK)
			}
		}
	}
}

// Of a row with labels, JSON for the helper has them by name, and JSON for users not.
func TestEncodeLabels(t *testing.T) {
	row := aRow()
	row.o.mounts = false
	for asJSON, want := range map[bool]int{false: 2, true: 0} {
		line, err := (&formatter{json: asJSON}).encode(row)
		must(t, err)
		var got struct{ LabelMap map[string]string }
		must(t, json.Unmarshal(line, &got))
		if len(got.LabelMap) != want {
			t.Errorf("%v: %s", asJSON, line)
		}
	}
}

// A table of many rows is one write, and the rows wait for nothing but its end.
func TestListIsWrittenAtOnce(t *testing.T) {
	r, w, err := os.Pipe()
	must(t, err)
	defer r.Close()
	stdout := os.Stdout
	os.Stdout = w
	defer func() { os.Stdout = stdout }()
	f, err := newFormatter(nil, "{{.ID}}", psHeadings, false)
	must(t, err)
	for range 300 {
		must(t, f.print(aRow()))
	}
	must(t, w.SetDeadline(time.Now().Add(time.Second)))
	must(t, r.SetReadDeadline(time.Now().Add(20*time.Millisecond)))
	if n, err := r.Read(make([]byte, 1)); n > 0 {
		t.Errorf("%d bytes before the end: %v", n, err)
	}
	must(t, r.SetReadDeadline(time.Now().Add(time.Second)))
	must(t, f.close())
	buf := make([]byte, 64<<10)
	n, err := r.Read(buf)
	must(t, err)
	if want := strings.Repeat(webID[:12]+"\n", 300); string(buf[:n]) != want {
		t.Errorf("%d bytes of %d", n, len(want))
	}
}
