package host

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// fake is a host with the given files, seen by user 1000 of group 100. Files in
// a bin folder are executable.
func fake(t *testing.T, files map[string]string) *System {
	t.Helper()
	root := t.TempDir()
	for path, text := range files {
		mode := os.FileMode(0o644)
		if strings.Contains(path, "bin/") {
			mode = 0o755
		}
		if err := os.MkdirAll(filepath.Dir(root+path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(root+path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	return &System{Root: root, UID: 1000, GID: 100,
		Env:       func(string) string { return "" },
		Run:       func(path string, args ...string) (string, error) { return "", errors.New("no such program here") },
		TryUserNS: func() error { return unix.EPERM },
	}
}

// answers makes Run answer by the base name and arguments of the command.
func (s *System) answers(known map[string]string) *System {
	s.Run = func(path string, args ...string) (string, error) {
		key := strings.Join(append([]string{filepath.Base(path)}, args...), " ")
		if text, ok := known[key]; ok {
			return text, nil
		}
		return "", &CommandError{Path: path, State: "exit status 1"}
	}
	return s
}

// wants checks a failed finding.
func wants(t *testing.T, f Finding, evidence, fix string) {
	t.Helper()
	if f.OK || !strings.Contains(f.Evidence, evidence) || !strings.Contains(f.Fix, fix) {
		t.Errorf("%+v\nwant evidence %q, fix %q", f, evidence, fix)
	}
}
