package start

import (
	"slices"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/rc-containers/rc/internal/stage"
)

func TestStoredBelowAnotherRoot(t *testing.T) {
	const was, is = `/old place/ü"<rc`, `/new "one`
	cfg := &Config{ID: "x", Root: was, Dir: was + "/containers/x", Name: was, Anonymous: []string{"at " + was + "/y", was + "2/z"}}
	cfg.Rootfs.Layers = []string{was + "/storage/1", "/elsewhere"}
	cfg.Spec = &specs.Spec{
		Process: &specs.Process{Args: []string{was + "/run"}, Cwd: was + "/work"},
		Mounts:  []specs.Mount{{Source: was + "/volumes/v/_data", Destination: was + "/data"}},
	}
	data, err := stage.Encode(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for root, want := range map[string]string{was: was, is: is} {
		c, err := Stored(data, root)
		if err != nil || c.Root != want || c.Dir != want+"/containers/x" || !slices.Equal(c.Rootfs.Layers, []string{want + "/storage/1", "/elsewhere"}) {
			t.Errorf("%s: %v %+v", root, err, c)
		}
		if c.Name != was || !slices.Equal(c.Anonymous, cfg.Anonymous) {
			t.Errorf("%s: changed what is no path below it: %+v", root, c)
		}
		m := c.Spec.Mounts[0]
		if m.Source != want+"/volumes/v/_data" || m.Destination != was+"/data" || c.Spec.Process.Args[0] != was+"/run" || c.Spec.Process.Cwd != was+"/work" {
			t.Errorf("%s: %+v %+v", root, m, c.Spec.Process)
		}
	}
	if _, err := Stored([]byte("{"), is); err == nil {
		t.Error("half a text was taken")
	}
}
