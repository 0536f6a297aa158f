package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/trace"
)

func TestTraced(t *testing.T) {
	t.Cleanup(trace.Leave)
	flagged, variable := filepath.Join(t.TempDir(), "flag"), filepath.Join(t.TempDir(), "variable")
	ran := false
	run := func() (int, error) {
		ran = true
		if v, set := os.LookupEnv("RC_TRACE"); set {
			t.Errorf("an rc that this one starts would write to %s", v)
		}
		return 7, nil
	}
	for _, c := range []struct{ flag, variable, file string }{
		{"", "", ""}, {flagged, "", flagged}, {"", variable, variable}, {flagged, filepath.Join(t.TempDir(), "unused"), flagged},
	} {
		t.Setenv("RC_TRACE", c.variable)
		if c.variable == "" {
			_ = os.Unsetenv("RC_TRACE")
		}
		g := &global{trace: c.flag}
		ran = false
		if code, err := g.traced([]string{"run", "x"}, run); code != 7 || err != nil || !ran {
			t.Errorf("%+v: %d %v", c, code, err)
		}
		if c.file == "" {
			continue
		}
		text, err := os.ReadFile(c.file)
		if err != nil || !json.Valid(text) || !strings.Contains(string(text), `"command":"rc run x"`) || !strings.Contains(string(text), `"name":"the command"`) {
			t.Errorf("%+v: %v %s", c, err, text)
		}
	}
}

// A refusal of the command stays what it was; one of the file comes before the command.
func TestTracedRefusals(t *testing.T) {
	t.Cleanup(trace.Leave)
	g := &global{trace: filepath.Join(t.TempDir(), "t")}
	if _, err := g.traced(nil, func() (int, error) { return 0, unix.ENOTTY }); !errors.Is(err, unix.ENOTTY) {
		t.Errorf("%v", err)
	}
	g.trace = filepath.Join(t.TempDir(), "no", "t")
	if _, err := g.traced(nil, func() (int, error) { t.Error("it ran"); return 0, nil }); !errors.Is(err, unix.ENOENT) {
		t.Errorf("%v", err)
	}
}
