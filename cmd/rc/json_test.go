package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// JSON shows texts of images on terminals: they steer none, and they stay what
// they are.
func TestJSONSteersNoTerminal(t *testing.T) {
	hostile := map[string]string{"k\u009b31m": "\x1b]0;x\x07 \u009b2J\x7f\u202ebidi\u2066 ü<&> \xff", "plain": "ü"}
	var b bytes.Buffer
	if err := newEncoder(&b).Encode(hostile); err != nil {
		t.Fatal(err)
	}
	if text := strings.TrimSuffix(b.String(), "\n"); strings.Map(printable, text) != text || !strings.Contains(text, "ü<&>") {
		t.Errorf("%q", text)
	}
	var got map[string]string
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	hostile["k\u009b31m"] = strings.ToValidUTF8(hostile["k\u009b31m"], "\uFFFD")
	for k, v := range hostile {
		if got[k] != v {
			t.Errorf("%q became %q", v, got[k])
		}
	}
}
