package shim

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/record"
)

// Many shims make the folder at once, one was killed in the midst of it, and the
// umask of whoever typed the first `rc` is in none of it.
func TestPlaces(t *testing.T) {
	store := &record.Store{Root: t.TempDir()}
	if err := os.MkdirAll(store.Path(placesDir, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	defer unix.Umask(unix.Umask(0o077))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if got := withPlaces(store, []string{"/layer"}); len(got) != 2 || got[0] != "/layer" || got[1] != store.Path(placesDir) {
				t.Errorf("layers %q", got)
			}
		})
	}
	wg.Wait()
	for _, name := range placeFiles {
		st, err := os.Stat(store.Path(placesDir, name))
		if err != nil || st.Mode() != 0o644 || st.Size() != 0 {
			t.Errorf("%s: %v %v", name, st, err)
		}
	}
	for _, name := range placeFolders {
		if st, err := os.Stat(filepath.Join(store.Path(placesDir), name)); err != nil || !st.IsDir() || st.Mode().Perm() != 0o755 {
			t.Errorf("folder %q: %v %v", name, st, err)
		}
	}
}

// Where there is no place for it, or too many layers, the layers stay as they are.
func TestNoPlaces(t *testing.T) {
	store := &record.Store{Root: filepath.Join(t.TempDir(), "absent")}
	if got := withPlaces(store, []string{"/layer"}); len(got) != 1 {
		t.Errorf("without a store: %q", got)
	}
	store.Root = t.TempDir()
	for _, layers := range [][]string{nil, make([]string, maxStack)} {
		if got := withPlaces(store, layers); len(got) != len(layers) {
			t.Errorf("%d layers became %d", len(layers), len(got))
		}
	}
}
