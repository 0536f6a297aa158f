package lazyjson_test

import (
	"encoding/json"
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rc-containers/rc/internal/lazyjson"
)

type (
	valueJSON   struct{ A int }
	pointerJSON struct{ A int }
	valueText   struct{ A string }
	pointerText struct{ A string }
	listText    []string
	letter      uint8
	letterText  uint8
	name        string
	never       struct{ A int }
)

func (v valueJSON) MarshalJSON() ([]byte, error) {
	return []byte("{ \"v\" : \"<\u2029>\\\"&\" }"), nil
}
func (p *pointerJSON) MarshalJSON() ([]byte, error) { return []byte(" [1 , 2]"), nil }
func (p *pointerJSON) UnmarshalJSON(b []byte) error { p.A = len(b); return nil }
func (v valueText) MarshalText() ([]byte, error)    { return []byte("<" + v.A + ">"), nil }
func (p *pointerText) MarshalText() ([]byte, error) { return []byte("&" + p.A), nil }
func (p *pointerText) UnmarshalText(b []byte) error { p.A = "read " + string(b); return nil }
func (l *listText) UnmarshalText(b []byte) error    { *l = listText{string(b)}; return nil }
func (l letterText) MarshalText() ([]byte, error)   { return []byte{byte(l)}, nil }
func (n never) IsZero() bool                        { return n.A == 7 }

type embeddedA struct {
	Same, OnlyA string
	Deep        int `json:"deep,omitempty"`
}
type embeddedB struct {
	Same  string
	OnlyB string `json:"only<b>"`
}
type everything struct {
	embeddedA
	embeddedB
	Deep     int `json:"deep"`
	hidden   int
	Skipped  int `json:"-"`
	V        valueJSON
	P        pointerJSON
	VT       valueText
	PT       pointerText
	PP       *pointerJSON
	PPP      **pointerText
	List     listText
	Bytes    []byte
	Letters  []letter
	Texts    []letterText
	Array    [3]int
	Bits     [2]byte
	Map      map[name]pointerJSON
	MapP     map[string]*pointerJSON
	Any      any
	Time     time.Time  `json:",omitzero"`
	Never    never      `json:",omitzero"`
	NeverP   *never     `json:",omitzero"`
	Addr     netip.Addr `json:",omitzero"`
	Stringer interface{ String() string }
	Empty    struct{}            `json:",omitempty"`
	Set      map[string]struct{} `json:",omitempty"`
	Int8     int8
	Uint16   uint16
	Unix     uintptr
	Raw      json.RawMessage `json:",omitempty"`
	Arr0     [0]int          `json:",omitempty"`
	Next     *everything     `json:",omitempty"`
}

func some() *everything {
	p := &pointerText{"pp"}
	e := &everything{hidden: 1, Skipped: 2, Bytes: []byte("\x00\xff"), Letters: []letter{1, 200}, Texts: []letterText{'a', '<'},
		Array: [3]int{1, 2}, Map: map[name]pointerJSON{"z": {}, "a": {}}, MapP: map[string]*pointerJSON{"n": nil, "p": {}},
		PP: &pointerJSON{}, PPP: &p, Any: map[string]any{"k": []any{nil, "s"}}, Never: never{7}, NeverP: &never{7},
		Time: time.Unix(1, 5).UTC(), Set: map[string]struct{}{"80/tcp": {}}, Raw: json.RawMessage(`{"a" : 1}`), Addr: netip.MustParseAddr("::1")}
	e.embeddedA.Same, e.OnlyA, e.embeddedA.Deep = "none of the two", "a", 4
	return e
}

// Methods, embedded structs, tags and kinds that our own types use rarely.
func TestSameEverything(t *testing.T) {
	e := some()
	e.Next = some()
	sameText(t, e)
	sameText(t, *e)
	sameText(t, nil)
	sameText(t, []any{(*everything)(nil), map[string]int(nil), []int{}, uint8(3), [2]bool{}, &e.Any})
	for _, s := range []string{
		`{"OnlyA":"x","only<b>":"y","Same":"z","deep":5,"Skipped":1}`,
		`{"V":{"A":1}}`, `{"P":null,"PP":null,"PPP":null}`, `{"P":[1,2],"PP":"x","PPP":"text"}`,
		`{"PT":"a\u00e9"}`, `{"PT":null}`, `{"PT":5}`, `{"PT":{}}`, `{"PT":[1]}`, `{"PT":true}`, `{"List":"x"}`, `{"List":["x"]}`, `{"List":null}`,
		`{"Bytes":"AP8="}`, `{"Bytes":"!!"}`, `{"Bytes":[1,2]}`, `{"Bytes":[300]}`, `{"Letters":"AP8="}`, `{"Bytes":null}`,
		`{"Array":[1]}`, `{"Array":[1,2,3,4,5]}`, `{"Array":null}`, `{"Array":{}}`, `{"Bits":"AA=="}`,
		`{"Map":{"a":7,"b":null}}`, `{"MapP":{"p":null,"q":[]}}`, `{"Map":null}`, `{"Map":[]}`,
		`{"Any":{"a":[1.5,"x",null,true,{"b":{}}],"a":2}}`, `{"Any":[]}`, `{"Any":1e400}`, `{"Any":[1e400,2]}`, `{"Any":"\ud83d\ude00\ud83d\\u0041\ude00"}`,
		`{"Time":"2026-01-02T03:04:05.6+07:00"}`, `{"Time":null}`, `{"Time":"never"}`, `{"Time":5}`,
		`{"Stringer":null}`, `{"Stringer":1}`, `{"Stringer":"a"}`, `{"Stringer":{}}`, `{"Stringer":[]}`, `{"Stringer":false}`,
		`{"Int8":127}`, `{"Int8":128}`, `{"Int8":1.0}`, `{"Int8":-0}`, `{"Int8":"1"}`, `{"Uint16":-1}`, `{"Uint16":65536,"Int8":5}`, `{"Unix":1e2}`,
		`{"Raw":  {"a" : [1 , 2]} }`, `{"Raw":null}`, `{"Set":{"a":{},"b":{"c":1}}}`, `{"Set":{"a":5}}`, `{"Empty":[]}`,
		`{"Next":{"Next":{"Int8":"x"}}}`, `{"Next":{"P":1},"Next":{"Array":[9]}}`, `{"Addr":"1.2.3.4"}`, `{"Addr":"x"}`, `{"NeverP":{"A":2}}`,
		`[]`, `"x"`, `5`, `null`, `true`, ` { } `, `{"Int8":1}x`, "\ufeff{}",
	} {
		sameValue(t, reflect.TypeFor[everything](), []byte(s))
		sameValue(t, reflect.TypeFor[*everything](), []byte(s))
		sameValue(t, reflect.TypeFor[any](), []byte(s))
	}
}

// Tags that no linter would let pass, as encoding/json takes them.
func TestSameOddTags(t *testing.T) {
	var fields []reflect.StructField
	for i, tag := range []string{`json:"-,"`, `json:"bad\"name"`, `json:"é,omitempty,unknown"`, `json:"a b<c>"`, `json:",,"`, `jsn:"x"`, `json:"\\"`} {
		fields = append(fields, reflect.StructField{Name: string(rune('A' + i)), Type: reflect.TypeFor[int](), Tag: reflect.StructTag(tag)})
	}
	typ := reflect.StructOf(fields)
	v := reflect.New(typ)
	for i := range fields {
		v.Elem().Field(i).SetInt(int64(i + 1))
	}
	sameValue(t, typ, sameText(t, v.Interface()))
	sameValue(t, typ, []byte(`{"-":1,"b":2,"É":3,"A B<C>":4,"e":5,"x":6,"\\":7}`))
}

// What is not supported is refused by name, and what holds itself is no endless loop.
func TestRefused(t *testing.T) {
	type ring struct{ Next *ring }
	loop := &ring{}
	loop.Next = loop
	for want, v := range map[string]any{
		"its keys are no strings":     map[int]string{1: "x"},
		"float64: it is not written":  1.5,
		"chan int: it is not written": struct{ C chan int }{},
		"field A has the tag option": struct {
			A int `json:",string"`
		}{},
		"embeds a pointer":                 struct{ *embeddedA }{},
		"more than 10000 deep":             loop,
		"unexpected end of JSON input":     json.RawMessage(`{"a"`),
		"no JSON at byte 1: 'x' after the": json.RawMessage(`1x`),
	} {
		if _, err := lazyjson.Marshal(v); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%T: %v, not %q", v, err, want)
		}
	}
	for want, v := range map[string]any{
		"no pointer": struct{}{},
		"field A has the tag option": &struct {
			A int `json:",string"`
		}{},
		"where map[int]int belongs": &map[int]int{},
	} {
		if err := lazyjson.Unmarshal([]byte(`{"A":1}`), v); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%T: %v, not %q", v, err, want)
		}
	}
}

// Errors name the place.
func TestErrors(t *testing.T) {
	var e everything
	err := lazyjson.Unmarshal([]byte(`{"Next":{"Int8":300,"Uint16":5}}`), &e)
	var wrong *lazyjson.TypeError
	if !errors.As(err, &wrong) || wrong.Field != "Next.Int8" || wrong.Value != "number 300" || wrong.Type.Kind() != reflect.Int8 {
		t.Errorf("%v", err)
	}
	if e.Next == nil || e.Next.Uint16 != 5 {
		t.Errorf("what fits is not read: %+v", e.Next)
	}
	e = everything{}
	err = lazyjson.Unmarshal([]byte(`{"Int8":5,`), &e)
	var syntax *lazyjson.SyntaxError
	if !errors.As(err, &syntax) || syntax.Offset != 10 || e.Int8 != 0 {
		t.Errorf("%v, %+v", err, e.Int8)
	}
}

// Many goroutines meet a type at once (the keeper's sessions do).
func TestAtOnce(t *testing.T) {
	want := sameText(t, some())
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 50 {
				if got, err := lazyjson.Marshal(some()); err != nil || string(got) != string(want) {
					t.Errorf("%s, %v", got, err)
				}
				var e everything
				if err := lazyjson.Unmarshal([]byte(`{"OnlyA":"x"}`), &e); err != nil || e.OnlyA != "x" {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}
