package lazyjson

import (
	"encoding"
	"reflect"
	"strings"
	"sync"
	"unicode"
)

// The interfaces are encoding/json's by their methods, so json.RawMessage and
// every type written for that package works here, without linking it.
type (
	marshaler   interface{ MarshalJSON() ([]byte, error) }
	unmarshaler interface{ UnmarshalJSON([]byte) error }
	zeroer      interface{ IsZero() bool }
)

var (
	marshalerType       = reflect.TypeFor[marshaler]()
	unmarshalerType     = reflect.TypeFor[unmarshaler]()
	textMarshalerType   = reflect.TypeFor[encoding.TextMarshaler]()
	textUnmarshalerType = reflect.TypeFor[encoding.TextUnmarshaler]()
	zeroerType          = reflect.TypeFor[zeroer]()
)

// form says by which method a value is written or read, if by any.
type form uint8

const (
	plain form = iota
	asJSON
	asText
)

// shape is what is known of one type, and of no type below it.
type shape struct {
	write    form // of a value that has no address, and of all if writePtr is plain
	writePtr form // of a value with an address
	read     form
	zero     form // asJSON: IsZero by value; asText: by pointer
	bytes    bool // of a slice: its elements are plain bytes

	fields []field // of a struct; nil until listed
	listed bool
	err    error // what in its tags is not supported
}

// field is one field of a struct that JSON shows. It is small: a start lists 200.
type field struct {
	name      string // in JSON
	path      *[]int // of a field of an embedded struct; then index is not used
	index     int16
	omitEmpty bool
	omitZero  bool
	tagged    bool
}

func (f *field) of(v reflect.Value) reflect.Value {
	if f.path != nil {
		return v.FieldByIndex(*f.path)
	}
	return v.Field(int(f.index))
}

func (f *field) depth() int {
	if f.path == nil {
		return 1
	}
	return len(*f.path)
}

var shapes = struct {
	sync.Mutex
	of map[reflect.Type]*shape
}{of: map[reflect.Type]*shape{}}

// unnamed is the shape of types that have no methods.
var unnamed shape

// methodsOf looks at t's methods alone.
func methodsOf(t reflect.Type) *shape {
	if t.PkgPath() == "" && t.Kind() != reflect.Struct && t.Kind() != reflect.Slice {
		return &unnamed // a predeclared type, or a literal of one
	}
	shapes.Lock()
	defer shapes.Unlock()
	return shapeOf(t)
}

// fieldsOf looks at a struct's fields, too.
func fieldsOf(t reflect.Type) (*shape, error) {
	shapes.Lock()
	defer shapes.Unlock()
	s := shapeOf(t)
	if !s.listed {
		s.fields, s.err = listFields(t)
		s.listed = true
	}
	return s, s.err
}

func shapeOf(t reflect.Type) *shape {
	if s := shapes.of[t]; s != nil {
		return s
	}
	s := &shape{}
	if t.PkgPath() != "" || t.Kind() == reflect.Struct {
		p := reflect.PointerTo(t)
		// The pointer's methods are the value's and more: without any there is nothing to ask.
		if p.NumMethod() > 0 {
			s.write = oneOf(t, marshalerType, textMarshalerType)
			s.writePtr = oneOf(p, marshalerType, textMarshalerType)
			if s.write == asJSON {
				s.writePtr = asJSON
			}
			s.read = oneOf(p, unmarshalerType, textUnmarshalerType)
			switch {
			case t.Implements(zeroerType):
				s.zero = asJSON
			case p.Implements(zeroerType):
				s.zero = asText
			}
		}
	}
	if t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8 {
		s.bytes = shapeOf(t.Elem()).writePtr == plain
	}
	shapes.of[t] = s
	return s
}

func oneOf(t, json, text reflect.Type) form {
	switch {
	case t.Implements(json):
		return asJSON
	case t.Implements(text):
		return asText
	}
	return plain
}

// listFields lists what JSON shows of a struct, in the order of its fields, those
// of embedded structs in the place of these.
func listFields(t reflect.Type) ([]field, error) {
	l := lister{}
	if err := l.add(t, nil); err != nil {
		return nil, err
	}
	if !l.embeds {
		return l.fields, nil
	}
	// Go's rule of selectors, with tags as a further one: of several with one name the
	// shallowest is it; at one depth, the tagged one; of two such, none.
	var kept []field
	for i := range l.fields {
		if l.dominant(i) {
			kept = append(kept, l.fields[i])
		}
	}
	return kept, nil
}

type lister struct {
	fields []field
	embeds bool
}

func (l *lister) add(t reflect.Type, at []int) error {
	n := t.NumField()
	if l.fields == nil {
		l.fields = make([]field, 0, n)
	}
	for i := range n {
		sf := t.Field(i)
		embedded := sf.Anonymous && sf.Type.Kind() == reflect.Struct
		tag := sf.Tag.Get("json")
		if tag == "-" || !sf.IsExported() && !sf.Anonymous {
			continue
		}
		if sf.Anonymous && sf.Type.Kind() == reflect.Pointer {
			return &unsupported{t, "field " + sf.Name + " embeds a pointer"}
		}
		if !sf.IsExported() && !embedded {
			continue
		}
		name, options, _ := strings.Cut(tag, ",")
		if !validName(name) {
			name = ""
		}
		f := field{name: name, index: int16(i), tagged: name != ""}
		if err := f.options(t, &sf, options); err != nil {
			return err
		}
		var path []int
		if embedded || at != nil {
			path = append(append(path, at...), i)
		}
		if embedded && name == "" {
			l.embeds = true
			if err := l.add(sf.Type, path); err != nil {
				return err
			}
			continue
		}
		if name == "" {
			f.name = sf.Name
		}
		if at != nil {
			whole := path // a variable of its own: path itself stays on the stack
			f.path = &whole
		}
		l.fields = append(l.fields, f)
	}
	return nil
}

// options reads what follows the name in a tag.
func (f *field) options(t reflect.Type, sf *reflect.StructField, options string) error {
	for options != "" {
		var o string
		o, options, _ = strings.Cut(options, ",")
		switch o {
		case "omitempty":
			f.omitEmpty = true
		case "omitzero":
			f.omitZero = true
		case "string":
			return &unsupported{t, "field " + sf.Name + " has the tag option string"}
		}
	}
	return nil
}

func (l *lister) dominant(i int) bool {
	me := &l.fields[i]
	for j := range l.fields {
		other := &l.fields[j]
		if j == i || other.name != me.name {
			continue
		}
		if other.depth() < me.depth() || other.depth() == me.depth() && (other.tagged || !me.tagged) {
			return false
		}
	}
	return true
}

// find looks a key up as encoding/json does: as it is, else with letters folded.
func (s *shape) find(key []byte) *field {
	for i := range s.fields {
		if s.fields[i].name == string(key) {
			return &s.fields[i]
		}
	}
	for i := range s.fields {
		if strings.EqualFold(s.fields[i].name, string(key)) {
			return &s.fields[i]
		}
	}
	return nil
}

// validName tells whether a tag's name can be a key (encoding/json, isValidTag).
func validName(s string) bool {
	for _, c := range s {
		if !strings.ContainsRune("!#$%&()*+-./:;<=>?@[]^_{|}~ ", c) && !unicode.IsLetter(c) && !unicode.IsDigit(c) {
			return false
		}
	}
	return s != ""
}

// unsupported is a type that this package does not write or read.
type unsupported struct {
	t    reflect.Type
	what string
}

func (e *unsupported) Error() string { return "type " + e.t.String() + ": " + e.what }
