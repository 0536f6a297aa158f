package spec

import (
	"strings"
	"testing"

	"github.com/rc-containers/rc/userns"
)

// With uid 0 of the host in the container, nothing may take the read-only
// /proc/sys away.
func TestHostRoot(t *testing.T) {
	ids := []userns.IDMap{{Inside: 0, Outside: 0, Size: 1}, {Inside: 1, Outside: 100000, Size: 65536}}
	root := &userns.Mapping{UID: ids, GID: ids}
	user := &userns.Mapping{UID: []userns.IDMap{{Inside: 0, Outside: 1000, Size: 1}, ids[1]}, GID: []userns.IDMap{{Inside: 0, Outside: 1000, Size: 1}, ids[1]}}
	for _, o := range []Options{
		{Privileged: true}, {CapAdd: []string{"SYS_ADMIN"}}, {CapAdd: []string{"ALL"}},
		{SecurityOpt: []string{"unmask=ALL"}}, {SecurityOpt: []string{"unmask=/proc/sys"}}, {SecurityOpt: []string{"systempaths=unconfined"}},
	} {
		o.Rootfs, o.Command = t.TempDir(), []string{"true"}
		in := &Input{ID: strings.Repeat("a", 64), Options: &o, Dir: t.TempDir(), Mapping: root}
		if _, err := Build(in); rootOfHost(root) && (err == nil || !strings.Contains(err.Error(), "uid 0")) {
			t.Errorf("%+v: %v", o, err)
		}
		in.Mapping = user
		if _, err := Build(in); err != nil {
			t.Errorf("as a user, %+v: %v", o, err)
		}
		auto := o
		auto.Userns = "auto"
		in.Options, in.Mapping = &auto, root
		if _, err := Build(in); err != nil {
			t.Errorf("with auto, %+v: %v", o, err)
		}
	}
}
