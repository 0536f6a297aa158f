package transfer

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/containers/image/v5/docker/archive"
	"github.com/containers/image/v5/docker/reference"
	"github.com/containers/image/v5/oci/layout"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
)

// Formats of Save.
const (
	DockerArchive = "docker-archive" // docker save's
	OCIArchive    = "oci-archive"    // a tar of an OCI layout
	OCIDir        = "oci-dir"        // an OCI layout
)

// wanted is one image to save, with the names that it was asked for by.
type wanted struct {
	id    string
	names []reference.NamedTagged
}

// Save writes images to a file, to a folder (oci-dir), or to out when path is
// empty. A file appears when it is whole.
func (s *Session) Save(ctx context.Context, format, path string, out io.Writer, typed []string) error {
	op := "save " + strings.Join(typed, " ")
	images, err := s.wantedImages(typed)
	switch {
	case err != nil:
	case format != OCIDir && format != DockerArchive && format != OCIArchive:
		return hint.Newf(op, "use docker-archive, oci-archive or oci-dir", "unknown --format %q", format)
	default:
		err = s.save(ctx, op, format, path, out, images)
	}
	if err != nil {
		return explain(op, err, "")
	}
	for _, img := range images {
		s.event("save", "sha256:"+img.id, "sha256:"+img.id) // moby, daemon/images/image_exporter.go
	}
	return nil
}

func (s *Session) save(ctx context.Context, op, format, path string, out io.Writer, images []wanted) (err error) {
	if format == OCIDir {
		if path == "" {
			return hint.Newf(op, "name the folder: -o DIR", "--format oci-dir writes a folder")
		}
		return s.saveLayout(ctx, path, images)
	}
	// The library writes to a path and seeks in it, so stdout gets a copy.
	tmp := filepath.Join(s.work, "save.tar")
	if path != "" {
		tmp = fmt.Sprintf("%s.rc-%d", path, os.Getpid())
	}
	defer os.Remove(tmp)
	if format == DockerArchive {
		err = s.saveDocker(ctx, tmp, images)
	} else {
		err = s.saveOCIArchive(ctx, tmp, images)
	}
	if err != nil {
		return err
	}
	if path != "" {
		return os.Rename(tmp, path)
	}
	f, err := os.Open(tmp)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(out, f)
	return err
}

// wantedImages groups what was typed by image. An id saves an image without a name.
func (s *Session) wantedImages(typed []string) ([]wanted, error) {
	var images []wanted
	at := make(map[string]int)
	for _, t := range typed {
		id, err := s.record.ImageID(t)
		if err != nil {
			return nil, err
		}
		if _, ok := at[id]; !ok {
			at[id] = len(images)
			images = append(images, wanted{id: id})
		}
		r, err := record.ParseRef(t)
		if err != nil || r.Digest != "" || strings.HasPrefix(id, t) {
			continue
		}
		named, err := reference.ParseNormalizedNamed(r.WithDefaultTag().String())
		if err != nil {
			return nil, err
		}
		if tagged, ok := named.(reference.NamedTagged); ok {
			images[at[id]].names = append(images[at[id]].names, tagged)
		}
	}
	return images, nil
}

func (s *Session) saveDocker(ctx context.Context, path string, images []wanted) (err error) {
	w, err := archive.NewWriter(s.sys, path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	for _, img := range images {
		var first reference.NamedTagged
		sys := *s.sys
		if len(img.names) > 0 {
			first = img.names[0]
			sys.DockerArchiveAdditionalTags = img.names[1:]
		}
		dest, err := w.NewReference(first)
		if err != nil {
			return err
		}
		if _, err := s.send(ctx, img.id, dest, &sys); err != nil {
			return err
		}
	}
	return nil
}

// saveLayout writes an OCI layout; several images share its blobs.
func (s *Session) saveLayout(ctx context.Context, dir string, images []wanted) error {
	for _, img := range images {
		names := []string{""}
		for i, n := range img.names {
			if i == 0 {
				names = nil
			}
			names = append(names, n.String())
		}
		for _, name := range names {
			dest, err := layout.NewReference(dir, name)
			if err != nil {
				return err
			}
			if _, err := s.send(ctx, img.id, dest, s.sys); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Session) saveOCIArchive(ctx context.Context, path string, images []wanted) error {
	dir := filepath.Join(s.work, "layout")
	if err := s.saveLayout(ctx, dir, images); err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(tarFolder(f, dir), f.Close())
}

// tarFolder writes the files below dir, sorted and without dates, so that the
// same image gives the same archive.
func tarFolder(w io.Writer, dir string) error {
	var names []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && path != dir {
			names = append(names, path)
		}
		return err
	})
	if err != nil {
		return err
	}
	sort.Strings(names)
	tw := tar.NewWriter(w)
	for _, path := range names {
		if err := tarOne(tw, dir, path); err != nil {
			return err
		}
	}
	return tw.Close()
}

func tarOne(tw *tar.Writer, dir, path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	rel, err := filepath.Rel(dir, path)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return tw.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: rel + "/", Mode: 0o755})
	}
	if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: rel, Mode: 0o644, Size: info.Size()}); err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(tw, f)
	return err
}
