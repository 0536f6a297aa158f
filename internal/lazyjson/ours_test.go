package lazyjson_test

import (
	"reflect"
	"testing"

	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/stage/control"
	"github.com/rc-containers/rc/internal/stage/start"
	"github.com/rc-containers/rc/slirp"
)

// ours are the types that cross a socket or lie in a file: messages, configurations,
// records.
var ours = []reflect.Type{
	reflect.TypeFor[start.Message](), reflect.TypeFor[start.Config](), reflect.TypeFor[start.InitConfig](),
	reflect.TypeFor[start.ExecConfig](), reflect.TypeFor[start.FilesConfig](), reflect.TypeFor[start.TidyConfig](),
	reflect.TypeFor[start.CoverConfig](), reflect.TypeFor[start.UnshareConfig](), reflect.TypeFor[start.ProbeConfig](),
	reflect.TypeFor[start.ProbeReply](), reflect.TypeFor[start.MeasureConfig](), reflect.TypeFor[start.MeasureReply](),
	reflect.TypeFor[control.Request](), reflect.TypeFor[control.Reply](), reflect.TypeFor[stage.Failure](),
	reflect.TypeFor[slirp.Start](), reflect.TypeFor[slirp.Request](), reflect.TypeFor[slirp.Reply](),
	reflect.TypeFor[record.Container](), reflect.TypeFor[record.State](), reflect.TypeFor[record.Image](),
	reflect.TypeFor[record.Network](), reflect.TypeFor[record.Volume](), reflect.TypeFor[record.Event](),
	reflect.TypeFor[[][]byte](),
}

// Whatever our types are made of is written and read: a field of another kind is
// found here, not in a container that does not start.
func TestOursAreSupported(t *testing.T) {
	seen := map[reflect.Type]bool{}
	for _, typ := range ours {
		walk(t, typ, typ.String(), seen)
	}
	if len(seen) < 150 {
		t.Errorf("only %d types were met", len(seen))
	}
}

func walk(t *testing.T, typ reflect.Type, path string, seen map[reflect.Type]bool) {
	if seen[typ] {
		return
	}
	seen[typ] = true
	switch typ.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array:
		walk(t, typ.Elem(), path+"[]", seen)
	case reflect.Map:
		if typ.Key().Kind() != reflect.String {
			t.Errorf("%s is %v: its keys are no strings", path, typ)
		}
		walk(t, typ.Elem(), path+"[]", seen)
	case reflect.Struct:
		if typ == reflect.TypeFor[reflect.Value]() || reflect.PointerTo(typ).Implements(reflect.TypeFor[interface{ MarshalJSON() ([]byte, error) }]()) {
			return
		}
		for i := range typ.NumField() {
			f := typ.Field(i)
			if f.Tag.Get("json") == "-" || !f.IsExported() && !f.Anonymous {
				continue
			}
			if f.Anonymous && f.Type.Kind() == reflect.Pointer {
				t.Errorf("%s.%s embeds a pointer", path, f.Name)
			}
			walk(t, f.Type, path+"."+f.Name, seen)
		}
	case reflect.Chan, reflect.Func, reflect.Complex64, reflect.Complex128, reflect.UnsafePointer, reflect.Float32, reflect.Float64:
		t.Errorf("%s is %v", path, typ)
	}
}
