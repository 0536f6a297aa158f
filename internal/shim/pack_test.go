package shim

import (
	"net/netip"
	"reflect"
	"testing"
	"time"
)

// filled gives every field below v a value of its own, so that one which the
// handover forgets shows.
func filled(v reflect.Value, n *int) {
	*n++
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(int64(-*n % 100))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(*n % 200))
	case reflect.String:
		v.SetString("text \x00\xff")
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		filled(v.Index(0), n)
		filled(v.Index(1), n)
	case reflect.Array:
		for i := range v.Len() {
			filled(v.Index(i), n)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		value := reflect.New(v.Type().Elem()).Elem()
		filled(value, n)
		v.SetMapIndex(reflect.ValueOf("key"), value)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		filled(v.Elem(), n)
	case reflect.Struct:
		switch v.Interface().(type) {
		case time.Time:
			v.Set(reflect.ValueOf(time.Unix(int64(*n), 7)))
			return
		case netip.Addr:
			v.Set(reflect.ValueOf(netip.MustParseAddr("fe80::1%eth0")))
			return
		}
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				filled(v.Field(i), n)
			}
		}
	}
}

func TestPack(t *testing.T) {
	var full, back, empty, zero handover
	filled(reflect.ValueOf(&full).Elem(), new(int))
	data := pack(&full)
	must(t, unpack(data[1:], &back)) // pack of a pointer begins with its presence
	if !reflect.DeepEqual(full, back) {
		t.Errorf("%+v\n%+v", full, back)
	}
	must(t, unpack(pack(empty), &zero))
	if !reflect.DeepEqual(empty, zero) {
		t.Errorf("%+v", zero)
	}
	data = pack(full)
	for cut := range data {
		if unpack(data[:cut], new(handover)) == nil {
			t.Fatalf("cut at %d of %d is taken", cut, len(data))
		}
	}
	if unpack(append(data, 0), new(handover)) == nil {
		t.Error("a byte too many is taken")
	}
}
