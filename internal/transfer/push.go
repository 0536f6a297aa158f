package transfer

import (
	"context"
	"fmt"

	"github.com/containers/image/v5/copy"
	"github.com/containers/image/v5/docker"
	"github.com/containers/image/v5/docker/reference"
	"github.com/containers/image/v5/manifest"
	istorage "github.com/containers/image/v5/storage"
	"github.com/containers/image/v5/types"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
)

// stored is an image of the store as a source. The library gives its layers as
// they came, byte for byte, also where the unpacking filter altered them.
func (s *Session) stored(id string) (types.ImageReference, error) {
	return istorage.Transport.NewStoreReference(s.layers, nil, id)
}

// send copies an image of the store to dest and returns the manifest there.
func (s *Session) send(ctx context.Context, id string, dest types.ImageReference, sys *types.SystemContext) ([]byte, error) {
	src, err := s.stored(id)
	if err != nil {
		return nil, err
	}
	policy, err := policyContext(s.sys)
	if err != nil {
		return nil, err
	}
	defer policy.Destroy() //nolint:errcheck // nothing is held
	return copy.Image(ctx, policy, dest, src, &copy.Options{
		SourceCtx: s.sys, DestinationCtx: sys, ReportWriter: s.reportWriter(dest.Transport() == docker.Transport)})
}

// Push sends an image to the registry that its name says and prints Docker's
// last line; only the reference when quiet.
func (s *Session) Push(ctx context.Context, typed string) error {
	op := fmt.Sprintf("push %q", typed)
	r, err := record.ParseRef(typed)
	if err != nil {
		return hint.New(op, err, "push wants a name: rc tag IMAGE HOST/NAME:TAG first").WithCode(exitFailed)
	}
	if r.Digest != "" {
		return hint.Newf(op, "push by tag: HOST/NAME:TAG", "a digest cannot be pushed").WithCode(exitFailed)
	}
	img, err := s.record.Image(typed)
	if err != nil {
		return explain(op, err, "")
	}
	named, err := reference.ParseNormalizedNamed(r.WithDefaultTag().String())
	if err != nil {
		return explain(op, err, "")
	}
	dest, err := docker.NewReference(named)
	if err != nil {
		return explain(op, err, "")
	}
	s.say("The push refers to repository [%s]", named.Name())
	raw, err := s.send(ctx, img.ID, dest, forRegistry(s.sys, reference.Domain(named)))
	if err != nil {
		return explain(op, err, reference.Domain(named))
	}
	d, err := manifest.Digest(raw)
	if err != nil {
		return explain(op, err, "")
	}
	if err := s.addDigests(img.ID, []string{named.Name() + "@" + d.String()}); err != nil {
		return explain(op, err, "")
	}
	s.event("push", reference.FamiliarString(named), reference.FamiliarName(named))
	if s.Quiet {
		fmt.Fprintln(s.Out, named)
		return nil
	}
	fmt.Fprintf(s.Out, "%s: digest: %s size: %d\n", r.WithDefaultTag().Tag, d, len(raw))
	return nil
}
