package shim

import (
	"errors"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/record"
)

// placesDir is a folder of the store that lies below all layers of every overlay, as
// Docker's "-init" layer lies above them: the mount points that an image may lack.
// Made by init instead, /etc is copied up and three files are created, and later
// deleted, for each start: 0.9 of 20 ms, and on ext4 without a journal ever more,
// since each inode that is made there looks at all that were deleted lately
// (fs/ext4/ialloc.c, recently_deleted).
//
// Being the lowest, it changes nothing that an image has: not what it holds, nor what
// it deleted, nor a link in the place of /etc.
const placesDir = "places"

// maxStack bounds the layers to which one more is added: the old mount(2) takes a
// page of them (fuse.overlayByMount).
const maxStack = 100

var (
	placeFolders = []string{"", "etc", "proc", "sys", "dev"}
	placeFiles   = []string{"etc/resolv.conf", "etc/hostname", "etc/hosts"} // the last one tells that all are there
)

// withPlaces adds that folder to the layers. Where it cannot be had, init makes what
// it needs.
func withPlaces(store *record.Store, layers []string) []string {
	if len(layers) == 0 || len(layers) >= maxStack {
		return layers
	}
	at := store.Path(placesDir)
	if unix.Access(filepath.Join(at, placeFiles[len(placeFiles)-1]), unix.F_OK) != nil && makePlaces(at) != nil {
		return layers
	}
	return append(slices.Clip(layers), at)
}

// makePlaces may run in many shims at once, and after one that was killed.
func makePlaces(at string) error {
	for _, name := range placeFolders {
		path := filepath.Join(at, name)
		if err := os.Mkdir(path, 0o755); err != nil && !errors.Is(err, unix.EEXIST) {
			return err
		}
		if err := os.Chmod(path, 0o755); err != nil { // whatever the umask
			return err
		}
	}
	for _, name := range placeFiles {
		f, err := os.OpenFile(filepath.Join(at, name), os.O_CREATE|os.O_RDONLY|unix.O_NOFOLLOW, 0o644)
		if err != nil {
			return err
		}
		if err = errors.Join(f.Chmod(0o644), f.Close()); err != nil {
			return err
		}
	}
	return nil
}
