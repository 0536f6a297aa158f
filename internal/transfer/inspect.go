package transfer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sort"
	"strings"
	"time"

	"github.com/containers/image/v5/image"
	"github.com/containers/image/v5/manifest"
	"github.com/containers/image/v5/pkg/blobinfocache/none"
	"github.com/opencontainers/go-digest"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
)

// maxLayers is OVL_MAX_STACK of the kernel's overlay (fs/overlayfs/super.c).
const maxLayers = 500

// offer is what a source has for this machine. It is read and checked before
// any layer is fetched.
type offer struct {
	id      string        // digest of the config, hex
	top     digest.Digest // of the manifest or index that was asked for
	chosen  digest.Digest // of the image's manifest
	blobs   []digest.Digest
	config  []byte
	parsed  imageJSON
	isIndex bool
}

// imageJSON is an image config: OCI's (image-spec config.md) with Docker's
// further fields.
type imageJSON struct {
	Created      *time.Time         `json:"created"`
	Architecture string             `json:"architecture"`
	OS           string             `json:"os"`
	Variant      string             `json:"variant"`
	Config       record.ImageConfig `json:"config"`
	RootFS       struct {
		DiffIDs []string `json:"diff_ids"`
	} `json:"rootfs"`
}

func (s *Session) inspect(ctx context.Context, src *source) (*offer, error) {
	raw, mime, err := src.GetManifest(ctx, nil)
	if err != nil {
		return nil, err
	}
	o := new(offer)
	if o.top, err = manifest.Digest(raw); err != nil {
		return nil, err
	}
	o.chosen = o.top
	var instance *digest.Digest
	if manifest.MIMETypeIsMultiImage(mime) {
		if o.chosen, err = s.choose(raw, mime); err != nil {
			return nil, err
		}
		o.isIndex, instance = true, &o.chosen
		if _, mime, err = src.GetManifest(ctx, instance); err != nil {
			return nil, err
		}
	}
	switch mime {
	case manifest.DockerV2Schema1MediaType, manifest.DockerV2Schema1SignedMediaType:
		return nil, errors.New("the image is in Docker's first format (schema 1), which was given up in 2019; push it again with a current tool")
	}
	return o, s.readConfig(ctx, src, instance, o)
}

// choose picks the image for this machine from an index.
func (s *Session) choose(raw []byte, mime string) (digest.Digest, error) {
	list, err := manifest.ListFromBlob(raw, mime)
	if err != nil {
		return "", err
	}
	chosen, err := list.ChooseInstance(s.sys)
	if err == nil {
		return chosen, nil
	}
	seen := make(map[string]bool)
	var offered []string
	for _, d := range list.Instances() {
		in, err := list.Instance(d)
		if err != nil || in.ReadOnly.Platform == nil {
			continue
		}
		p := in.ReadOnly.Platform
		name := strings.TrimSuffix(p.OS+"/"+p.Architecture+"/"+p.Variant, "/")
		if name != "unknown/unknown" && !seen[name] { // attestations of buildkit
			seen[name] = true
			offered = append(offered, name)
		}
	}
	sort.Strings(offered)
	fix := "the index names no platform at all"
	if len(offered) > 0 {
		fix = "choose with --platform one of: " + strings.Join(offered, ", ")
	}
	return "", hint.Newf("", fix, "there is no image for %s", s.platform())
}

func (s *Session) platform() string {
	if s.Platform != "" {
		return s.Platform
	}
	return "linux/" + hostArch
}

// readConfig reads the config and looks for what cannot work.
func (s *Session) readConfig(ctx context.Context, src *source, instance *digest.Digest, o *offer) error {
	img, err := image.FromUnparsedImage(ctx, s.sys, image.UnparsedInstance(src, instance))
	if err != nil {
		return err
	}
	info := img.ConfigInfo()
	if o.config, err = src.hold(ctx, info, none.NoCache); err != nil {
		return err
	}
	if err := json.Unmarshal(o.config, &o.parsed); err != nil {
		return fmt.Errorf("the image's config is not readable (%s): %w", info.MediaType, err)
	}
	layers := img.LayerInfos()
	switch {
	case len(layers) > maxLayers:
		return fmt.Errorf("the image has %d layers, and the kernel's overlay takes %d", len(layers), maxLayers)
	case o.parsed.RootFS.DiffIDs == nil && len(layers) > 0:
		return fmt.Errorf("this is not a container image (config of type %s)", info.MediaType)
	case len(o.parsed.RootFS.DiffIDs) != len(layers):
		return fmt.Errorf("the config names %d layers and the manifest %d", len(o.parsed.RootFS.DiffIDs), len(layers))
	}
	o.id = info.Digest.Encoded()
	for _, l := range layers {
		o.blobs = append(o.blobs, l.Digest)
	}
	return s.checkPlatform(o)
}

// checkPlatform holds a single image against --platform; without the flag a
// foreign image is taken and recorded as such, and `rc run` decides.
func (s *Session) checkPlatform(o *offer) error {
	if s.Platform == "" || o.isIndex {
		return nil
	}
	if o.parsed.OS != s.sys.OSChoice || o.parsed.Architecture != s.sys.ArchitectureChoice {
		return hint.Newf("", "leave --platform away to take it", "the only image is for %s/%s, not for %s", o.parsed.OS, o.parsed.Architecture, s.Platform)
	}
	return nil
}
