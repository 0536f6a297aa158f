package record

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	idA = strings.Repeat("a1", 32)
	idB = strings.Repeat("a2", 32)
)

func imageStore(t *testing.T, ids ...string) *Store {
	t.Helper()
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		img := &Image{ID: id, OS: "linux", Architecture: "amd64", Format: FormatOverlay,
			Layers: []string{s.Path("storage", "rc", "top", "diff"), "/elsewhere/diff"},
			Config: ImageConfig{Cmd: []string{"sh"}, Volumes: map[string]struct{}{"/v": {}}}}
		if err := s.SaveImage(img); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func wantImage(t *testing.T, s *Store, ref, id string) {
	t.Helper()
	img, err := s.Image(ref)
	if id == "" {
		if !errors.Is(err, ErrNoImage) {
			t.Errorf("Image(%q): %v, want ErrNoImage", ref, err)
		}
		return
	}
	if err != nil {
		t.Errorf("Image(%q): %v", ref, err)
	} else if img.ID != id {
		t.Errorf("Image(%q) is %s, want %s", ref, img.ID[:12], id[:12])
	}
}

func TestImageByNameDigestAndPrefix(t *testing.T) {
	s := imageStore(t, idA, idB)
	digest := "sha256:" + strings.Repeat("d", 64)
	for ref, id := range map[string]string{
		"docker.io/library/alpine:latest":              idA,
		"docker.io/library/alpine@" + digest:           idB,
		"localhost/built:latest":                       idB,
		"registry.example.com/fedora:42":               idB,
		"quay.io/" + strings.Repeat("x/", 110) + "y:1": idA,
	} {
		if err := s.SetName(ref, id); err != nil {
			t.Fatal(err)
		}
	}
	short, _ := ParseRef("fedora")
	if err := s.SetShortAlias(short, "registry.example.com/fedora"); err != nil {
		t.Fatal(err)
	}
	for ref, id := range map[string]string{
		"alpine": idA, "alpine:latest": idA, "docker.io/alpine": idA, "library/alpine": idA, "alpine:3": "",
		"alpine@" + digest: idB, "alpine:whatever@" + digest: idB, "built": idB, "fedora:42": idB, "fedora": "",
		"quay.io/" + strings.Repeat("x/", 110) + "y:1": idA,
		idA: idA, idA[:12]: idA, "sha256:" + idB: idB, idB[:4]: idB, "b": "", "": "", "../x": "", "BAD": "",
	} {
		wantImage(t, s, ref, id)
	}
	if _, err := s.Image("a"); err == nil || errors.Is(err, ErrNoImage) {
		t.Errorf("an ambiguous prefix gave %v", err)
	}
	img, err := s.Image("alpine")
	if err != nil || img.Layers[0] != s.Path("storage/rc/top/diff") || img.Layers[1] != "/elsewhere/diff" || img.Config.Cmd[0] != "sh" {
		t.Errorf("record came back as %+v, %v", img, err)
	}
}

// A store that was moved still finds its layers.
func TestLayersFollowTheRoot(t *testing.T) {
	s := imageStore(t, idA)
	moved := filepath.Join(t.TempDir(), "moved")
	if err := os.Rename(s.Root, moved); err != nil {
		t.Fatal(err)
	}
	s2, _ := Open(moved)
	if img, err := s2.Image(idA); err != nil || img.Layers[0] != filepath.Join(moved, "storage/rc/top/diff") {
		t.Errorf("%+v, %v", img, err)
	}
}

func TestTagMovesAndUntag(t *testing.T) {
	s := imageStore(t, idA, idB)
	if err := s.Tag(idA, "mine"); err != nil {
		t.Fatal(err)
	}
	if err := s.Tag(idB, "docker.io/library/mine:latest"); err != nil {
		t.Fatal(err)
	}
	wantImage(t, s, "mine", idB)
	if names, _ := s.NamesOf(idA); len(names) != 0 {
		t.Errorf("the name that moved is still there: %v", names)
	}
	if err := s.Tag("mine", "Bad Name"); !errors.Is(err, ErrBadRef) {
		t.Errorf("a bad name: %v", err)
	}
	if err := s.Tag("none", "x"); !errors.Is(err, ErrNoImage) {
		t.Errorf("tag of an unknown image: %v", err)
	}
	if err := s.SetName("docker.io/library/x:latest", strings.Repeat("c", 64)); !errors.Is(err, ErrNoImage) {
		t.Errorf("a name for an image that is not there: %v", err)
	}
	full, err := s.Untag("mine")
	if err != nil || full != "docker.io/library/mine:latest" {
		t.Errorf("Untag = %q, %v", full, err)
	}
	wantImage(t, s, "mine", "")
	if _, err := s.Untag("mine"); !errors.Is(err, ErrNoImage) {
		t.Errorf("second Untag: %v", err)
	}
}

func TestImagesListsNamesAndReportsDamage(t *testing.T) {
	s := imageStore(t, idA, idB)
	_ = s.Tag(idA, "one")
	_ = s.Tag(idA, "two")
	_ = s.SetName("docker.io/library/one@sha256:"+strings.Repeat("d", 64), idA)
	_ = os.WriteFile(s.Path("images", idB, "image.json"), []byte("{"), 0o600)
	_ = os.WriteFile(s.Path("image-names", "damaged"), []byte("x"), 0o600)
	images, err := s.Images()
	if err == nil || !strings.Contains(err.Error(), idB[:12]) {
		t.Errorf("damage was not reported: %v", err)
	}
	if len(images) != 1 || strings.Join(images[0].Names, " ") != "docker.io/library/one:latest docker.io/library/two:latest" {
		t.Errorf("Images() = %+v", images)
	}
}

func TestReferencesHoldAnImage(t *testing.T) {
	s := imageStore(t, idA)
	_ = s.Tag(idA, "held")
	if err := s.AcquireImage(idA, "c1"); err != nil {
		t.Fatal(err)
	}
	// A reference just made holds even before the record of its container.
	if err := s.RemoveImage(idA); !errors.Is(err, ErrImageInUse) {
		t.Fatalf("remove of a held image: %v", err)
	}
	old := time.Now().Add(-time.Hour)
	_ = os.Chtimes(s.Path("images", idA, "users", "c1"), old, old)
	if err := os.Mkdir(s.Path("containers", "c1"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := s.RemoveImage(idA); !errors.Is(err, ErrImageInUse) {
		t.Fatalf("remove of an image of a live container: %v", err)
	}
	// The record is gone, its reference is old: dropped.
	_ = os.Remove(s.Path("containers", "c1"))
	if err := s.RemoveImage(idA); err != nil {
		t.Fatal(err)
	}
	wantImage(t, s, "held", "")
	if left, _ := os.ReadDir(s.Path("image-names")); len(left) != 0 {
		t.Errorf("names are left: %v", left)
	}
	if left, _ := os.ReadDir(s.Path("trash")); len(left) != 0 {
		t.Errorf("trash is left: %v", left)
	}
	if err := s.AcquireImage(idA, "c2"); !errors.Is(err, ErrNoImage) {
		t.Errorf("acquire of a removed image: %v", err)
	}
	if _, err := os.Lstat(s.Path("images", idA)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("acquire made the folder again: %v", err)
	}
	if err := s.ReleaseImage(idA, "c2"); err != nil {
		t.Errorf("release of nothing: %v", err)
	}
}

// Whoever wins, an acquired image is never removed under its container.
func TestAcquireAgainstRemove(t *testing.T) {
	s := imageStore(t)
	for range 50 {
		if err := s.SaveImage(&Image{ID: idA}); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		var acquired, removed error
		wg.Go(func() { acquired = s.AcquireImage(idA, "c") })
		wg.Go(func() { removed = s.RemoveImage(idA) })
		wg.Wait()
		if (acquired == nil) == (removed == nil) {
			t.Fatalf("acquire: %v, remove: %v", acquired, removed)
		}
		_ = s.ReleaseImage(idA, "c")
	}
}
