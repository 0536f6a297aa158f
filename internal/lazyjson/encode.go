package lazyjson

import (
	"bytes"
	"encoding"
	"encoding/base64"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

type encoder struct {
	buf   []byte
	depth int
}

func (e *encoder) value(v reflect.Value) error {
	if !v.IsValid() {
		e.buf = append(e.buf, "null"...)
		return nil
	}
	switch v.Kind() { // neither has methods of its own
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			e.buf = append(e.buf, "null"...)
			return nil
		}
		return e.inside(v.Elem(), (*encoder).value)
	}
	s := methodsOf(v.Type())
	if s.writePtr != plain {
		how := s.write
		if v.CanAddr() {
			if how = s.writePtr; how != s.write || how == asJSON {
				v = v.Addr()
			}
		}
		if how != plain {
			return e.byMethod(v, how)
		}
	}
	return e.plain(v, s)
}

// inside counts the depth of pointers, slices, maps and structs: a value that holds
// itself is an error, not the end of the process.
func (e *encoder) inside(v reflect.Value, do func(*encoder, reflect.Value) error) error {
	if e.depth++; e.depth > maxDepth {
		return errDepth
	}
	err := do(e, v)
	e.depth--
	return err
}

func (e *encoder) plain(v reflect.Value, s *shape) error {
	switch v.Kind() {
	case reflect.String:
		e.buf = appendString(e.buf, v.String())
	case reflect.Bool:
		e.buf = strconv.AppendBool(e.buf, v.Bool())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		e.buf = strconv.AppendInt(e.buf, v.Int(), 10)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		e.buf = strconv.AppendUint(e.buf, v.Uint(), 10)
	case reflect.Struct:
		return e.inside(v, (*encoder).object)
	case reflect.Slice:
		switch {
		case v.IsNil():
			e.buf = append(e.buf, "null"...)
		case s.bytes:
			e.buf = append(base64.StdEncoding.AppendEncode(append(e.buf, '"'), v.Bytes()), '"')
		default:
			return e.inside(v, (*encoder).array)
		}
	case reflect.Array:
		return e.inside(v, (*encoder).array)
	case reflect.Map:
		if v.IsNil() {
			e.buf = append(e.buf, "null"...)
			return nil
		}
		return e.inside(v, (*encoder).dictionary)
	default:
		return &unsupported{v.Type(), "it is not written as JSON"}
	}
	return nil
}

func (e *encoder) object(v reflect.Value) error {
	s, err := fieldsOf(v.Type())
	if err != nil {
		return err
	}
	e.buf = append(e.buf, '{')
	first := len(e.buf)
	for i := range s.fields {
		f := &s.fields[i]
		fv := f.of(v)
		if f.omitEmpty && empty(fv) || f.omitZero && zero(fv) {
			continue
		}
		if len(e.buf) > first {
			e.buf = append(e.buf, ',')
		}
		e.buf = append(appendString(e.buf, f.name), ':')
		if err := e.value(fv); err != nil {
			return err
		}
	}
	e.buf = append(e.buf, '}')
	return nil
}

func empty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Array, reflect.Map, reflect.Slice, reflect.String:
		return v.Len() == 0
	case reflect.Struct:
		return false
	}
	return v.IsZero()
}

// zero asks IsZero where there is one: a time in a zone may be zero, too.
func zero(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return true
		}
		if z, ok := v.Interface().(zeroer); ok && v.Type().Implements(zeroerType) {
			return v.Elem().Kind() == reflect.Pointer && v.Elem().IsNil() || z.IsZero()
		}
		return false
	}
	switch methodsOf(v.Type()).zero {
	case asJSON:
		return v.Interface().(zeroer).IsZero()
	case asText:
		if !v.CanAddr() {
			boxed := reflect.New(v.Type()).Elem()
			boxed.Set(v)
			v = boxed
		}
		return v.Addr().Interface().(zeroer).IsZero()
	}
	return v.IsZero()
}

func (e *encoder) array(v reflect.Value) error {
	e.buf = append(e.buf, '[')
	for i := range v.Len() {
		if i > 0 {
			e.buf = append(e.buf, ',')
		}
		if err := e.value(v.Index(i)); err != nil {
			return err
		}
	}
	e.buf = append(e.buf, ']')
	return nil
}

// dictionary writes a map, its keys sorted.
func (e *encoder) dictionary(v reflect.Value) error {
	if v.Type().Key().Kind() != reflect.String {
		return &unsupported{v.Type(), "its keys are no strings"}
	}
	keys := v.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
	e.buf = append(e.buf, '{')
	for i, k := range keys {
		if i > 0 {
			e.buf = append(e.buf, ',')
		}
		e.buf = append(appendString(e.buf, k.String()), ':')
		if err := e.value(v.MapIndex(k)); err != nil {
			return err
		}
	}
	e.buf = append(e.buf, '}')
	return nil
}

// byMethod writes what v says of itself. JSON of a method is checked and made
// compact: it comes from elsewhere (an image's config is kept as it was).
func (e *encoder) byMethod(v reflect.Value, how form) error {
	if how == asText {
		text, err := v.Interface().(encoding.TextMarshaler).MarshalText()
		if err != nil {
			return err
		}
		e.buf = appendString(e.buf, string(text))
		return nil
	}
	data, err := v.Interface().(marshaler).MarshalJSON()
	if err != nil {
		return err
	}
	if err := check(data); err != nil {
		return err
	}
	e.buf = appendCompact(e.buf, data)
	return nil
}

// appendCompact leaves the space between tokens out, and escapes within strings
// what appendString would, but for bytes that are no UTF-8.
func appendCompact(dst, data []byte) []byte {
	quoted := false
	for i := 0; i < len(data); i++ {
		c := data[i]
		switch {
		case c == '"':
			quoted = !quoted
		case c == '\\':
			dst = append(dst, c)
			i++
			c = data[i]
		case !quoted && isSpace(c):
			continue
		case c == '<', c == '>', c == '&':
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
			continue
		case c == 0xe2 && (bytes.HasPrefix(data[i:], lineSeparator) || bytes.HasPrefix(data[i:], paragraphSeparator)):
			dst = append(dst, `\u202`...)
			dst = append(dst, hex[data[i+2]&15])
			i += 2
			continue
		}
		dst = append(dst, c)
	}
	return dst
}

// U+2028 and U+2029 end a line in JavaScript, where JSON lets them stand.
var (
	lineSeparator      = []byte("\u2028")
	paragraphSeparator = []byte("\u2029")
)
