package spec

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/record"
)

func TestLogFlags(t *testing.T) {
	for name, c := range map[string]struct {
		o    Options
		want record.LogConfig
	}{
		"none given":   {Options{}, record.LogConfig{}},
		"none":         {Options{LogDriver: "none"}, record.LogConfig{Driver: "none"}},
		"driver":       {Options{LogDriver: "json-file"}, record.LogConfig{Driver: "json-file"}},
		"size":         {Options{LogOpt: []string{"max-size=10m"}}, record.LogConfig{Driver: "json-file", MaxSize: 10_000_000, Opts: map[string]string{"max-size": "10m"}}},
		"no bound":     {Options{LogOpt: []string{"max-size=-1"}}, record.LogConfig{Driver: "json-file", MaxSize: -1, Opts: map[string]string{"max-size": "-1"}}},
		"files":        {Options{LogOpt: []string{"max-file=3"}}, record.LogConfig{Driver: "json-file", MaxFile: 3, Opts: map[string]string{"max-file": "3"}}},
		"the last one": {Options{LogOpt: []string{"max-file=3", "max-file=4"}}, record.LogConfig{Driver: "json-file", MaxFile: 4, Opts: map[string]string{"max-file": "4"}}},
		"what is so anyway": {Options{LogOpt: []string{"mode=blocking", "compress=false"}},
			record.LogConfig{Driver: "json-file", Opts: map[string]string{"mode": "blocking", "compress": "false"}}},
		"labels and variables": {Options{LogOpt: []string{"labels=a, none,b", "env=E"}, Label: []string{"a=1", "b=", "c=3"}, Env: []string{"E=x=y", "F=z"}},
			record.LogConfig{Driver: "json-file", Opts: map[string]string{"labels": "a, none,b", "env": "E"}, Attrs: [][2]string{{"a", "1"}, {"b", ""}, {"E", "x=y"}}}},
	} {
		if got := plan(t, c.o).Log; !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

func TestLogSizes(t *testing.T) {
	for s, want := range map[string]int64{"1": 1, "1b": 1, "10k": 10_000, "10KB": 10_000, "1.5g": 1_500_000_000, "2 m": 2_000_000, "1t": 1e12, "-1": -1} {
		if got, err := logSize(s); err != nil || got != want {
			t.Errorf("%q: %d %v", s, got, err)
		}
	}
	for _, s := range []string{"", "0", "-2", "k", "10q", "0x10", "1e9", "inf", "NaN", "99999999p"} {
		if got, err := logSize(s); err == nil {
			t.Errorf("%q is %d", s, got)
		}
	}
}

// Every option of Docker's two drivers that is not done is refused by its name,
// before an image is pulled.
func TestLogRefusals(t *testing.T) {
	for _, opt := range []string{"max-size=x", "max-size=0", "max-file=0", "max-file=x", "max-file=-1", "compress=true", "mode=non-blocking", "mode=x",
		"labels-regex=^a", "env-regex=^a", "max-buffer-size=4m", "cache-disabled=true", "cache-max-size=1", "cache-max-file=1", "cache-compress=true",
		"tag={{.Nope}}", "tag={{.ID", "nonsense=1", "alone", "=1", "path=/x", "syslog-address=udp://x"} {
		checkRefusal(t, Check(&Options{LogOpt: []string{opt}}), `--log-opt "`+opt+`"`)
	}
	for _, driver := range []string{"local", "syslog", "gelf", "fluentd", "awslogs", "splunk", "etwlogs", "gcplogs", "k8s-file", "passthrough", "nonsense"} {
		checkRefusal(t, Check(&Options{LogDriver: driver}), `--log-driver "`+driver+`"`)
	}
	checkRefusal(t, Check(&Options{LogDriver: "none", LogOpt: []string{"max-size=1m"}}), `--log-opt "max-size=1m"`)
	checkRefusal(t, Check(&Options{LogOpt: []string{"max-size=-1", "max-file=2"}}), `--log-opt "max-file=2"`)
	if err := unix.Access(record.JournalSocket, unix.W_OK); err != nil {
		got := Check(&Options{LogDriver: "journald"})
		checkRefusal(t, got, `--log-driver "journald"`)
		if !errors.Is(got, err) {
			t.Errorf("%v", got)
		}
	} else if err := Check(&Options{LogDriver: "journald"}); err != nil {
		t.Error(err)
	}
}

func TestLogTag(t *testing.T) {
	c := &record.Container{ID: strings.Repeat("ab", 32), Name: "web", Image: strings.Repeat("cd", 32), ImageName: "alpine", Command: []string{"echo", "x"}}
	for tag, want := range map[string]string{
		"":                                "abababababab",
		"plain":                           "plain",
		"{{.Name}}/{{ .ID }}":             "web/abababababab",
		"{{.FullID}}{{.ImageFullID}}":     c.ID + c.Image,
		"{{.ImageName}} {{.ImageID}}":     "alpine cdcdcdcdcdcd",
		"{{.DaemonName}} {{.Command}} }}": "rc echo x }}",
	} {
		c.Log.Opts = map[string]string{"tag": tag}
		if got := LogTag(c); got != want {
			t.Errorf("%s: %q", tag, got)
		}
	}
}
