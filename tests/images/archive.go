package images

import (
	"archive/tar"
	"fmt"
	"io"
	"sort"
	"strings"
)

// WriteOCIArchive writes a tar of an OCI layout (image-spec, image-layout.md).
// ref is the tag's annotation, "" for none.
func (a *Artifact) WriteOCIArchive(w io.Writer, ref string) error {
	entry := descriptor{MediaType: a.MediaType, Digest: a.Digest(), Size: len(a.Data)}
	if ref != "" {
		entry.Annotations = map[string]string{"org.opencontainers.image.ref.name": ref}
	}
	files := map[string][]byte{
		"oci-layout": []byte(`{"imageLayoutVersion":"1.0.0"}`),
		"index.json": mustJSON(map[string]any{"schemaVersion": 2, "manifests": []descriptor{entry}}),
	}
	for d, b := range a.all() {
		files["blobs/sha256/"+strings.TrimPrefix(d, "sha256:")] = b
	}
	return writeTar(w, files)
}

// WriteDockerArchive writes what `docker save` of one image writes.
func (a *Artifact) WriteDockerArchive(w io.Writer, ref string) error {
	if a.config == "" {
		return fmt.Errorf("an index has no docker-archive form")
	}
	config := strings.TrimPrefix(a.config, "sha256:") + ".json"
	files := map[string][]byte{config: a.Blobs[a.config]}
	var layers []string
	for n, l := range a.layers {
		name := fmt.Sprintf("%d/layer.tar", n)
		layers = append(layers, name)
		files[name] = l.Raw
	}
	files["manifest.json"] = mustJSON([]map[string]any{{"Config": config, "RepoTags": []string{ref}, "Layers": layers}})
	return writeTar(w, files)
}

func writeTar(w io.Writer, files map[string][]byte) error {
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	sort.Strings(names)
	t := tar.NewWriter(w)
	for _, name := range names {
		if err := t.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(files[name])), ModTime: epoch}); err != nil {
			return err
		}
		if _, err := t.Write(files[name]); err != nil {
			return err
		}
	}
	return t.Close()
}
