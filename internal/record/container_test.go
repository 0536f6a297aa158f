package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rc-containers/rc/internal/atomicfile"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/slirp"
)

// newBox opens a store whose runtime folder is a temporary one, too.
func newBox(t testing.TB) *Store {
	t.Helper()
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	s, err := Open(t.TempDir() + "/root")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// ident makes a container id of one digit.
func ident(c byte) string { return strings.Repeat(string(c), 64) }

// makeContainer writes a folder and a record.
func makeContainer(t testing.TB, s *Store, c *Container) {
	t.Helper()
	ok(t, os.Mkdir(s.ContainerDir(c.ID), 0o700))
	ok(t, s.SaveContainer(c))
}

func TestContainerRoundTrip(t *testing.T) {
	s := newBox(t)
	want := &Container{Version: 1, ID: ident('a'), Name: "n", Image: "i", ImageName: "alpine", Created: time.Now().Round(0).UTC(),
		Command: []string{"sh", "-c", "é\x00<&"}, Labels: map[string]string{"k": "v"}, AutoRemove: true, TTY: true, Interactive: true,
		Network: "none", Ports: []slirp.Port{{HostPort: 1, ContainerPort: 2, Proto: "tcp"}},
		Volumes: []VolumeUse{{Name: "v", Destination: "/v", Anonymous: true}}, StopSignal: 15, StopAfter: time.Second, MachineID: "m"}
	makeContainer(t, s, want)
	got, err := s.LoadContainer(want.ID)
	ok(t, err)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v\nwant %+v", got, want)
	}
}

func TestStateRoundTrip(t *testing.T) {
	s := newBox(t)
	id := ident('a')
	ok(t, os.Mkdir(s.ContainerDir(id), 0o700))
	if st, err := s.LoadState(id); st != nil || err != nil {
		t.Errorf("no state yet: %v %v", st, err)
	}
	now := time.Now().Round(0).UTC()
	for _, want := range []*State{
		{Status: Created, ShimPID: 1, ShimStart: 2, BootID: "b"},
		{Status: Running, PID: 3, PIDStart: 4, Started: now, Cgroup: "/c", Driver: "overlay", Net: &slirp.Attached{IP: "10.0.2.100"}},
		{Status: Exited, ExitCode: 137, OOMKilled: true, Finished: now, Error: "e"},
	} {
		ok(t, SaveState(s.ContainerDir(id), want, atomicfile.Durable))
		got, err := s.LoadState(id)
		ok(t, err)
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%+v\nwant %+v", got, want)
		}
	}
}

// Nothing that belongs to another process's view may be stored: what is exported
// is in the file, and a field that is added shows up here.
func TestStateFileHoldsEveryField(t *testing.T) {
	var text map[string]any
	data, err := json.Marshal(State{PID: 1, PIDStart: 1, ShimPID: 1, ShimStart: 1, Started: time.Now(), Finished: time.Now(),
		OOMKilled: true, Error: "e", Cgroup: "c", Driver: "d", DriverNote: "n", Net: &slirp.Attached{},
		Fresh: true, Stopped: true, RestartCount: 1, NextStart: time.Now(), Health: &Health{}})
	ok(t, err)
	ok(t, json.Unmarshal(data, &text))
	for _, f := range reflect.VisibleFields(reflect.TypeFor[State]()) {
		if _, there := text[f.Name]; !there {
			t.Errorf("%s is not stored", f.Name)
		}
	}
}

func TestLoadRefuses(t *testing.T) {
	s := newBox(t)
	if _, err := s.LoadContainer(ident('a')); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
	for i, text := range []string{" ", "{", "[]", `{"ID":"` + ident('f') + `"}`, "null"} {
		id := ident(byte('0' + i))
		ok(t, os.Mkdir(s.ContainerDir(id), 0o700))
		ok(t, os.WriteFile(s.ContainerDir(id)+"/container.json", []byte(text), 0o600))
		ok(t, os.WriteFile(s.ContainerDir(id)+"/state.json", []byte(text), 0o600))
		if c, err := s.LoadContainer(id); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a record of %q: %+v, %v", text, c, err)
		}
		if _, err := s.LoadState(id); err == nil && i < 3 {
			t.Errorf("a state of %q was taken", text)
		}
	}
}

func TestContainerIDs(t *testing.T) {
	s := newBox(t)
	for _, name := range []string{ident('b'), ident('a'), "lost+found", "abc", ident('G'), ident('a') + "0", ".tmp"} {
		ok(t, os.Mkdir(s.Path("containers", name), 0o700))
	}
	ids, err := s.ContainerIDs()
	ok(t, err)
	if want := []string{ident('a'), ident('b')}; !reflect.DeepEqual(ids, want) {
		t.Errorf("%v", ids)
	}
}

func TestFindContainer(t *testing.T) {
	s := newBox(t)
	one, two := "ab"+strings.Repeat("1", 62), "ab"+strings.Repeat("2", 62)
	for _, c := range []*Container{{ID: one, Name: "web"}, {ID: two, Name: "ab1"}} { // a name that looks like one's id
		makeContainer(t, s, c)
		ok(t, s.ClaimName(c.Name, c.ID))
	}
	for ref, want := range map[string]string{one: one, "web": one, "ab1": two, "ab11": one, "ab2": two, one[:63]: one, "/web": one, "/ab11": one} {
		if got, err := s.FindContainer(ref); err != nil || got != want {
			t.Errorf("%q: %.6s, %v; want %.6s", ref, got, err, want)
		}
	}
	for _, ref := range []string{"", "nope", "ABC", "c", ident('c'), "../containers", "/", ".", "web/..", "a\x00b", "ab1 "} {
		_, err := s.FindContainer(ref)
		if !errors.Is(err, ErrNoContainer) || hint.ExitCode(err) != 1 {
			t.Errorf("%q: %v (exit code %d)", ref, err, hint.ExitCode(err))
		}
	}
	_, err := s.FindContainer("ab")
	if err == nil || errors.Is(err, ErrNoContainer) || !strings.Contains(err.Error(), "2 ids") || hint.ExitCode(err) != 1 {
		t.Errorf("an ambiguous start: %v", err)
	}
}

func TestNames(t *testing.T) {
	s := newBox(t)
	ok(t, s.ClaimName("web", ident('a')))
	if err := s.ClaimName("web", ident('b')); !errors.Is(err, fs.ErrExist) {
		t.Errorf("claimed twice: %v", err)
	}
	if err := s.ClaimName("web", ident('a')); !errors.Is(err, fs.ErrExist) {
		t.Errorf("claimed twice by one: %v", err)
	}
	ok(t, s.DropName("web", ident('b'))) // not b's to drop
	if id, err := s.NameHolder("web"); err != nil || id != ident('a') {
		t.Errorf("%s %v", id, err)
	}
	ok(t, s.DropName("web", ident('a')))
	ok(t, s.DropName("web", ident('a')))
	if _, err := s.NameHolder("web"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("dropped: %v", err)
	}
	ok(t, s.ClaimName("web", ident('b')))
	entries, err := os.ReadDir(s.Path("container-names"))
	ok(t, err)
	if len(entries) != 1 {
		t.Errorf("temporary files are left: %v", entries)
	}
}

func TestNameHolderRefuses(t *testing.T) {
	s := newBox(t)
	for name, text := range map[string]string{"empty": "", "short": "abc", "path": "../../etc", "upper": strings.Repeat("A", 64)} {
		ok(t, os.WriteFile(s.Path("container-names", name), []byte(text), 0o600))
		if id, err := s.NameHolder(name); err == nil {
			t.Errorf("%s gives %q", name, id)
		}
	}
	for _, name := range []string{"", ".", "..", ".hidden", "a/b", "../../../etc/passwd", "a\x00b"} {
		if id, err := s.NameHolder(name); !errors.Is(err, ErrNoContainer) {
			t.Errorf("%q: %q %v", name, id, err)
		}
	}
}

// One hundred starts with one name: exactly one gets it, and no reader ever sees
// a name without its holder.
func TestClaimRace(t *testing.T) {
	s := newBox(t)
	for round := range 20 {
		name := fmt.Sprintf("name%d", round)
		var wg sync.WaitGroup
		won := make(chan string, 100)
		begin := make(chan struct{})
		for i := range 100 {
			id := fmt.Sprintf("%064x", i)
			wg.Go(func() {
				<-begin
				switch err := s.ClaimName(name, id); {
				case err == nil:
					won <- id
				case !errors.Is(err, fs.ErrExist):
					t.Error(err)
				default:
					if _, err := s.NameHolder(name); err != nil {
						t.Errorf("taken, but by nobody: %v", err)
					}
				}
			})
		}
		close(begin)
		wg.Wait()
		close(won)
		var winners []string
		for id := range won {
			winners = append(winners, id)
		}
		if holder, err := s.NameHolder(name); err != nil || len(winners) != 1 || winners[0] != holder {
			t.Fatalf("winners %v, holder %s, %v", winners, holder, err)
		}
	}
}

func TestTrash(t *testing.T) {
	s := newBox(t)
	id := ident('a')
	fill := func() {
		ok(t, os.Mkdir(s.ContainerDir(id), 0o700))
		ok(t, os.WriteFile(s.ContainerDir(id)+"/f", nil, 0o600))
	}
	seen := map[string]bool{}
	for range 3 { // an earlier removal of the same id may still be under way
		fill()
		to, err := s.Trash(id)
		ok(t, err)
		if seen[to] || filepath.Dir(to) != s.Path("trash") {
			t.Errorf("trashed as %s", to)
		}
		seen[to] = true
		if _, err := os.Lstat(to + "/f"); err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(s.ContainerDir(id)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("still there: %v", err)
		}
	}
	to, err := s.Trash(id) // removed by another command meanwhile
	if err != nil || filepath.Dir(to) != s.Path("trash") {
		t.Errorf("%s %v", to, err)
	}
}

// Removing one container twice at once: both succeed and one folder results.
func TestTrashRace(t *testing.T) {
	s := newBox(t)
	for range 30 {
		id := ident('c')
		ok(t, os.Mkdir(s.ContainerDir(id), 0o700))
		ok(t, os.WriteFile(s.ContainerDir(id)+"/f", nil, 0o600))
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if _, err := s.Trash(id); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		entries, err := os.ReadDir(s.Path("trash"))
		ok(t, err)
		if len(entries) != 1 {
			t.Fatalf("%d folders in the trash", len(entries))
		}
		ok(t, os.RemoveAll(s.Path("trash", entries[0].Name())))
	}
}

func TestValidID(t *testing.T) {
	for _, id := range []string{ident('0'), ident('f'), strings.Repeat("0123456789abcdef", 4)} {
		if !ValidID(id) {
			t.Errorf("%q is one", id)
		}
	}
	for _, id := range []string{"", "abc", ident('g'), ident('A'), ident('a') + "a", ident('a')[:63], strings.Repeat("a", 31) + "/" + strings.Repeat("a", 32), "\n" + ident('a')[:63]} {
		if ValidID(id) {
			t.Errorf("%q is none", id)
		}
	}
}
