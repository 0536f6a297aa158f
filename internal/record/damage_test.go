package record

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/atomicfile"
)

// What `rc ps` calls by a name is found by it, whatever became of the name's file.
func TestContainerIsFoundByTheNameInItsRecord(t *testing.T) {
	for what, damage := range map[string]func(path string) error{
		"gone":      os.Remove,
		"half":      func(path string) error { return os.WriteFile(path, []byte(ident('a')[:30]), 0o600) },
		"other":     func(path string) error { return os.WriteFile(path, []byte("{}\x01\xff"), 0o600) },
		"folder":    func(path string) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) },
		"no rights": func(path string) error { return os.Chmod(path, 0) },
	} {
		s := newBox(t)
		makeContainer(t, s, &Container{ID: ident('a'), Name: "web"})
		makeContainer(t, s, &Container{ID: ident('b'), Name: "db"})
		ok(t, s.ClaimName("web", ident('a')))
		ok(t, damage(s.Path("container-names", "web")))
		for _, ref := range []string{"web", "/web"} {
			if id, err := s.FindContainer(ref); id != ident('a') || err != nil {
				t.Errorf("%s: %s is %q, %v", what, ref, id, err)
			}
		}
		if _, err := s.FindContainer("nobody"); !errors.Is(err, ErrNoContainer) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// While nobody can tell whose an empty name is, it stays.
func TestNameStaysWhileRecordsCannotBeListed(t *testing.T) {
	s := newBox(t)
	path := s.Path("container-names", "web")
	ok(t, errors.Join(os.WriteFile(path, make([]byte, 65), 0o600), os.Remove(s.Path("containers")), os.WriteFile(s.Path("containers"), nil, 0o600)))
	if id, err := s.FindContainer("web"); !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("%q, %v", id, err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Error(err)
	}
}

// A state that names no status is damage, not a container that has ended.
func TestStateWithoutStatusIsDamage(t *testing.T) {
	s := newBox(t)
	makeContainer(t, s, &Container{ID: ident('a')})
	path := filepath.Join(s.ContainerDir(ident('a')), "state.json")
	for _, text := range []string{"{}", "null"} {
		ok(t, os.WriteFile(path, []byte(text), 0o600))
		if _, err := s.LoadState(ident('a')); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", text, err)
		}
		l, err := s.ListContainers()
		ok(t, err)
		if l.Reader().Read(ident('a'), new(Container), new(State)) {
			t.Errorf("%s: taken for whole", text)
		}
		l.Close()
	}
}

// A FIFO in the place of a record is waited for by nobody.
func TestFIFOInTheStore(t *testing.T) {
	s := newBox(t)
	makeContainer(t, s, &Container{ID: ident('a'), Name: "web"})
	ok(t, SaveState(s.ContainerDir(ident('a')), &State{Status: Exited}, atomicfile.Fast))
	ok(t, s.ClaimName("web", ident('a')))
	for _, file := range []string{"containers/" + ident('a') + "/container.json", "containers/" + ident('a') + "/state.json", "container-names/web"} {
		path := s.Path(file)
		ok(t, errors.Join(os.Rename(path, path+".aside"), unix.Mkfifo(path, 0o600)))
		done := make(chan bool)
		go func() {
			_, _ = s.LoadContainer(ident('a'))
			_, _ = s.LoadState(ident('a'))
			_, _ = s.FindContainer("web")
			if l, err := s.ListContainers(); err == nil {
				l.Reader().Read(ident('a'), new(Container), new(State))
				l.Close()
			}
			close(done)
		}()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: somebody waits for a writer", file)
		}
		ok(t, os.Rename(path+".aside", path))
	}
}

// A record that cannot be read hides no image but its own, and the refusal names the
// file.
func TestImageRecordOfAnother(t *testing.T) {
	for _, text := range []string{"{}", "null", "[]", "", `{"ID":"` + strings.Repeat("a", 100000) + `"}`} {
		s := imageStore(t, idA, idB)
		path := s.Path("images", idB, "image.json")
		ok(t, os.WriteFile(path, []byte(text), 0o600))
		images, err := s.Images()
		if len(images) != 1 || images[0].ID != idA {
			t.Errorf("%.20s: %+v", text, images)
		}
		if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "rc rmi -f "+idB[:12]) || len(err.Error()) > 500 {
			t.Errorf("%.20s: %.600v", text, err)
		}
	}
}

// Who cannot read one record still learns what the others name, and that it is not all.
func TestVolumeUsersBesideDamage(t *testing.T) {
	s := newBox(t)
	makeContainer(t, s, &Container{ID: ident('a')})
	makeContainer(t, s, &Container{ID: ident('b'), Volumes: []VolumeUse{{Name: "data"}}})
	ok(t, os.WriteFile(filepath.Join(s.ContainerDir(ident('a')), "container.json"), []byte("{"), 0o600))
	users, err := s.VolumeUsers()
	if err == nil || !strings.Contains(err.Error(), "rc rm -f "+ident('a')[:12]) || errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if len(users["data"]) != 1 || users["data"][0] != ident('b') {
		t.Errorf("%+v", users)
	}
}
