package record

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/atomicfile"
)

func volumeStore(t *testing.T) *Store {
	t.Helper()
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// use makes a container's record that names volumes.
func use(t *testing.T, s *Store, id string, names ...string) {
	t.Helper()
	if err := os.MkdirAll(s.ContainerDir(id), 0o700); err != nil {
		t.Fatal(err)
	}
	c := &Container{ID: id}
	for _, n := range names {
		c.Volumes = append(c.Volumes, VolumeUse{Name: n})
	}
	if err := s.SaveContainer(c); err != nil {
		t.Fatal(err)
	}
}

func TestVolumeIsMadeOnce(t *testing.T) {
	s := volumeStore(t)
	for _, d := range []atomicfile.Durability{atomicfile.Fast, atomicfile.Durable} {
		name := map[atomicfile.Durability]string{atomicfile.Fast: "fast", atomicfile.Durable: "durable"}[d]
		made, err := s.ProvideVolume(&Volume{Name: name, Labels: map[string]string{"a": "b"}}, d)
		if err != nil || !made {
			t.Fatalf("%v %v", made, err)
		}
		// A second one neither makes nor changes it.
		made, err = s.ProvideVolume(&Volume{Name: name, Labels: map[string]string{"a": "other"}, Anonymous: true}, d)
		if err != nil || made {
			t.Errorf("%v %v", made, err)
		}
		v, err := s.LoadVolume(name)
		if err != nil || v.Labels["a"] != "b" || v.Anonymous || time.Since(v.CreatedAt) > time.Minute || v.CreatedAt.IsZero() {
			t.Errorf("%+v %v", v, err)
		}
		if fi, err := os.Stat(s.VolumeData(name)); err != nil || fi.Mode().Perm() != 0o755 {
			t.Errorf("%v %v", fi, err)
		}
	}
	list, err := s.Volumes()
	if err != nil || len(list) != 2 || list[0].Name != "durable" {
		t.Errorf("%v %v", list, err)
	}
}

func TestVolumeNamesAreNoPaths(t *testing.T) {
	s := volumeStore(t)
	for _, name := range []string{"", ".", "..", "../images", "a/b", ".hidden", "a\x00b"} {
		if _, err := s.ProvideVolume(&Volume{Name: name}, atomicfile.Fast); err == nil {
			t.Errorf("%q was made", name)
		}
		if _, err := s.LoadVolume(name); !errors.Is(err, ErrNoVolume) {
			t.Errorf("load %q: %v", name, err)
		}
		if _, err := s.TrashVolume(name, ""); !errors.Is(err, ErrNoVolume) {
			t.Errorf("trash %q: %v", name, err)
		}
	}
}

// What the version before made has a folder and nothing else.
func TestVolumeWithoutARecord(t *testing.T) {
	s := volumeStore(t)
	anonymous := strings.Repeat("0a", 32)
	for _, name := range []string{"named", anonymous} {
		if err := os.MkdirAll(s.VolumeData(name), 0o755); err != nil {
			t.Fatal(err)
		}
		v, err := s.LoadVolume(name)
		if err != nil || v.Name != name || v.Anonymous != (name == anonymous) || v.CreatedAt.IsZero() {
			t.Errorf("%+v %v", v, err)
		}
		if made, err := s.ProvideVolume(&Volume{Name: name}, atomicfile.Durable); made || err != nil {
			t.Errorf("%v %v", made, err)
		}
	}
	// One whose record a power cut emptied is as one without.
	if err := os.WriteFile(s.Path("volumes", "named", "volume.json"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if v, err := s.LoadVolume("named"); err != nil || v.Name != "named" {
		t.Errorf("%+v %v", v, err)
	}
	trash, err := s.TrashVolume("named", "")
	if err != nil || filepath.Dir(trash) != s.Path("trash") {
		t.Errorf("%s %v", trash, err)
	}
	if err := os.WriteFile(s.Path("volumes", "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.LoadVolume("file"); !errors.Is(err, ErrNoVolume) {
		t.Errorf("a file: %v", err)
	}
}

func TestVolumeInUse(t *testing.T) {
	s := volumeStore(t)
	if _, err := s.ProvideVolume(&Volume{Name: "data"}, atomicfile.Fast); err != nil {
		t.Fatal(err)
	}
	one, two := strings.Repeat("1", 64), strings.Repeat("2", 64)
	use(t, s, one, "data", "other")
	if _, err := s.TrashVolume("data", ""); !errors.Is(err, ErrVolumeInUse) || !strings.Contains(err.Error(), one[:12]) {
		t.Errorf("%v", err)
	}
	use(t, s, two, "data")
	if _, err := s.TrashVolume("data", one); !errors.Is(err, ErrVolumeInUse) || strings.Contains(err.Error(), one[:12]) {
		t.Errorf("one of two users does not count: %v", err)
	}
	if _, err := s.Trash(two); err != nil {
		t.Fatal(err)
	}
	// What cannot be read may name it.
	broken := strings.Repeat("3", 64)
	use(t, s, broken)
	if err := os.WriteFile(filepath.Join(s.ContainerDir(broken), "container.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.TrashVolume("data", one); err == nil || !strings.Contains(err.Error(), "rc rm -f "+broken[:12]) {
		t.Errorf("a damaged record: %v", err)
	}
	if _, err := s.Trash(broken); err != nil {
		t.Fatal(err)
	}
	trash, err := s.TrashVolume("data", one)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(trash, "_data")); err != nil {
		t.Error(err)
	}
	if _, err := s.LoadVolume("data"); !errors.Is(err, ErrNoVolume) {
		t.Errorf("%v", err)
	}
}

// A start names the volume in its record and then takes it; whoever removes
// volumes at the same moment either is refused, or has taken it away before, and
// then the start has a new one. No start ends up with a folder in the trash.
func TestStartAgainstRemoval(t *testing.T) {
	s := volumeStore(t)
	const starts = 100
	stop := make(chan struct{})
	var removers sync.WaitGroup
	for range 2 {
		removers.Add(1)
		go func() {
			defer removers.Done()
			for {
				select {
				case <-stop:
					return
				default:
					_, err := s.TrashVolume("data", "")
					if err != nil && !errors.Is(err, ErrVolumeInUse) && !errors.Is(err, ErrNoVolume) {
						t.Error(err)
					}
				}
			}
		}()
	}
	for i := range starts {
		id := strings.Repeat("ab", 31) + string("0123456789"[i/10%10]) + string("0123456789"[i%10])
		use(t, s, id, "data")
		if _, err := s.ProvideVolume(&Volume{Name: "data"}, atomicfile.Fast); err != nil {
			t.Fatal(err)
		}
		for range 20 {
			if _, err := os.Stat(s.VolumeData("data")); err != nil {
				t.Fatalf("start %d lost its volume: %v", i, err)
			}
		}
		if err := os.RemoveAll(s.ContainerDir(id)); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	removers.Wait()
}

// Two starts that make the same volume at once have one, with one record.
func TestVolumeIsMadeByManyAtOnce(t *testing.T) {
	s := volumeStore(t)
	var all sync.WaitGroup
	var mu sync.Mutex
	makers := 0
	for range 8 {
		all.Add(1)
		go func() {
			defer all.Done()
			made, err := s.ProvideVolume(&Volume{Name: "data"}, atomicfile.Durable)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			}
			if made {
				makers++
			}
		}()
	}
	all.Wait()
	if makers != 1 {
		t.Errorf("%d made it", makers)
	}
	var v Volume
	data, err := os.ReadFile(s.Path("volumes", "data", "volume.json"))
	if err == nil {
		err = json.Unmarshal(data, &v)
	}
	if err != nil || v.Name != "data" {
		t.Errorf("%+v %v", v, err)
	}
}

// What cannot be written leaves nothing behind, and says why.
func TestVolumeOnAReadOnlyStore(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root writes everywhere")
	}
	s := volumeStore(t)
	if err := os.Chmod(s.Path("volumes"), 0o500); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(s.Path("volumes"), 0o700) })
	if _, err := s.ProvideVolume(&Volume{Name: "data"}, atomicfile.Fast); !errors.Is(err, unix.EACCES) {
		t.Errorf("%v", err)
	}
}
