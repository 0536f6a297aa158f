package record

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"sync"
	"testing"
)

func TestEditContainer(t *testing.T) {
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	id := strings.Repeat("a", 64)
	if err := s.EditContainer(id, func(*Container) error { return nil }); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a folder: %v", err)
	}
	if err := os.Mkdir(s.ContainerDir(id), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := s.EditContainer(id, func(*Container) error { return nil }); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a record: %v", err)
	}
	if err := s.SaveContainer(&Container{ID: id, Name: "old"}); err != nil {
		t.Fatal(err)
	}
	refusal := errors.New("no")
	if err := s.EditContainer(id, func(c *Container) error { c.Name = "new"; return refusal }); err != refusal {
		t.Errorf("%v", err)
	}
	if c, _ := s.LoadContainer(id); c.Name != "old" {
		t.Errorf("a refused change was saved: %q", c.Name)
	}
	// No edit is lost among many at once.
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if err := s.EditContainer(id, func(c *Container) error { c.Restart.Max++; return nil }); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if c, err := s.LoadContainer(id); err != nil || c.Restart.Max != 50 || c.Name != "old" {
		t.Errorf("%+v %v", c, err)
	}
}

// A disk without a free byte still takes a shorter text, or one that fills the last
// block of the one before.
func TestOverwrite(t *testing.T) {
	path := t.TempDir() + "/state.json"
	if err := os.WriteFile(path, []byte(`{"Status":"running","PID":12345}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{`{"Status":"exited"}`, `{"Status":"exited","Error":"` + strings.Repeat("x", 400) + `"}`, `{}`} {
		if err := overwrite(path, []byte(text)); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(path)
		if err != nil || strings.TrimRight(string(data), " ") != text {
			t.Errorf("%q %v", data, err)
		}
	}
	if err := overwrite(path, make([]byte, 600)); err == nil {
		t.Error("more than the block holds was taken")
	}
	if err := overwrite(path+"x", nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}
