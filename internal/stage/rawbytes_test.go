package stage

import (
	"encoding/json"
	"reflect"
	"testing"
	"testing/quick"
)

// sample has a string in every place that eachString must find.
type sample struct {
	Text    string
	List    []string
	Deep    []*sample
	Values  map[string]string
	Nested  map[string][]string
	Ignored int
	Any     any
	hidden  string
}

func roundTrip(t *testing.T, in any, out any) {
	t.Helper()
	f, err := Seal("test", in)
	if err != nil {
		t.Fatal(err)
	}
	if err := Unseal(f, out); err != nil {
		t.Fatal(err)
	}
}

// Arguments, variables and paths are bytes, whatever they spell.
func TestSealKeepsBytes(t *testing.T) {
	in := &sample{
		Text:   "caf\xe9",
		List:   []string{"", "plain", "\xff\xfe\x80", "a real \ufffd", "\xc3(", "X=\xff"},
		Deep:   []*sample{nil, {Text: "ok", List: []string{"\x80"}}},
		Values: map[string]string{"b": "\xfe", "a": "\xff", "c": "\ufffd"},
		Nested: map[string][]string{"k": {"x", "\xf0\x9f"}},
		Any:    "\\ufffd is only text",
	}
	out := new(sample)
	roundTrip(t, in, out)
	if !reflect.DeepEqual(in, out) {
		t.Errorf("got  %q\nwant %q", out.List, in.List)
	}
	if in.Values["a"] != "\xff" || in.hidden != "" {
		t.Error("sealing changed what it sealed")
	}
}

func TestSealKeepsBytesProperty(t *testing.T) {
	same := func(list [][]byte, text []byte) bool {
		in := sample{Text: string(text), List: make([]string, 0, len(list))}
		for _, b := range list {
			in.List = append(in.List, string(b))
		}
		var out sample
		data, err := Encode(&in)
		if err != nil || Decode(data, &out) != nil {
			return false
		}
		return reflect.DeepEqual(in.List, append(make([]string, 0), out.List...)) && in.Text == out.Text
	}
	if err := quick.Check(same, nil); err != nil {
		t.Error(err)
	}
}

// Most configurations are plain text, and cost nothing more than JSON.
func TestPlainTextIsPlainJSON(t *testing.T) {
	v := &sample{Text: "\ufffd", List: []string{"\u00e9"}}
	want, _ := json.Marshal(v)
	if got, err := Encode(v); err != nil || string(got) != string(want) {
		t.Errorf("encode = %q, %v", got, err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for name, data := range map[string]string{
		"too many strings": `{"Text":"plain"}` + "\x00" + `["/w=="]`,
		"no list":          `{"Text":"plain"}` + "\x00" + `7`,
		"no JSON":          "{",
	} {
		if err := Decode([]byte(data), new(sample)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
