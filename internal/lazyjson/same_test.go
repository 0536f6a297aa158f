package lazyjson_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/rc-containers/rc/internal/lazyjson"
)

// texts hold what is hard in strings.
var texts = []string{
	"", "a", "plain words", `quo"ted\`, "<a href=\"x\">&amp;", "line\nfeed\ttab\b\f\r\x00\x1f\x7f", "é ü 漢 😀", "\u2028\u2029\ufffd",
	"caf\xe9 latin1", "\xff\xfe\x80", "\xed\xa0\x80 half a pair", "PATH=/usr/bin:/bin", "\xe2\x80", "\\u0041", "/",
}

// filled makes a value in which about one of sparse fields holds something.
func filled(t reflect.Type, r *rand.Rand, sparse, depth int) reflect.Value {
	v := reflect.New(t).Elem()
	fill(v, r, sparse, depth)
	return v
}

func fill(v reflect.Value, r *rand.Rand, sparse, depth int) {
	if v.Type() == reflect.TypeFor[time.Time]() {
		if r.IntN(3) > 0 {
			zone := []*time.Location{time.UTC, time.FixedZone("", 3600*(r.IntN(20)-10)), time.Local}[r.IntN(3)]
			v.Set(reflect.ValueOf(time.Unix(r.Int64N(4e9), r.Int64N(1e9)).In(zone)))
		}
		return
	}
	if v.Type() == reflect.TypeFor[json.RawMessage]() {
		v.SetBytes([]byte([]string{`{"Test" : ["CMD", "<x>"]}`, "null", ` [1, 2.5e3 ,"` + "\u2028" + `\"\\"] `, `"a b"`}[r.IntN(4)]))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(texts[r.IntN(len(texts))])
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(int64(r.Uint64()) >> r.IntN(64))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(r.Uint64() >> r.IntN(64))
	case reflect.Pointer:
		if depth > 0 {
			v.Set(reflect.New(v.Type().Elem()))
			fill(v.Elem(), r, sparse, depth-1)
		}
	case reflect.Slice:
		if n := r.IntN(4) - 1; n >= 0 && depth > 0 {
			v.Set(reflect.MakeSlice(v.Type(), n, n))
		}
		fallthrough
	case reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i), r, sparse, depth-1)
		}
	case reflect.Map:
		fillMap(v, r, sparse, depth)
	case reflect.Interface:
		if v.NumMethod() == 0 {
			v.Set(reflect.ValueOf([]any{nil, true, "x", map[string]any{"b": "<", "a": []any{}}, []any{"1", nil}}[1+r.IntN(4)]))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Field(i); (f.CanSet() || v.Type().Field(i).Anonymous) && r.IntN(sparse) == 0 {
				fill(f, r, sparse, depth-1)
			}
		}
	}
}

func fillMap(v reflect.Value, r *rand.Rand, sparse, depth int) {
	if depth <= 0 || r.IntN(4) == 0 {
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	for range r.IntN(4) {
		v.SetMapIndex(filled(v.Type().Key(), r, 1, 1), filled(v.Type().Elem(), r, sparse, depth-1))
	}
}

// sameText compares what both write; the result is encoding/json's.
func sameText(t *testing.T, v any) []byte {
	t.Helper()
	want, werr := json.Marshal(v)
	got, gerr := lazyjson.Marshal(v)
	if (werr == nil) != (gerr == nil) {
		t.Fatalf("%T: encoding/json says %v, lazyjson %v", v, werr, gerr)
	}
	if werr == nil && !bytes.Equal(want, got) {
		t.Fatalf("%T\nencoding/json %s\nlazyjson      %s", v, want, got)
	}
	return want
}

// sameValue compares what both read from data into new values of a type, and into
// values that hold something already.
func sameValue(t *testing.T, typ reflect.Type, data []byte) {
	t.Helper()
	for _, seed := range []uint64{0, 1} {
		want, got := reflect.New(typ), reflect.New(typ)
		if seed > 0 {
			fill(want.Elem(), rand.New(rand.NewPCG(seed, 0)), 2, 4)
			fill(got.Elem(), rand.New(rand.NewPCG(seed, 0)), 2, 4)
		}
		werr := json.Unmarshal(data, want.Interface())
		gerr := lazyjson.Unmarshal(data, got.Interface())
		if (werr == nil) != (gerr == nil) {
			t.Fatalf("%v from %.2000q\nencoding/json says %v, lazyjson %v", typ, data, werr, gerr)
		}
		if !reflect.DeepEqual(want.Interface(), got.Interface()) {
			t.Fatalf("%v from %.2000q\nencoding/json %+v\nlazyjson      %+v", typ, data, want.Elem(), got.Elem())
		}
	}
}

func TestSameAsEncodingJSON(t *testing.T) {
	for k, typ := range ours {
		r := rand.New(rand.NewPCG(uint64(k), 5))
		for i := range 150 {
			v := filled(typ, r, 1+i%7, 7)
			sameText(t, v.Interface()) // not addressable
			data := sameText(t, v.Addr().Interface())
			sameValue(t, typ, data)
			sameValue(t, typ, changed(r, data))
			sameValue(t, ours[r.IntN(len(ours))], data) // another's message
		}
	}
}

// changed damages a text in one or two places, so that most of it is read.
func changed(r *rand.Rand, data []byte) []byte {
	data = bytes.Clone(data)
	pieces := []string{`"`, `{`, `}`, `[`, `]`, `,`, `:`, `null`, `true`, `-0`, `1e99`, `\`, ` `, `"x"`, "\x00", "\xff", `\u00e9`, `\ud83d\ude00`, `\ud83d`, `300`, `{}`, `[]`, `-`, `0x1`, `.5`, `1.`}
	for range 1 + r.IntN(2) {
		at := r.IntN(len(data) + 1)
		end := at + r.IntN(min(4, len(data)-at+1))
		data = append(append(bytes.Clone(data[:at]), pieces[r.IntN(len(pieces))]...), data[end:]...)
	}
	return data
}

// FuzzSame gives any text to both, for each of our types.
func FuzzSame(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 2))
	for k, typ := range ours {
		for range 3 {
			data, err := json.Marshal(filled(typ, r, 2, 5).Interface())
			if err != nil {
				f.Fatal(err)
			}
			f.Add(k, data)
		}
	}
	for _, s := range []string{"", " ", "nul", "[[[[", `{"a":1,"a":2}`, `{"KIND":"x","kınd":1}`, `"\ud800"`, "1 2", `{"Files":["a"],"Files":[null]}`} {
		f.Add(0, []byte(s))
	}
	f.Fuzz(func(t *testing.T, k int, data []byte) {
		typ := reflect.TypeFor[any]()
		if k >= 0 && k < len(ours) {
			typ = ours[k]
		}
		if got, want := lazyjson.Valid(data), json.Valid(data); got != want {
			t.Fatalf("%q: valid %v, encoding/json says %v", data, got, want)
		}
		sameValue(t, typ, data)
		v := reflect.New(typ)
		if lazyjson.Unmarshal(data, v.Interface()) == nil && typ != reflect.TypeFor[any]() { // any may hold floats
			sameText(t, v.Interface())
		}
	})
}

// Names are found as encoding/json finds them, and the deepest text that it takes
// is taken.
func TestSameKeysAndDepth(t *testing.T) {
	for _, s := range []string{`{"PID":1}`, `{"pid":2}`, `{"Pid":3,"PID":4}`, `{"\u212aind":"kelvin"}`, `{"ſignal":9}`, `{"fıles":["dotless"]}`, `{"":1}`} {
		sameValue(t, ours[0], []byte(s))
	}
	for _, n := range []int{9999, 10000, 10001, 20000} {
		data := append(bytes.Repeat([]byte{'['}, n), bytes.Repeat([]byte{']'}, n)...)
		if got, want := lazyjson.Valid(data), json.Valid(data); got != want {
			t.Errorf("%d deep: %v, encoding/json %v", n, got, want)
		}
		object := fmt.Appendf(nil, `{"x":%s}`, data)
		if got, want := lazyjson.Valid(object), json.Valid(object); got != want {
			t.Errorf("%d deep in an object: %v, encoding/json %v", n, got, want)
		}
	}
}
