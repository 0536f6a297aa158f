package stage

import (
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"
)

// JSON holds text, while arguments, variables and paths are bytes: encoding/json
// puts U+FFFD for what is no UTF-8, so a file name in Latin-1 would become another
// name. Such strings travel beside the text, in the order in which eachString meets
// them. On both sides the same strings are counted: after decoding, those that were
// mended cannot be told from those that held U+FFFD from the start.

// mended tells whether s arrives with a U+FFFD in it.
func mended(s string) bool { return !utf8.ValidString(s) || strings.ContainsRune(s, utf8.RuneError) }

// rawStrings lists the strings in v that JSON would change, and their likes.
func rawStrings(v any) [][]byte {
	var raw [][]byte
	eachString(reflect.ValueOf(v), func(s string) string {
		if mended(s) {
			raw = append(raw, []byte(s))
		}
		return s
	})
	return raw
}

// restoreStrings puts them back into what was decoded; v is a pointer. It tells
// whether their number was right.
func restoreStrings(v any, raw [][]byte) bool {
	eachString(reflect.ValueOf(v), func(s string) string {
		if !mended(s) || len(raw) == 0 {
			return s
		}
		s, raw = string(raw[0]), raw[1:]
		return s
	})
	return len(raw) == 0
}

// eachString gives every string below v to change, in a fixed order, and stores
// what comes back where that differs. Keys of maps stay what they are.
func eachString(v reflect.Value, change func(string) string) {
	switch v.Kind() {
	case reflect.String:
		if s := v.String(); s != "" {
			if c := change(s); c != s {
				v.SetString(c)
			}
		}
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			eachString(v.Elem(), change)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				eachString(v.Field(i), change)
			}
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			eachString(v.Index(i), change)
		}
	case reflect.Map:
		eachValue(v, change)
	}
}

// eachValue does the same for a map with string keys; its values cannot be changed
// in place.
func eachValue(m reflect.Value, change func(string) string) {
	keys := m.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
	for _, k := range keys {
		value := reflect.New(m.Type().Elem()).Elem()
		value.Set(m.MapIndex(k))
		changed := false
		eachString(value, func(s string) string {
			c := change(s)
			changed = changed || c != s
			return c
		})
		if changed {
			m.SetMapIndex(k, value)
		}
	}
}
