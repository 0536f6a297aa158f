// Package layers is the store of image layers: github.com/containers/storage
// with a driver of our own, which only unpacks. Only rc-image links it.
//
//	<root>/storage/rc/dir/<layer>/   the files of one layer, as rc mounts them
//	<root>/storage/rc-layers/        the library's records: digests, tar-split
//	<root>/storage/rc-images/        manifests and configs, for push and save
//	<root>/storage/rc/format         FormatOverlay or FormatAufs, found by trying
//	<root>/storage/lock              shared by whoever adds, exclusive by Collect
package layers

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/containers/storage"
	"github.com/containers/storage/types"
	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/atomicfile"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
)

// Store is the open layer store. The embedded library store is what
// containers/image copies to and from.
type Store struct {
	storage.Store
	Format   string // of what is unpacked now
	SingleID bool

	lock *os.File
}

// Open opens the store below a state root, made if need be, and holds it
// against Collect until Close. The process stands in U0, where
// _CONTAINERS_USERNS_CONFIGURED must be set: without it the library marks
// opaque folders in trusted.overlay, which a user namespace may not write.
func Open(root string) (*Store, error) {
	home := filepath.Join(root, "storage")
	if err := os.MkdirAll(filepath.Join(home, driverName), 0o700); err != nil {
		return nil, hint.New("open the image store", err, "name a folder that you can write to: rc --root DIR ...")
	}
	lock, err := record.LockFile(filepath.Join(home, "lock"), unix.LOCK_SH)
	if err != nil {
		return nil, hint.New("open the image store", err, "")
	}
	s, err := open(home)
	if err != nil {
		_ = lock.Close()
		return nil, hint.New("open the image store "+home, err, "")
	}
	s.lock = lock
	return s, nil
}

func open(home string) (*Store, error) {
	format, err := storeFormat(filepath.Join(home, driverName))
	if err != nil {
		return nil, err
	}
	ids, err := readIDRanges()
	if err != nil {
		return nil, err
	}
	p := policy{format: format, singleID: ids.single()}
	inner, err := storage.GetStore(types.StoreOptions{
		GraphRoot: home, RunRoot: filepath.Join(home, "run"),
		GraphDriverName: driverName, GraphDriverOptions: p.options(),
		PullOptions: map[string]string{"enable_partial_images": "false"},
	})
	if err != nil {
		return nil, err
	}
	return &Store{Store: inner, Format: format, SingleID: p.singleID}, nil
}

// Close lets Collect run.
func (s *Store) Close() error { return s.lock.Close() }

// storeFormat tries once what the store's file system can hold, and keeps to
// it: layers of two formats cannot lie in one overlay.
func storeFormat(dir string) (string, error) {
	path := filepath.Join(dir, "format")
	if b, err := os.ReadFile(path); err == nil {
		switch f := strings.TrimSpace(string(b)); f {
		case record.FormatOverlay, record.FormatAufs:
			return f, nil
		}
		return "", fmt.Errorf("%s is damaged", path)
	}
	format := record.FormatOverlay
	if err := tryOverlayMarks(dir); err != nil {
		format = record.FormatAufs
	}
	return format, atomicfile.Write(path, []byte(format+"\n"), 0o600, atomicfile.Fast)
}

// tryOverlayMarks makes the two marks of the kernel's overlay: a 0:0 device
// (in a user namespace since Linux 5.8) and the user xattr of an opaque folder
// (tmpfs has user xattrs since 6.6; NFS since 5.9 where the server does).
func tryOverlayMarks(dir string) error {
	if os.Getenv("RC_TEST_STORE_FORMAT") == record.FormatAufs {
		return errors.ErrUnsupported
	}
	try, err := os.MkdirTemp(dir, ".try")
	if err != nil {
		return err
	}
	defer os.RemoveAll(try)
	if err := unix.Setxattr(try, "user.overlay.opaque", []byte("y"), 0); err != nil {
		return err
	}
	return unix.Mknod(filepath.Join(try, "whiteout"), unix.S_IFCHR, 0)
}

// Folders lists the folders of an image from its topmost layer down.
func (s *Store) Folders(topLayer string) ([]string, error) {
	var folders []string
	for id := topLayer; id != ""; {
		layer, err := s.Layer(id)
		if err != nil {
			return nil, err
		}
		dir := filepath.Join(s.GraphRoot(), driverName, "dir", layer.ID)
		if _, err := os.Stat(dir); err != nil {
			return nil, err
		}
		folders = append(folders, dir)
		id = layer.Parent
	}
	return folders, nil
}

// Alone tells whether no other process has the store open: then whatever was being
// added when it was last looked at is there with its names, or was given up.
func (s *Store) Alone() bool {
	if unix.Flock(int(s.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		return false
	}
	return unix.Flock(int(s.lock.Fd()), unix.LOCK_SH) == nil
}

// Collect removes images without a record and layers that no image needs and
// that were made after since (zero: all that are older than a day, which an
// interrupted pull may have left to go on from). It does nothing, and says so,
// while another process adds to the store.
func (s *Store) Collect(hasRecord func(id string) bool, since time.Time) (bool, error) {
	if err := unix.Flock(int(s.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return false, nil //nolint:nilerr // busy: whoever adds now collects later
	}
	defer func() { _ = unix.Flock(int(s.lock.Fd()), unix.LOCK_SH) }()
	images, err := s.Images()
	if err != nil {
		return true, err
	}
	var failed []error
	for _, img := range images {
		if !hasRecord(img.ID) {
			if _, err := s.DeleteImage(img.ID, true); err != nil {
				failed = append(failed, err)
			}
		}
	}
	return true, errors.Join(append(failed, s.collectLayers(since))...)
}

// collectLayers removes leaves first: a layer can go when nothing stands on it.
func (s *Store) collectLayers(since time.Time) error {
	stale := func(created time.Time) bool {
		if since.IsZero() {
			return time.Since(created) > 24*time.Hour
		}
		return !created.Before(since)
	}
	for {
		all, err := s.Layers()
		if err != nil {
			return err
		}
		images, err := s.Images()
		if err != nil {
			return err
		}
		needed := make(map[string]bool)
		for _, img := range images {
			needed[img.TopLayer] = true
		}
		for _, l := range all {
			needed[l.Parent] = true
		}
		removed := 0
		for _, l := range all {
			if needed[l.ID] || !stale(l.Created) {
				continue
			}
			if err := s.DeleteLayer(l.ID); err != nil {
				return err
			}
			removed++
		}
		if removed == 0 {
			return nil
		}
	}
}
