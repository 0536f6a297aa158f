package transfer

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/record"
)

// PruneOptions say which images go. In use is an image that a container of any
// state refers to: it never goes, and neither do its layers.
type PruneOptions struct {
	All       bool      // also those that have a name
	Until     time.Time // only those that were made before; zero: no matter when
	Labels    []string  // KEY or KEY=VALUE, all of them
	NotLabels []string  // none of them
	// Downloads, where it is not negative, also removes broken-off downloads that
	// have not been gone on with for so long.
	Downloads time.Duration
}

// Pruned is what went: lines as `docker image prune` prints them, and bytes.
type Pruned struct {
	Removed   []string
	Reclaimed int64
}

// Prune removes images that nobody uses, and what only they needed. What cannot be
// removed stays; the rest goes, and the error says so in the end.
func (s *Session) Prune(o PruneOptions) (*Pruned, error) {
	p := &Pruned{}
	if o.Downloads >= 0 {
		p.Reclaimed = s.pruneDownloads(o.Downloads) // first: it needs no room, and makes some
	}
	before, err := s.layerSizes()
	if err != nil {
		return nil, err
	}
	images, err := s.record.Images()
	if err != nil {
		return nil, err
	}
	var failed []error
	for _, img := range images {
		if !o.takes(img) {
			continue
		}
		names, err := s.record.NamesOf(img.ID)
		if err != nil {
			return nil, err
		}
		switch err := s.pruneImage(img); {
		case errors.Is(err, record.ErrImageInUse), errors.Is(err, record.ErrNoImage), errors.Is(err, record.ErrImageNamed):
			continue
		case err != nil:
			failed = append(failed, explain("remove image "+img.ID[:12], err, ""))
			continue
		}
		for _, n := range names {
			p.Removed = append(p.Removed, "untagged: "+familiar(n))
		}
		p.Removed = append(p.Removed, "deleted: sha256:"+img.ID)
	}
	if err := s.collect(time.Time{}); err != nil {
		failed = append(failed, explain("remove layers", err, ""))
	}
	after, err := s.layerSizes()
	if err != nil {
		return nil, errors.Join(append(failed, err)...)
	}
	for id, size := range before {
		if _, left := after[id]; !left {
			p.Reclaimed += size
		}
	}
	return p, errors.Join(failed...)
}

// pruneImage removes one. An image without a name may be one that a pull has just
// put there and is about to name: while somebody else has the store open, it stays.
func (s *Session) pruneImage(img *record.Image) error {
	if len(img.Names) > 0 {
		return s.record.RemoveImage(img.ID)
	}
	if !s.layers.Alone() {
		return record.ErrImageNamed
	}
	return s.record.RemoveUnnamedImage(img.ID)
}

func (o *PruneOptions) takes(img *record.Image) bool {
	if !o.All && len(img.Names) > 0 {
		return false
	}
	if !o.Until.IsZero() && !img.Created.Before(o.Until) {
		return false
	}
	has := func(want string) bool {
		key, value, exact := strings.Cut(want, "=")
		have, ok := img.Config.Labels[key]
		return ok && (!exact || have == value)
	}
	for _, l := range o.Labels {
		if !has(l) {
			return false
		}
	}
	for _, l := range o.NotLabels {
		if has(l) {
			return false
		}
	}
	return true
}

// layerSizes are the unpacked bytes of each layer in the store.
func (s *Session) layerSizes() (map[string]int64, error) {
	list, err := s.layers.Layers()
	if err != nil {
		return nil, err
	}
	sizes := make(map[string]int64, len(list))
	for _, l := range list {
		sizes[l.ID] = max(l.UncompressedSize, 0)
	}
	return sizes, nil
}

// pruneDownloads removes what broken-off pulls have left, unless one goes on with
// it at this moment, which holds the file's lock.
func (s *Session) pruneDownloads(age time.Duration) (reclaimed int64) {
	dir := s.record.Path("cache", "blobs")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !strings.HasSuffix(e.Name(), partialSuffix) || time.Since(info.ModTime()) < age {
			continue
		}
		path := filepath.Join(dir, e.Name())
		fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
		if err != nil {
			continue
		}
		if unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) == nil && os.Remove(path) == nil {
			reclaimed += info.Size()
		}
		_ = unix.Close(fd)
	}
	return reclaimed
}
