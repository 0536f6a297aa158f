package record

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/rc-containers/rc/internal/atomicfile"
)

// list looks, and gives the descriptors back when the test ends.
func list(t *testing.T, s *Store) *Listing {
	t.Helper()
	l, err := s.ListContainers()
	ok(t, err)
	t.Cleanup(l.Close)
	return l
}

func TestListContainers(t *testing.T) {
	s := newBox(t)
	for _, name := range []string{ident('c'), ident('a'), ident('b'), "README", ident('A'), ident('a')[1:]} {
		ok(t, os.Mkdir(s.ContainerDir(name), 0o700))
	}
	l := list(t, s)
	ids, err := s.ContainerIDs()
	ok(t, err)
	if !slices.Equal(l.IDs, ids) || len(ids) != 3 || len(l.Runtime) != 0 {
		t.Errorf("%q %q, want %q", l.IDs, l.Runtime, ids)
	}
	ok(t, os.RemoveAll(s.Path("containers")))
	if _, err := s.ListContainers(); !os.IsNotExist(err) {
		t.Errorf("a root without the folder: %v", err)
	}
}

// The listing says of a lock what Store.Alive says, as far as it was there.
func TestListingAlive(t *testing.T) {
	s := newBox(t)
	held, err := s.TakeLife(ident('a'))
	ok(t, err)
	defer held.Close()
	stale, err := s.TakeLife(ident('b'))
	ok(t, err)
	ok(t, stale.Close())
	gone, err := s.TakeLife(ident('d'))
	ok(t, err)
	l := list(t, s)
	s.DropLife(ident('d'), gone)
	late, err := s.TakeLife(ident('e'))
	ok(t, err)
	defer late.Close()
	for id, want := range map[string]bool{ident('a'): true, ident('b'): false, ident('c'): false, ident('d'): false, ident('e'): false} {
		alive, err := l.Alive(id)
		if err != nil || alive != want {
			t.Errorf("%.1s: %v %v", id, alive, err)
		}
		if now, err := s.Alive(id); err != nil || now != (want || id == ident('e')) {
			t.Errorf("%.1s now: %v %v", id, now, err)
		}
	}
	if len(l.Runtime) != 3 {
		t.Errorf("%q", l.Runtime)
	}
}

// Without a runtime folder nobody has a lock, as Store.Alive has it.
func TestListingWithoutLocks(t *testing.T) {
	s := newBox(t)
	rt, err := s.Runtime()
	ok(t, err)
	ok(t, os.Remove(filepath.Join(rt, "c")))
	if alive, err := list(t, s).Alive(ident('a')); alive || err != nil {
		t.Errorf("%v %v", alive, err)
	}
}

// A link in the place of a lock is not followed.
func TestListingRefusesLinks(t *testing.T) {
	s := newBox(t)
	path, err := s.LifeLockPath(ident('a'))
	ok(t, err)
	ok(t, os.Symlink("/dev/zero", path))
	if alive, err := list(t, s).Alive(ident('a')); alive || err == nil {
		t.Errorf("%v %v", alive, err)
	}
}

// A reader gives what LoadContainer and LoadState give, or leaves it to them.
func TestReader(t *testing.T) {
	s := newBox(t)
	state := func(id string) {
		ok(t, SaveState(s.ContainerDir(id), &State{Status: Exited, ExitCode: 3, BootID: "b"}, atomicfile.Fast))
	}
	spoil := func(file string) func(string) {
		return func(id string) {
			state(id)
			ok(t, os.WriteFile(filepath.Join(s.ContainerDir(id), file), make([]byte, 100), 0o600))
		}
	}
	for i, c := range []struct {
		name   string
		labels string
		then   func(id string)
		want   bool
	}{
		{"whole", "", state, true},
		{"just fits", strings.Repeat("x", 7000), state, true},
		{"too long for the buffer", strings.Repeat("x", 9000), state, false},
		{"no state", "", func(string) {}, false},
		{"a record of NULs", "", spoil("container.json"), false},
		{"a state of NULs", "", spoil("state.json"), false},
		{"half a record", "", func(id string) {
			state(id)
			ok(t, os.Truncate(filepath.Join(s.ContainerDir(id), "container.json"), 100))
		}, false},
		{"no folder", "", func(id string) { ok(t, os.RemoveAll(s.ContainerDir(id))) }, false},
		{"another's", "", func(id string) {
			state(id)
			ok(t, os.Rename(s.ContainerDir(id), s.ContainerDir(ident('f'))))
			ok(t, os.Symlink(ident('f'), s.ContainerDir(id)))
			data, err := os.ReadFile(filepath.Join(s.ContainerDir(id), "container.json"))
			ok(t, err)
			data = []byte(strings.Replace(string(data), id, ident('f'), 1))
			ok(t, os.WriteFile(filepath.Join(s.ContainerDir(id), "container.json"), data, 0o600))
		}, false},
	} {
		id := ident("012345678"[i])
		makeContainer(t, s, &Container{ID: id, Name: c.name, Labels: map[string]string{"l": c.labels}})
		c.then(id)
		var got Container
		var st State
		if read := list(t, s).Reader().Read(id, &got, &st); read != c.want {
			t.Errorf("%s: %v", c.name, read)
		} else if !read {
			continue
		}
		want, err := s.LoadContainer(id)
		ok(t, err)
		wantState, err := s.LoadState(id)
		ok(t, err)
		if !reflect.DeepEqual(&got, want) || !reflect.DeepEqual(&st, wantState) {
			t.Errorf("%s: %+v %+v\nwant %+v %+v", c.name, got, st, want, wantState)
		}
	}
}

// What one reader has read stays as it was when it reads the next.
func TestReaderKeepsNothing(t *testing.T) {
	s := newBox(t)
	for _, c := range []byte{'a', 'b'} {
		makeContainer(t, s, &Container{ID: ident(c), Name: string(c), Command: []string{"run", string(c)}})
		ok(t, SaveState(s.ContainerDir(ident(c)), &State{Status: Exited, Error: string(c)}, atomicfile.Fast))
	}
	r := list(t, s).Reader()
	var a, b Container
	var ast, bst State
	if !r.Read(ident('a'), &a, &ast) || !r.Read(ident('b'), &b, &bst) {
		t.Fatal("not read")
	}
	if a.Name != "a" || a.ID != ident('a') || a.Command[1] != "a" || ast.Error != "a" || b.Name != "b" {
		t.Errorf("%+v %+v", a, ast)
	}
}
