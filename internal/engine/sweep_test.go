package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/spec"
)

// there fails unless each path exists, or does not.
func there(t *testing.T, want bool, paths ...string) {
	t.Helper()
	for _, path := range paths {
		if _, err := os.Lstat(path); err == nil != want || err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v, want it there: %v", path, err, want)
		}
	}
}

// stray leaves what a killed start had of a container without a folder.
func (w *workshop) stray(id, name, image string) (paths []string) {
	w.Helper()
	sock, err := w.Store.ControlPath(id)
	must(w.T, err)
	lock, err := w.Store.LifeLockPath(id)
	must(w.T, err)
	must(w.T, os.WriteFile(sock, nil, 0o600))
	must(w.T, os.WriteFile(lock, nil, 0o600))
	paths = []string{sock, lock}
	if name != "" {
		must(w.T, w.Store.ClaimName(name, id))
		paths = append(paths, w.Store.Path("container-names", name))
	}
	if image != "" {
		must(w.T, w.Store.AcquireImage(image, id))
		paths = append(paths, w.Store.Path("images", image, "users", id))
	}
	return paths
}

// sweepNow sweeps after a look of its own, as List does.
func sweepNow(e *Engine) {
	if seen, err := e.Store.ListContainers(); err == nil {
		e.sweep(seen)
		seen.Close()
	}
}

func TestSweep(t *testing.T) {
	w := newWorkshop(t)
	image := ident('9')
	must(t, w.Store.SaveImage(&record.Image{ID: image, Architecture: runtime.GOARCH, OS: "linux", Layers: []string{"/l"}}))
	kept := w.put(&record.Container{ID: ident('a'), Name: "kept", Image: image}, &record.State{Status: record.Exited})
	must(t, w.Store.AcquireImage(image, kept))
	all := w.stray(ident('b'), "killed", image)
	all = append(all, w.stray(ident('c'), "", "")...)
	half := w.Store.Path("container-names", "."+ident('d')) // a claim that was killed before its link
	must(t, os.WriteFile(half, []byte(ident('d')+"\n"), 0o600))

	young := w.stray(ident('e'), "young", image) // somebody is at work on it
	holder, err := w.Store.TakeLife(ident('e'))
	must(t, err)
	defer holder.Close()

	for range 2 { // the second finds nothing to do
		sweepNow(w.Engine)
		there(t, false, append(all, half)...)
		there(t, true, young...)
		there(t, true, w.Store.ContainerDir(kept), w.Store.Path("container-names/kept"), w.Store.Path("images", image, "users", kept))
	}
	if users, err := w.Store.ImageUsers(image); err != nil || len(users) != 2 {
		t.Errorf("%v %v", users, err)
	}
}

// Things that are not ours to understand are left: a sweep deletes by id only.
func TestSweepLeavesTheRest(t *testing.T) {
	w := newWorkshop(t)
	dir, err := w.Store.Runtime()
	must(t, err)
	var odd []string
	for _, path := range []string{dir + "/c/README", dir + "/c/short.lock", w.Store.Path("container-names/garbage"), w.Store.Path("container-names/.tmp")} {
		must(t, os.WriteFile(path, []byte("../../etc"), 0o600))
		odd = append(odd, path)
	}
	sweepNow(w.Engine)
	there(t, true, odd...)
}

// A start beside a sweep never loses its name or its lock.
func TestSweepBesideStarts(t *testing.T) {
	w := newWorkshop(t)
	stop := make(chan struct{})
	swept := make(chan int)
	go func() {
		n := 0
		for ; ; n++ {
			select {
			case <-stop:
				swept <- n
				return
			default:
				sweepNow(&Engine{Store: w.Store, Warn: func(string) {}})
			}
		}
	}()
	for i := range 200 {
		id := fmt.Sprintf("%064x", i+1)
		l := w.launch(&spec.Options{Name: fmt.Sprintf("name%d", i)})
		l.id = id
		must(t, l.claim())
		if i%10 == 0 {
			time.Sleep(time.Millisecond)
		}
		must(t, os.Mkdir(w.Store.ContainerDir(id), 0o700))
		if holder, err := w.Store.NameHolder(fmt.Sprintf("name%d", i)); holder != id {
			t.Fatalf("start %d lost its name: %v", i, err)
		}
		must(t, l.files["life"].Close())
	}
	close(stop)
	if n := <-swept; n == 0 {
		t.Error("no sweep ran")
	}
}

func TestSweepTemporary(t *testing.T) {
	dir := t.TempDir()
	dead, alive := deadProcess(t).PID, os.Getpid()
	old := time.Now().Add(-time.Hour)
	for name, c := range map[string]struct {
		when time.Time
		kept bool
	}{
		fmt.Sprintf(".docker.io%%2Flibrary%%2Falpine:latest.%d.1", dead):  {old, false},
		fmt.Sprintf(".docker.io%%2Flibrary%%2Falpine:latest.%d.1", alive): {old, true},
		fmt.Sprintf(".young.x.%d.1", dead):                                {time.Now(), true},
		fmt.Sprintf("visible.x.%d.1", dead):                               {old, true},
		".few.parts":                                                      {old, true},
		".no.pid.x.1":                                                     {old, true},
		".negative.-1.1":                                                  {old, true},
		".zero.0.1":                                                       {old, true},
	} {
		path := dir + "/" + name
		must(t, os.WriteFile(path, nil, 0o600))
		must(t, os.Chtimes(path, c.when, c.when))
		sweepTemporary(dir)
		there(t, c.kept, path)
	}
	sweepTemporary(dir + "/missing")
}
