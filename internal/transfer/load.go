package transfer

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/containers/image/v5/docker/archive"
	"github.com/containers/image/v5/oci/layout"
	"github.com/containers/image/v5/pkg/compression"
	"github.com/containers/image/v5/types"
	imgspec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
)

// Load takes images from a Docker archive, an OCI archive or an OCI layout
// folder, compressed or not; in is read when path is empty.
func (s *Session) Load(ctx context.Context, file string, in io.Reader) error {
	op := "load"
	if file != "" {
		op = "load " + file
	}
	if info, err := os.Stat(file); file != "" && err == nil && info.IsDir() {
		return explain(op, s.loadLayout(ctx, file), "")
	}
	plain := filepath.Join(s.work, "load.tar")
	if err := decompressTo(plain, file, in); err != nil {
		return explain(op, err, "")
	}
	kind, err := archiveKind(plain)
	if err != nil {
		return explain(op, err, "")
	}
	if kind == DockerArchive {
		return explain(op, s.loadDocker(ctx, plain), "")
	}
	dir := filepath.Join(s.work, "layout")
	if err := extractLayout(plain, dir); err != nil {
		return explain(op, err, "")
	}
	return explain(op, s.loadLayout(ctx, dir), "")
}

// decompressTo writes a seekable, plain copy.
func decompressTo(dest, file string, in io.Reader) error {
	if file != "" {
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	r, _, err := compression.AutoDecompress(in)
	if err != nil {
		return err
	}
	defer r.Close()
	out, err := os.OpenFile(dest, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, r)
	return errors.Join(err, out.Close())
}

// archiveKind looks for the files that make the two formats. Docker writes both
// since version 25; its manifest.json has the names.
func archiveKind(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	kind := ""
	for tr := tar.NewReader(f); ; {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return "", hint.New("", err, "this is not an image archive, or it is truncated")
		}
		switch path.Clean(h.Name) {
		case "manifest.json":
			return DockerArchive, nil
		case "oci-layout":
			kind = OCIArchive
		}
	}
	if kind == "" {
		return "", hint.Newf("", "a plain root file system is taken by: rc import FILE NAME", "it holds neither manifest.json nor oci-layout")
	}
	return kind, nil
}

// extractLayout unpacks files and folders only, inside dir (os.Root).
func extractLayout(file, dir string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	for tr := tar.NewReader(f); ; {
		h, err := tr.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(path.Clean(h.Name), "/")
		if h.Typeflag != tar.TypeReg || name == "" {
			continue
		}
		if err := root.MkdirAll(path.Dir(name), 0o700); err != nil {
			return err
		}
		out, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			return err
		}
		_, err = io.Copy(out, tr)
		if err = errors.Join(err, out.Close()); err != nil {
			return err
		}
	}
}

func (s *Session) loadDocker(ctx context.Context, file string) error {
	r, err := archive.NewReader(s.sys, file)
	if err != nil {
		return err
	}
	defer r.Close()
	list, err := r.List()
	if err != nil {
		return err
	}
	for _, refs := range list {
		var names []string
		for _, ref := range refs {
			if named := ref.DockerReference(); named != nil {
				names = append(names, named.String())
			}
		}
		if len(refs) == 0 {
			continue
		}
		if err := s.loadOne(ctx, refs[0], names); err != nil {
			return err
		}
	}
	return nil
}

func (s *Session) loadLayout(ctx context.Context, dir string) error {
	list, err := layout.List(dir)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return errors.New("the OCI layout holds no image")
	}
	for _, item := range list {
		// A bare tag in the annotation (skopeo, buildah) is no name.
		name := item.ManifestDescriptor.Annotations["io.containerd.image.name"]
		if ref := item.ManifestDescriptor.Annotations[imgspec.AnnotationRefName]; name == "" && strings.ContainsAny(ref, "/:") {
			name = ref
		}
		var names []string
		if r, err := record.ParseRef(name); err == nil && r.Digest == "" {
			names = append(names, r.WithDefaultTag().String())
		}
		if err := s.loadOne(ctx, item.Reference, names); err != nil {
			return err
		}
	}
	return nil
}

// admitNamed admits the one image of ref and gives it its names.
func (s *Session) admitNamed(ctx context.Context, ref types.ImageReference, names []string) (id string, err error) {
	src, err := openSource(ctx, s.sys, ref, nil)
	if err != nil {
		return "", err
	}
	defer src.end()
	o, err := s.inspect(ctx, src)
	if err != nil {
		return "", err
	}
	if err := s.admitOnce(ctx, ref, src, o, nil); err != nil {
		return "", err
	}
	for _, name := range names {
		if err := s.record.SetName(name, o.id); err != nil {
			return "", err
		}
	}
	return o.id, nil
}

// loadOne admits one image of an archive.
func (s *Session) loadOne(ctx context.Context, ref types.ImageReference, names []string) error {
	id, err := s.admitNamed(ctx, ref, names)
	if err != nil {
		return err
	}
	_ = s.collect(time.Time{})
	if len(names) == 0 {
		names = []string{"sha256:" + id}
	}
	for _, name := range names {
		if r, err := record.ParseRef(name); err == nil && !strings.HasPrefix(name, "sha256:") {
			s.event("load", r.Familiar(), r.Familiar())
			fmt.Fprintf(s.Out, "Loaded image: %s\n", r.Familiar())
		} else {
			s.event("load", name, "")
			fmt.Fprintf(s.Out, "Loaded image ID: %s\n", name)
		}
	}
	return nil
}
