package shim

import (
	"encoding"
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
)

// The handover is written and read by one and the same file, so its form is private
// and has no version. It is not JSON because decoding that leaves a table of every
// type in memory, 150 KiB for a State, which is a fifth of a shim that has settled
// (measured).

// pack encodes the exported fields of v and of what it holds: numbers, strings,
// slices, arrays, maps, pointers and structs, in their own binary form where they have one.
func pack(v any) []byte { return packValue(nil, reflect.ValueOf(v)) }

func packValue(to []byte, v reflect.Value) []byte {
	switch v.Kind() {
	case reflect.Bool:
		if v.Bool() {
			return append(to, 1)
		}
		return append(to, 0)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return binary.AppendVarint(to, v.Int())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return binary.AppendUvarint(to, v.Uint())
	case reflect.String:
		return append(binary.AppendUvarint(to, uint64(v.Len())), v.String()...)
	case reflect.Slice, reflect.Array:
		to = binary.AppendUvarint(to, uint64(v.Len()))
		for i := range v.Len() {
			to = packValue(to, v.Index(i))
		}
		return to
	case reflect.Map:
		to = binary.AppendUvarint(to, uint64(v.Len()))
		for it := v.MapRange(); it.Next(); {
			to = packValue(packValue(to, it.Key()), it.Value())
		}
		return to
	case reflect.Pointer:
		if v.IsNil() {
			return append(to, 0)
		}
		return packValue(append(to, 1), v.Elem())
	case reflect.Struct:
		if own, ok := v.Interface().(encoding.BinaryMarshaler); ok { // a time, an address
			text, _ := own.MarshalBinary() // a time fails for zones with fractions of a minute only
			return append(binary.AppendUvarint(to, uint64(len(text))), text...)
		}
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				to = packValue(to, v.Field(i))
			}
		}
		return to
	}
	panic(fmt.Sprintf("handover: a field of kind %s", v.Kind()))
}

var errCut = errors.New("the handover is cut off")

// unpack decodes what pack made of the same type into v, a pointer.
func unpack(data []byte, v any) (err error) {
	defer func() {
		if recover() != nil { // an index past the end
			err = errCut
		}
	}()
	u := unpacker{data}
	u.value(reflect.ValueOf(v).Elem())
	if len(u.data) != 0 {
		return errCut
	}
	return nil
}

type unpacker struct{ data []byte }

func (u *unpacker) number() uint64 {
	n, size := binary.Uvarint(u.data)
	if size <= 0 {
		panic(errCut)
	}
	u.data = u.data[size:]
	return n
}

func (u *unpacker) bytes() []byte {
	n := u.number()
	b := u.data[:n]
	u.data = u.data[n:]
	return b
}

func (u *unpacker) value(v reflect.Value) {
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(u.number() == 1)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		n, size := binary.Varint(u.data)
		u.data = u.data[size:]
		v.SetInt(n)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(u.number())
	case reflect.String:
		v.SetString(string(u.bytes()))
	case reflect.Array:
		for i := range int(u.number()) {
			u.value(v.Index(i))
		}
	case reflect.Slice:
		if n := int(u.number()); n > 0 {
			v.Set(reflect.MakeSlice(v.Type(), n, n))
			for i := range n {
				u.value(v.Index(i))
			}
		}
	case reflect.Map:
		n := u.number()
		if n == 0 {
			return
		}
		v.Set(reflect.MakeMap(v.Type()))
		for range n {
			key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			u.value(key)
			u.value(value)
			v.SetMapIndex(key, value)
		}
	case reflect.Pointer:
		if u.number() == 1 {
			v.Set(reflect.New(v.Type().Elem()))
			u.value(v.Elem())
		}
	case reflect.Struct:
		if own, ok := v.Addr().Interface().(encoding.BinaryUnmarshaler); ok {
			_ = own.UnmarshalBinary(u.bytes())
			return
		}
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				u.value(v.Field(i))
			}
		}
	}
}
