package spec

import (
	"strings"
	"testing"

	"github.com/rc-containers/rc/internal/record"
)

func TestParseRestart(t *testing.T) {
	for text, want := range map[string]record.RestartPolicy{
		"": {}, "no": {}, "always": {Name: "always"}, "unless-stopped": {Name: "unless-stopped"},
		"on-failure": {Name: "on-failure"}, "on-failure:3": {Name: "on-failure", Max: 3}, "on-failure:0": {Name: "on-failure"},
	} {
		if got, err := ParseRestart(text); err != nil || got != want {
			t.Errorf("%q: %+v %v", text, got, err)
		}
	}
	for text, says := range map[string]string{
		"sometimes": "no such policy", "always:3": "only on-failure", "no:1": "only on-failure", "on-failure:": "no number",
		"on-failure:-1": "no number", "on-failure:x": "no number", "Always": "no such policy",
	} {
		if _, err := ParseRestart(text); err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "--restart") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestRestartAndRemove(t *testing.T) {
	if err := Check(&Options{Restart: "always", Remove: true}); err == nil || !strings.Contains(err.Error(), "--rm") {
		t.Errorf("%v", err)
	}
	if err := Check(&Options{Restart: "no", Remove: true}); err != nil {
		t.Error(err)
	}
}
