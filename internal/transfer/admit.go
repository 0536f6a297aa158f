package transfer

import (
	"context"
	"os"
	"runtime"
	"time"

	"github.com/containers/image/v5/copy"
	istorage "github.com/containers/image/v5/storage"
	"github.com/containers/image/v5/types"

	"github.com/rc-containers/rc/internal/record"
)

const hostArch = runtime.GOARCH

// admit copies an image into the store and writes its record. The image has no
// name yet.
func (s *Session) admit(ctx context.Context, ref types.ImageReference, src *source, o *offer, repoDigests []string) error {
	if s.complete(o.id) {
		return s.addDigests(o.id, repoDigests)
	}
	dest, err := istorage.Transport.NewStoreReference(s.layers, nil, o.id)
	if err != nil {
		return err
	}
	policy, err := policyContext(s.sys)
	if err != nil {
		return err
	}
	defer policy.Destroy() //nolint:errcheck // nothing is held
	_, err = copy.Image(ctx, policy, dest, sourceRef{ref, src}, &copy.Options{
		SourceCtx: s.sys, DestinationCtx: s.sys,
		ReportWriter:     s.reportWriter(src.cache != nil),
		RemoveSignatures: true, // they belong to the registry, and were checked
	})
	if err != nil {
		return err
	}
	return s.writeRecord(o, repoDigests)
}

// complete says whether an image is in the store with every layer folder.
func (s *Session) complete(id string) bool {
	img, err := s.record.Image(id)
	if err != nil {
		return false
	}
	if _, err := s.layers.Image(id); err != nil {
		return false
	}
	for _, dir := range img.Layers {
		if _, err := os.Stat(dir); err != nil {
			return false
		}
	}
	return true
}

func (s *Session) addDigests(id string, repoDigests []string) error {
	img, err := s.record.Image(id)
	if err != nil {
		return err
	}
	before := len(img.RepoDigests)
	img.RepoDigests = union(img.RepoDigests, repoDigests)
	if len(img.RepoDigests) == before {
		return nil
	}
	return s.record.SaveImage(img)
}

func union(a, b []string) []string {
	seen := make(map[string]bool)
	var all []string
	for _, x := range append(a[:len(a):len(a)], b...) {
		if !seen[x] {
			seen[x] = true
			all = append(all, x)
		}
	}
	return all
}

func (s *Session) writeRecord(o *offer, repoDigests []string) error {
	stored, err := s.layers.Image(o.id)
	if err != nil {
		return err
	}
	folders, err := s.layers.Folders(stored.TopLayer)
	if err != nil {
		return err
	}
	img := &record.Image{
		ID: o.id, Digest: o.top.String(), RepoDigests: repoDigests,
		Architecture: o.parsed.Architecture, OS: o.parsed.OS, Variant: o.parsed.Variant,
		Layers: folders, Format: s.layers.Format, SingleID: s.layers.SingleID, Config: o.parsed.Config,
	}
	if old, err := s.record.Image(o.id); err == nil {
		img.RepoDigests = union(old.RepoDigests, repoDigests)
	}
	if o.parsed.Created != nil {
		img.Created = *o.parsed.Created
	}
	for id := stored.TopLayer; id != ""; {
		layer, err := s.layers.Layer(id)
		if err != nil {
			return err
		}
		img.Size += max(layer.UncompressedSize, 0)
		id = layer.Parent
	}
	return s.record.SaveImage(img)
}

// admitOnce admits and, when that failed for the image's own fault, removes the
// layers that it left. A download that was cut short keeps them to go on from.
func (s *Session) admitOnce(ctx context.Context, ref types.ImageReference, src *source, o *offer, repoDigests []string) error {
	began := time.Now()
	err := s.admit(ctx, ref, src, o, repoDigests)
	if err != nil && ctx.Err() == nil && !transient(err) {
		_ = s.collect(began)
	}
	return err
}
