package transfer

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/containers/image/v5/types"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	imgspec "github.com/opencontainers/image-spec/specs-go/v1"
)

// commitSource is the new image: the layers of the old one, which the store
// recognises and does not read, one layer more, and the config.
type commitSource struct {
	types.ImageSource // of the old image: its layers, should they be read all the same
	ref               types.ImageReference
	manifest          []byte
	config            []byte
	layer             *os.File
	diffID            digest.Digest
	size              int64
}

func (c *commit) source(ctx context.Context, ref types.ImageReference, config []byte) (*commitSource, error) {
	stored, err := c.s.stored(c.base.ID)
	if err != nil {
		return nil, err
	}
	old, err := stored.NewImageSource(ctx, c.s.sys)
	if err != nil {
		return nil, err
	}
	layers, err := c.oldLayers()
	if err != nil {
		_ = old.Close()
		return nil, err
	}
	m := imgspec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: imgspec.MediaTypeImageManifest,
		Config: imgspec.Descriptor{MediaType: imgspec.MediaTypeImageConfig, Digest: digest.FromBytes(config), Size: int64(len(config))},
		Layers: append(layers, imgspec.Descriptor{MediaType: imgspec.MediaTypeImageLayer, Digest: c.diffID, Size: c.size}),
	}
	raw, err := json.Marshal(&m)
	if err != nil {
		_ = old.Close()
		return nil, err
	}
	return &commitSource{ImageSource: old, ref: ref, manifest: raw, config: config, layer: c.layer, diffID: c.diffID, size: c.size}, nil
}

// oldLayers describes the image's layers, lowest first, as they are unpacked.
func (c *commit) oldLayers() ([]imgspec.Descriptor, error) {
	stored, err := c.s.layers.Image(c.base.ID)
	if err != nil {
		return nil, err
	}
	var list []imgspec.Descriptor
	for id := stored.TopLayer; id != ""; {
		l, err := c.s.layers.Layer(id)
		if err != nil {
			return nil, err
		}
		if l.UncompressedDigest == "" {
			return nil, fmt.Errorf("layer %.12s has no digest in the store", id)
		}
		list = append([]imgspec.Descriptor{{MediaType: imgspec.MediaTypeImageLayer, Digest: l.UncompressedDigest, Size: max(l.UncompressedSize, 0)}}, list...)
		id = l.Parent
	}
	return list, nil
}

// Reference is that of an archive: see commit.make.
func (s *commitSource) Reference() types.ImageReference { return s.ref }

// GetManifest gives the one manifest.
func (s *commitSource) GetManifest(_ context.Context, instance *digest.Digest) ([]byte, string, error) {
	if instance != nil {
		return nil, "", fmt.Errorf("there is no manifest %s", *instance)
	}
	return s.manifest, imgspec.MediaTypeImageManifest, nil
}

// GetBlob gives the config, the new layer, or a layer of the old image.
func (s *commitSource) GetBlob(ctx context.Context, info types.BlobInfo, cache types.BlobInfoCache) (io.ReadCloser, int64, error) {
	switch info.Digest {
	case digest.FromBytes(s.config):
		return io.NopCloser(bytes.NewReader(s.config)), int64(len(s.config)), nil
	case s.diffID:
		return io.NopCloser(io.NewSectionReader(s.layer, 0, s.size)), s.size, nil
	}
	return s.ImageSource.GetBlob(ctx, info, cache)
}

// GetSignatures: a new image has none.
func (s *commitSource) GetSignatures(context.Context, *digest.Digest) ([][]byte, error) {
	return nil, nil
}

// LayerInfosForCopy says that the manifest's are right.
func (s *commitSource) LayerInfosForCopy(context.Context, *digest.Digest) ([]types.BlobInfo, error) {
	return nil, nil
}
