package record

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rc-containers/rc/internal/atomicfile"
)

// After a power cut a file that nobody synced may have its name and its length and
// none of its bytes.
var unwritten = map[string]string{"empty": "", "NULs": strings.Repeat("\x00", 65)}

func TestRecordWithoutBytesIsNone(t *testing.T) {
	for name, text := range unwritten {
		s := newBox(t)
		makeContainer(t, s, &Container{ID: ident('a'), Name: "web"})
		for _, file := range []string{"container.json", "state.json"} {
			ok(t, os.WriteFile(filepath.Join(s.ContainerDir(ident('a')), file), []byte(text), 0o600))
		}
		if _, err := s.LoadContainer(ident('a')); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: LoadContainer: %v, want not exist", name, err)
		}
		if st, err := s.LoadState(ident('a')); st != nil || err != nil {
			t.Errorf("%s: LoadState = %v, %v, want none", name, st, err)
		}
		ok(t, os.WriteFile(filepath.Join(s.ContainerDir(ident('a')), "container.json"), []byte("{"), 0o600))
		if _, err := s.LoadContainer(ident('a')); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a broken record: %v, want an error that is not its absence", err)
		}
	}
}

func TestNameWithoutBytesIsRepaired(t *testing.T) {
	for name, text := range unwritten {
		s := newBox(t)
		makeContainer(t, s, &Container{ID: ident('a'), Name: "web"})
		for _, n := range []string{"web", "nobody"} {
			ok(t, os.WriteFile(s.Path("container-names", n), []byte(text), 0o600))
		}
		if id, err := s.FindContainer("web"); id != ident('a') || err != nil {
			t.Errorf("%s: web is %q, %v", name, id, err)
		}
		if b, err := os.ReadFile(s.Path("container-names", "web")); string(b) != ident('a')+"\n" || err != nil {
			t.Errorf("%s: the name's file holds %q, %v", name, b, err)
		}
		if _, err := s.NameHolder("nobody"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: nobody: %v, want not exist", name, err)
		}
		if err := s.ClaimName("nobody", ident('b')); err != nil {
			t.Errorf("%s: claim a freed name: %v", name, err)
		}
	}
}

// The end of a container whose record is missing can still be saved.
func TestDurableStateWithoutRecord(t *testing.T) {
	s := newBox(t)
	dir := s.ContainerDir(ident('a'))
	ok(t, os.Mkdir(dir, 0o700))
	ok(t, SaveState(dir, &State{Status: Exited, ExitCode: 3}, atomicfile.Durable))
	ok(t, s.SaveContainer(&Container{ID: ident('a')}))
	ok(t, SaveState(dir, &State{Status: Exited, ExitCode: 4}, atomicfile.Durable))
	if st, err := s.LoadState(ident('a')); err != nil || st.ExitCode != 4 {
		t.Errorf("LoadState = %+v, %v", st, err)
	}
}

func TestEditStarting(t *testing.T) {
	s := newBox(t)
	makeContainer(t, s, &Container{ID: ident('a'), Name: "web"})
	ok(t, s.EditStarting(ident('a'), func(c *Container) error { c.Network = "none"; return nil }))
	if c, err := s.LoadContainer(ident('a')); err != nil || c.Network != "none" || c.Name != "web" {
		t.Errorf("%+v, %v", c, err)
	}
}
