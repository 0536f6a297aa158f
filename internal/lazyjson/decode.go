package lazyjson

import (
	"encoding"
	"encoding/base64"
	"reflect"
	"strconv"
	"strings"
)

// decoder reads a text that check has passed.
type decoder struct {
	data     []byte
	i        int
	path     []string // keys that lead to the value, for errors
	mismatch error    // the first one
}

// value reads the next value into v; into nothing where v is not valid. Its error
// ends the reading: it is that of a type's own method.
func (d *decoder) value(v reflect.Value) error {
	d.i = skipSpace(d.data, d.i)
	if !v.IsValid() {
		d.skip()
		return nil
	}
	first := d.data[d.i]
	v, null := target(v, first == 'n')
	if null {
		d.skip()
		v.SetZero()
		return nil
	}
	if s := methodsOf(v.Type()); s.read != plain && v.CanAddr() {
		return d.byMethod(v.Addr(), s.read)
	}
	switch first {
	case '{':
		return d.object(v)
	case '[':
		return d.array(v)
	}
	d.scalar(v, d.skip())
	return nil
}

// target follows pointers, making what they lack; true where null ends at one that
// can be nil instead.
func target(v reflect.Value, null bool) (reflect.Value, bool) {
	for v.Kind() == reflect.Pointer {
		if null && v.CanSet() {
			return v, true
		}
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		v = v.Elem()
	}
	return v, false
}

func (d *decoder) byMethod(p reflect.Value, how form) error {
	item := d.skip()
	if how == asJSON {
		return p.Interface().(unmarshaler).UnmarshalJSON(item)
	}
	switch item[0] {
	case '"':
		return p.Interface().(encoding.TextUnmarshaler).UnmarshalText(unquote(item))
	case 'n': // never reaches the method
		d.scalar(p.Elem(), item)
	default:
		d.wrong(kindOf(item), p.Type())
	}
	return nil
}

func (d *decoder) wrong(value string, t reflect.Type) {
	if d.mismatch == nil {
		d.mismatch = &TypeError{value, t, strings.Join(d.path, ".")}
	}
}

// kindOf names a value in an error.
func kindOf(item []byte) string {
	switch item[0] {
	case '{':
		return "object"
	case '[':
		return "array"
	case '"':
		return "string"
	case 't', 'f':
		return "bool"
	case 'n':
		return "null"
	}
	return "number"
}

// skip passes the value at d.i by and returns it.
func (d *decoder) skip() []byte {
	start, depth := d.i, 0
	for {
		switch c := d.data[d.i]; c {
		case '"':
			d.skipString()
		case '{', '[':
			depth++
			d.i++
		case '}', ']':
			depth--
			d.i++
		default:
			d.i++
			if depth == 0 { // a number or a word
				for d.i < len(d.data) && !isSpace(d.data[d.i]) && strings.IndexByte(",]}", d.data[d.i]) < 0 {
					d.i++
				}
			}
		}
		if depth == 0 {
			return d.data[start:d.i]
		}
	}
}

func (d *decoder) skipString() {
	for d.i++; d.data[d.i] != '"'; d.i++ {
		if d.data[d.i] == '\\' {
			d.i++
		}
	}
	d.i++
}

// next goes past the space and the one token before what follows, and tells
// whether that token was not the end.
func (d *decoder) next(end byte) bool {
	d.i = skipSpace(d.data, d.i)
	c := d.data[d.i]
	if c == ',' || c == end {
		d.i = skipSpace(d.data, d.i+1)
	}
	return c != end
}

func (d *decoder) array(v reflect.Value) error {
	switch v.Kind() {
	case reflect.Slice, reflect.Array:
	case reflect.Interface:
		if v.NumMethod() == 0 {
			v.Set(reflect.ValueOf(d.anything()))
			return nil
		}
		fallthrough
	default:
		d.wrong("array", v.Type())
		d.skip()
		return nil
	}
	slice, n := v.Kind() == reflect.Slice, 0
	for d.i++; d.next(']'); n++ {
		if slice && n >= v.Len() {
			if n >= v.Cap() {
				v.Grow(1)
			}
			v.SetLen(n + 1)
		}
		var element reflect.Value // of an array that is shorter: nothing
		if n < v.Len() {
			element = v.Index(n)
		}
		if err := d.value(element); err != nil {
			return err
		}
	}
	switch {
	case !slice:
		for ; n < v.Len(); n++ {
			v.Index(n).SetZero()
		}
	case n == 0:
		v.Set(reflect.MakeSlice(v.Type(), 0, 0))
	default:
		v.SetLen(n)
	}
	return nil
}

func (d *decoder) object(v reflect.Value) error {
	switch v.Kind() {
	case reflect.Struct:
		return d.structure(v)
	case reflect.Map:
		if v.Type().Key().Kind() == reflect.String && methodsOf(v.Type().Key()).read != asText {
			return d.dictionary(v)
		}
	case reflect.Interface:
		if v.NumMethod() == 0 {
			v.Set(reflect.ValueOf(d.anything()))
			return nil
		}
	}
	d.wrong("object", v.Type())
	d.skip()
	return nil
}

// key reads a key and the colon after it.
func (d *decoder) key() []byte {
	start := d.i
	d.skipString()
	key := unquote(d.data[start:d.i])
	d.i = skipSpace(d.data, d.i) + 1
	return key
}

func (d *decoder) structure(v reflect.Value) error {
	s, err := fieldsOf(v.Type())
	if err != nil {
		return err
	}
	for d.i++; d.next('}'); {
		var place reflect.Value // of a key that nobody knows: nowhere
		if f := s.find(d.key()); f != nil {
			place = f.of(v)
			d.path = append(d.path, f.name)
		} else {
			d.path = append(d.path, "")
		}
		if err := d.value(place); err != nil {
			return err
		}
		d.path = d.path[:len(d.path)-1]
	}
	return nil
}

func (d *decoder) dictionary(v reflect.Value) error {
	t := v.Type()
	if v.IsNil() {
		v.Set(reflect.MakeMap(t))
	}
	element := reflect.New(t.Elem()).Elem()
	for d.i++; d.next('}'); {
		key := reflect.New(t.Key()).Elem()
		key.SetString(string(d.key()))
		element.SetZero()
		if err := d.value(element); err != nil {
			return err
		}
		v.SetMapIndex(key, element)
	}
	return nil
}

// anything reads a value for `any`, as encoding/json does.
func (d *decoder) anything() any {
	d.i = skipSpace(d.data, d.i)
	switch d.data[d.i] {
	case '{':
		m := map[string]any{}
		for d.i++; d.next('}'); {
			key := string(d.key())
			m[key] = d.anything()
		}
		return m
	case '[':
		list := []any{}
		for d.i++; d.next(']'); {
			list = append(list, d.anything())
		}
		return list
	}
	var v any
	d.scalar(reflect.ValueOf(&v).Elem(), d.skip())
	return v
}

// scalar stores what is neither an object nor an array.
func (d *decoder) scalar(v reflect.Value, item []byte) {
	switch c := item[0]; c {
	case 'n':
		switch v.Kind() {
		case reflect.Interface, reflect.Map, reflect.Slice:
			v.SetZero()
		}
	case 't', 'f':
		switch {
		case v.Kind() == reflect.Bool:
			v.SetBool(c == 't')
		case isAny(v):
			v.Set(reflect.ValueOf(c == 't'))
		default:
			d.wrong("bool", v.Type())
		}
	case '"':
		d.text(v, unquote(item))
	default:
		d.number(v, string(item))
	}
}

func isAny(v reflect.Value) bool { return v.Kind() == reflect.Interface && v.NumMethod() == 0 }

func (d *decoder) text(v reflect.Value, s []byte) {
	switch {
	case v.Kind() == reflect.String:
		v.SetString(string(s))
	case isAny(v):
		v.Set(reflect.ValueOf(string(s)))
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Uint8:
		b := make([]byte, base64.StdEncoding.DecodedLen(len(s)))
		n, err := base64.StdEncoding.Decode(b, s)
		if err != nil {
			if d.mismatch == nil {
				d.mismatch = err
			}
			return
		}
		v.SetBytes(b[:n])
	default:
		d.wrong("string", v.Type())
	}
}

func (d *decoder) number(v reflect.Value, s string) {
	switch v.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || v.OverflowInt(n) {
			d.wrong("number "+s, v.Type())
			return
		}
		v.SetInt(n)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil || v.OverflowUint(n) {
			d.wrong("number "+s, v.Type())
			return
		}
		v.SetUint(n)
	case reflect.Interface:
		f, err := strconv.ParseFloat(s, 64)
		if err != nil || v.NumMethod() != 0 {
			d.wrong("number "+s, v.Type())
			return
		}
		v.Set(reflect.ValueOf(f))
	default:
		d.wrong("number", v.Type())
	}
}
