package engine

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rc-containers/rc/internal/atomicfile"
	"github.com/rc-containers/rc/internal/record"
)

func exited() *record.State {
	return &record.State{Status: record.Exited, BootID: record.BootID(), Finished: time.Now()}
}

func TestPruneContainers(t *testing.T) {
	w := newWorkshop(t)
	old := time.Now().Add(-2 * time.Hour)
	ended := w.put(&record.Container{ID: ident('1'), Name: "ended", Created: old, Volumes: []record.VolumeUse{{Name: "anon", Anonymous: true}}}, exited())
	made := w.put(&record.Container{ID: ident('2'), Name: "made", Created: time.Now(), Labels: map[string]string{"keep": "yes"}}, &record.State{Status: record.Created})
	far := w.put(&record.Container{ID: ident('3'), Name: "far", Created: old, MachineID: "another"}, exited())
	starting := w.put(&record.Container{ID: ident('4'), Name: "starting", Created: old}, exited())
	life, err := w.Store.TakeLife(starting)
	must(t, err)
	defer w.Store.DropLife(starting, life)
	_, err = w.Store.ProvideVolume(&record.Volume{Name: "anon", Anonymous: true}, atomicfile.Fast)
	must(t, err)
	must(t, os.WriteFile(w.Store.ContainerDir(ended)+"/upper/f", []byte("12345"), 0o600))

	p, err := w.PruneContainers(&PruneFilter{Until: old.Add(-time.Hour)})
	if err != nil || len(p.Removed) != 0 {
		t.Errorf("all are younger: %+v %v", p, err)
	}
	p, err = w.PruneContainers(&PruneFilter{Labels: func(l map[string]string) bool { return l["keep"] == "" }})
	if err != nil || !slices.Equal(p.Removed, []string{ended}) || p.Reclaimed < 5 {
		t.Errorf("%+v %v", p, err)
	}
	p, err = w.PruneContainers(&PruneFilter{})
	if err != nil || !slices.Equal(p.Removed, []string{made}) {
		t.Errorf("%+v %v", p, err)
	}
	for _, id := range []string{far, starting} {
		if _, err := w.Store.LoadContainer(id); err != nil {
			t.Errorf("one that is not ours to prune: %v", err)
		}
	}
	if _, err := w.Volume("anon"); err != nil {
		t.Errorf("volumes stay: %v", err)
	}
}

func TestPruneVolumes(t *testing.T) {
	w := newWorkshop(t)
	w.put(&record.Container{ID: ident('1'), Name: "user", MachineID: "another", Volumes: []record.VolumeUse{{Name: "used"}}}, exited())
	for _, v := range []*record.Volume{{Name: "used"}, {Name: "named", Labels: map[string]string{"a": "b"}}, {Name: "anon", Anonymous: true}} {
		_, err := w.Store.ProvideVolume(v, atomicfile.Fast)
		must(t, err)
		must(t, os.WriteFile(w.Store.VolumeData(v.Name)+"/f", []byte("1234"), 0o600))
	}
	p, err := w.PruneVolumes(false, &PruneFilter{})
	if err != nil || !slices.Equal(p.Removed, []string{"anon"}) || p.Reclaimed != 4 {
		t.Errorf("%+v %v", p, err)
	}
	p, err = w.PruneVolumes(true, &PruneFilter{Labels: func(l map[string]string) bool { return l["a"] == "" }})
	if err != nil || len(p.Removed) != 0 {
		t.Errorf("%+v %v", p, err)
	}
	p, err = w.PruneVolumes(true, &PruneFilter{})
	if err != nil || !slices.Equal(p.Removed, []string{"named"}) {
		t.Errorf("%+v %v", p, err)
	}
	list, err := w.Volumes()
	if err != nil || len(list) != 1 || list[0].Name != "used" || len(list[0].Users) != 1 {
		t.Errorf("%+v %v", list, err)
	}
	if left, _ := os.ReadDir(w.Store.Path("trash")); len(left) != 0 {
		t.Errorf("in the trash: %v", left)
	}
}

func TestRemoveVolume(t *testing.T) {
	w := newWorkshop(t)
	name, err := w.CreateVolume("", map[string]string{"a": "b"})
	must(t, err)
	v, err := w.Volume(name)
	if err != nil || !v.Anonymous || v.LabelText() != "a=b,"+AnonymousLabel+"=" {
		t.Errorf("%+v %v", v, err)
	}
	_, err = w.CreateVolume("a/b", nil)
	if err == nil {
		t.Error("a path is no name")
	}
	_, err = w.CreateVolume("data", nil)
	must(t, err)
	id := w.put(&record.Container{ID: ident('1'), Name: "user", Volumes: []record.VolumeUse{{Name: "data"}}}, exited())
	if err := w.RemoveVolume("data"); !errors.Is(err, record.ErrVolumeInUse) || !strings.Contains(err.Error(), id[:12]) {
		t.Errorf("%v", err)
	}
	_, err = w.Remove("user", false, false)
	must(t, err)
	must(t, w.RemoveVolume("data"))
	if err := w.RemoveVolume("data"); !errors.Is(err, record.ErrNoVolume) || !strings.Contains(err.Error(), "rc volume ls") {
		t.Errorf("%v", err)
	}
	// What a killed start has left half made does not keep a volume.
	_, err = w.CreateVolume("data", nil)
	must(t, err)
	w.put(&record.Container{ID: ident('2'), Name: "half", Volumes: []record.VolumeUse{{Name: "data"}}}, nil)
	must(t, w.RemoveVolume("data"))
}

func TestDiskUsage(t *testing.T) {
	w := newWorkshop(t)
	must(t, os.MkdirAll(w.Store.Path("storage/rc-layers"), 0o700))
	must(t, os.WriteFile(w.Store.Path("storage/rc-layers/layers.json"), []byte(`[{"id":"one","diff-size":100},{"id":"two","diff-size":20}]`), 0o600))
	must(t, os.MkdirAll(w.Store.Path("storage/rc/dir/three"), 0o700))
	must(t, os.WriteFile(w.Store.Path("storage/rc/dir/three/f"), []byte("123"), 0o600))
	dir := func(names ...string) (list []string) {
		for _, n := range names {
			list = append(list, w.Store.Path("storage/rc/dir", n))
		}
		return list
	}
	must(t, w.Store.SaveImage(&record.Image{ID: ident('a'), Layers: dir("two", "one"), Size: 120}))
	must(t, w.Store.SaveImage(&record.Image{ID: ident('b'), Layers: dir("three", "one"), Size: 103}))
	w.put(&record.Container{ID: ident('1'), Name: "c", Image: ident('a')}, exited())
	must(t, os.WriteFile(w.Store.ContainerDir(ident('1'))+"/upper/f", []byte("1234567"), 0o600))
	u, err := w.DiskUsage()
	must(t, err)
	if u.Layers != 123 || u.FreeLayers != 3 || len(u.Images) != 2 || u.Containers[0].Written != 7 || u.Containers[0].Active() {
		t.Errorf("%+v", u)
	}
	for _, img := range u.Images {
		if img.Shared != 100 || (img.Containers == 1) != (img.ID == ident('a')) {
			t.Errorf("%+v", img)
		}
	}
}
