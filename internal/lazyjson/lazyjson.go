// Package lazyjson reads and writes the JSON that encoding/json does, for
// processes that live for milliseconds. encoding/json examines a type with all
// types below it before the first value: of a start's configuration, 300 structs
// for the 20 that have something in them, in each of four processes. Here a type
// is examined when a value of it is met, and an empty field or an absent key asks
// nothing of what could have been there.
//
// What comes out is the same, byte for byte and value for value (the tests and the
// fuzz target compare), over the types in use: booleans, integers, strings, structs,
// slices, arrays, maps with keys that are strings, pointers, `any`, embedded structs, and
// whatever has MarshalJSON, MarshalText, UnmarshalJSON or UnmarshalText. Floats (but
// in `any`), other keys and the tag `,string` are refused.
package lazyjson

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"sync"
)

// maxDepth bounds how deep values lie in each other, as encoding/json does when
// it reads: a packet of 64 KiB must not take a stack of gigabytes.
const maxDepth = 10000

var errDepth = errors.New("JSON is nested more than 10000 deep")

// Marshal returns v as JSON, as json.Marshal does: keys of maps sorted, <, > and
// & escaped, U+FFFD for bytes that are no UTF-8.
func Marshal(v any) ([]byte, error) {
	var e encoder
	if scratch.TryLock() { // else somebody writes: another goroutine, or v within v
		defer scratch.Unlock()
		e.buf = scratch.buf[:0]
	}
	if err := e.value(reflect.ValueOf(v)); err != nil {
		return nil, fmt.Errorf("write JSON: %w", err)
	}
	return bytes.Clone(e.buf), nil
}

// scratch is where texts grow: memory that is touched first is a fault a page.
var scratch struct {
	sync.Mutex
	buf [8 << 10]byte
}

// Unmarshal reads data into what v points to, as json.Unmarshal does. A text that
// is no JSON (*SyntaxError) leaves v alone. A value of the wrong type (*TypeError)
// is passed by and reported when all others are in their places.
func Unmarshal(data []byte, v any) error {
	if err := check(data); err != nil {
		return err
	}
	target := reflect.ValueOf(v)
	if target.Kind() != reflect.Pointer || target.IsNil() {
		return fmt.Errorf("read JSON into %T: it is no pointer to a value", v)
	}
	d := decoder{data: data}
	if err := d.value(target); err != nil {
		return err
	}
	if d.mismatch != nil {
		return d.mismatch
	}
	return nil
}

// Valid tells whether data is one JSON value.
func Valid(data []byte) bool { return check(data) == nil }

// SyntaxError says where a text ceases to be JSON.
type SyntaxError struct {
	Offset int // bytes before the one that is wrong
	text   string
}

func (e *SyntaxError) Error() string { return e.text }

// TypeError is a JSON value that does not fit its place.
type TypeError struct {
	Value string       // "bool", "array", "number -5"
	Type  reflect.Type // of the place
	Field string       // the keys that lead there, "Spec.process.args"
}

func (e *TypeError) Error() string {
	if e.Field == "" {
		return "JSON has " + e.Value + " where " + e.Type.String() + " belongs"
	}
	return "JSON has " + e.Value + " in " + e.Field + ", where " + e.Type.String() + " belongs"
}
