package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/atomicfile"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/lazyjson"
	"github.com/rc-containers/rc/internal/linux"
)

// How whiteouts stand in the layer folders of an image.
const (
	FormatOverlay = "overlay" // 0:0 character devices and user.overlay.opaque, for the kernel
	FormatAufs    = "aufs"    // .wh. files: the store's file system cannot hold the kernel's
)

// ErrNoImage is wrapped by every refusal of an image that is not in the store.
var ErrNoImage = errors.New("no such image")

// Image is one image, written by rc-image after its layers are in the store.
// Names is filled in by Images, never saved: a name is a file in image-names, and
// that file alone says whose it is.
type Image struct {
	ID           string    // sha256 of the config blob, 64 hex digits
	Digest       string    // of the manifest or index that was asked for, sha256:…
	RepoDigests  []string  // name@sha256:… as pulled
	Created      time.Time // from the config; zero when it says none
	Size         int64     // bytes of all layers, unpacked
	Architecture string
	OS           string
	Variant      string
	Layers       []string // absolute folders, topmost first (in the file: below the root)
	Format       string   // FormatOverlay or FormatAufs
	SingleID     bool     // unpacked with one id mapped: owners are in user.containers.override_stat
	Config       ImageConfig

	Names []string `json:"-"` // with their tags, sorted; digests are in RepoDigests
}

// ImageConfig is the part of an OCI image config that a container inherits
// (image-spec config.md; Healthcheck and Shell are Docker's).
type ImageConfig struct {
	User         string              `json:",omitempty"`
	ExposedPorts map[string]struct{} `json:",omitempty"`
	Env          []string            `json:",omitempty"`
	Entrypoint   []string            `json:",omitempty"`
	Cmd          []string            `json:",omitempty"`
	Volumes      map[string]struct{} `json:",omitempty"`
	WorkingDir   string              `json:",omitempty"`
	Labels       map[string]string   `json:",omitempty"`
	StopSignal   string              `json:",omitempty"`
	Healthcheck  json.RawMessage     `json:",omitempty"`
	Shell        []string            `json:",omitempty"`
}

// Image finds an image by name (`alpine`, tag latest where none is given), by
// name@digest, or by id or a prefix of one. It opens two files for a name; only
// a prefix reads a folder. errors.Is(err, ErrNoImage) when there is none.
func (s *Store) Image(ref string) (*Image, error) {
	id, err := s.ImageID(ref)
	if err != nil {
		return nil, err
	}
	return s.loadImage(id)
}

// ImageID is Image without reading the record.
func (s *Store) ImageID(ref string) (string, error) {
	if r, err := ParseRef(ref); err == nil {
		for _, candidate := range s.candidates(ref, r.WithDefaultTag()) {
			if id, err := s.readName(candidate); err == nil {
				return id, nil
			}
		}
	}
	prefix := strings.TrimPrefix(ref, "sha256:")
	if prefix == "" || len(prefix) > 64 || !isHex(prefix) {
		return "", noImage(ref)
	}
	return s.imageByPrefix(ref, prefix)
}

func noImage(ref string) error {
	return hint.New(fmt.Sprintf("find image %q", ref), ErrNoImage, "see `rc images`, or get it: rc pull "+ref)
}

// imageByPrefix scans the folder, which holds one entry an image.
func (s *Store) imageByPrefix(ref, prefix string) (string, error) {
	ids, err := s.imageIDs()
	if err != nil {
		return "", err
	}
	found := ""
	for _, id := range ids {
		if !strings.HasPrefix(id, prefix) {
			continue
		}
		if found != "" {
			return "", hint.Newf(fmt.Sprintf("find image %q", ref), "give more digits of the id", "it begins the ids of several images")
		}
		found = id
	}
	if found == "" {
		return "", noImage(ref)
	}
	return found, nil
}

// imageIDs lists the ids in the store; a stray entry is left out.
func (s *Store) imageIDs() ([]string, error) {
	entries, err := os.ReadDir(s.Path("images"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var ids []string
	for _, e := range entries {
		if len(e.Name()) == 64 && isHex(e.Name()) {
			ids = append(ids, e.Name())
		}
	}
	return ids, nil
}

func (s *Store) loadImage(id string) (*Image, error) {
	data, err := linux.ReadFile(s.Path("images", id, "image.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, noImage(id)
	}
	if err != nil {
		return nil, hint.New("read image "+id[:12], err, "")
	}
	img := new(Image)
	err = lazyjson.Unmarshal(data, img)
	if err == nil && img.ID != id { // whoever prints it takes 12 digits of that
		err = fmt.Errorf("it speaks of image %.12q", img.ID)
	}
	if err != nil {
		return nil, hint.New("read "+s.Path("images", id, "image.json"), err, "pull it again: rc rmi -f "+id[:12]+", then rc pull")
	}
	for i, dir := range img.Layers {
		if !filepath.IsAbs(dir) {
			img.Layers[i] = s.Path(dir)
		}
	}
	return img, nil
}

// Images lists every image with its names. A record that cannot be read is
// left out of the list and reported in the error, which then comes with the rest.
func (s *Store) Images() ([]*Image, error) {
	ids, err := s.imageIDs()
	if err != nil {
		return nil, err
	}
	names, err := s.ImageNames()
	if err != nil {
		return nil, err
	}
	var images []*Image
	var bad []error
	for _, id := range ids {
		img, err := s.loadImage(id)
		if errors.Is(err, ErrNoImage) {
			continue // being made or removed at this moment
		}
		if err != nil {
			bad = append(bad, err)
			continue
		}
		img.Names = tagged(names[id])
		images = append(images, img)
	}
	return images, errors.Join(bad...)
}

// tagged leaves out the references by digest.
func tagged(names []string) (tags []string) {
	for _, n := range names {
		if !strings.Contains(n, "@") {
			tags = append(tags, n)
		}
	}
	return tags
}

// SaveImage writes or replaces the record of an image whose layers are in the
// store, durably. References of containers to it are kept.
func (s *Store) SaveImage(img *Image) error {
	if len(img.ID) != 64 || !isHex(img.ID) {
		return fmt.Errorf("save image: %q is not an id", img.ID)
	}
	disk := *img
	disk.Layers = make([]string, len(img.Layers))
	for i, dir := range img.Layers {
		rel, err := filepath.Rel(s.Root, dir)
		if err != nil || strings.HasPrefix(rel, "..") {
			rel = dir
		}
		disk.Layers[i] = rel
	}
	data, err := json.MarshalIndent(&disk, "", " ")
	if err != nil {
		return err
	}
	dir := s.Path("images", img.ID)
	lock, err := s.lockImage(img.ID, unix.LOCK_EX, true)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := os.MkdirAll(filepath.Join(dir, "users"), 0o700); err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(dir, "image.json"), data, 0o600, atomicfile.Durable)
}
