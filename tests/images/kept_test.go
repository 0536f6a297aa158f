package images

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// It is made once, by whoever comes first, and anew when an input changes.
func TestKept(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("RC_KEPT_TEST", filepath.Join(dir, "cache"))
	input := filepath.Join(dir, "input")
	write := func(text string) {
		if err := os.WriteFile(input, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var made atomic.Int32
	k := Kept{Variable: "RC_KEPT_TEST", Inputs: []string{input}, Suffix: ".tar",
		Whole: func(path string) bool { _, err := os.Stat(path); return err == nil },
		Make:  func(path string) error { made.Add(1); return os.WriteFile(path, nil, 0o600) }}
	write("one")
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() { k.Path(t) })
	}
	wait.Wait()
	first := k.Path(t)
	if made.Load() != 1 || filepath.Dir(first) != filepath.Join(dir, "cache") || filepath.Ext(first) != ".tar" {
		t.Errorf("made %d times: %s", made.Load(), first)
	}
	write("two")
	if second := k.Path(t); second == first || made.Load() != 2 {
		t.Errorf("%s again, made %d times", second, made.Load())
	}
	write("three")
	k.Make = func(string) error { return errors.New("out of order") }
	if !t.Run("skipped", func(t *testing.T) { k.Path(t); t.Error("not skipped") }) {
		t.Error("what cannot be made is no skip")
	}
	if err := BuildBy("false")("x"); err == nil || !strings.Contains(err.Error(), "exit status 1") {
		t.Error(err)
	}
}
