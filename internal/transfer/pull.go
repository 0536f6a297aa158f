package transfer

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/containers/image/v5/docker"
	"github.com/containers/image/v5/docker/reference"
	"github.com/containers/image/v5/pkg/shortnames"
	"github.com/containers/image/v5/pkg/sysregistriesv2"
	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
)

// attempts of one pull when the registry or the network fails in the middle;
// each goes on where the last one stopped.
const attempts = 3

// Pull fetches an image, gives it its name and prints what Docker prints: the
// digest, what happened, and the reference; only the reference when quiet.
func (s *Session) Pull(ctx context.Context, typed string) error {
	short, err := record.ParseRef(typed)
	if err != nil {
		return hint.New(fmt.Sprintf("pull %q", typed), err, "an image is written [REGISTRY/]NAME[:TAG][@DIGEST]")
	}
	candidates, err := s.candidates(typed, short)
	if err != nil {
		return hint.New(fmt.Sprintf("pull %q", typed), oneLine(err), "see registries.conf: containers-registries.conf(5)")
	}
	var failed []error
	if short.Tag == "" && short.Digest == "" {
		s.greeting = "Using default tag: latest"
	}
	for _, named := range candidates {
		err := s.pullNamed(ctx, named)
		if err == nil {
			if record.IsShort(typed) {
				return s.record.SetShortAlias(short, named.Name())
			}
			return nil
		}
		failed = append(failed, err)
		if ctx.Err() != nil {
			break
		}
	}
	if len(failed) == 1 {
		return explain(fmt.Sprintf("pull %q", typed), failed[0], reference.Domain(candidates[0]))
	}
	return hint.New(fmt.Sprintf("pull %q", typed), joinLine(failed), "name the registry in full: HOST/NAME[:TAG]")
}

// candidates says what a typed name may mean. A name without a registry is
// Docker's, unless registries.conf has an alias or registries to search.
func (s *Session) candidates(typed string, r record.Ref) ([]reference.Named, error) {
	if record.IsShort(typed) {
		resolved, err := shortnames.Resolve(s.sys, typed)
		if err == nil {
			var list []reference.Named
			for _, c := range resolved.PullCandidates {
				list = append(list, c.Value)
			}
			return list, nil
		}
		if search, serr := sysregistriesv2.UnqualifiedSearchRegistries(s.sys); serr != nil || len(search) > 0 {
			return nil, err
		}
	}
	named, err := reference.ParseNormalizedNamed(r.WithDefaultTag().String())
	return []reference.Named{named}, err
}

// pullNamed pulls one full reference, one process at a time: a second pull of
// it waits, and then finds the layers there.
func (s *Session) pullNamed(ctx context.Context, named reference.Named) error {
	lock, err := s.lockPull(named)
	if err != nil {
		return err
	}
	defer lock.Close()
	cache, err := newBlobCache(s.record.Path("cache", "blobs"), s.say)
	if err != nil {
		return err
	}
	for try := 1; ; try++ {
		err := s.pullOnce(ctx, named, cache)
		if err == nil || ctx.Err() != nil || try == attempts {
			return err
		}
		if !transient(err) && !cache.doubt() {
			return err
		}
		s.say("%s; going on", oneLine(err))
		select {
		case <-time.After(time.Duration(try) * time.Second / 2):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *Session) lockPull(named reference.Named) (*os.File, error) {
	dir := s.record.Path("cache", "pull")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	path := fmt.Sprintf("%s/%x", dir, sha256.Sum256([]byte(named.String()+" "+s.platform())))
	lock, err := record.LockFile(path, unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		s.say("Another pull of %s is under way: waiting for it", named)
		lock, err = record.LockFile(path, unix.LOCK_EX)
	}
	return lock, err
}

func (s *Session) pullOnce(ctx context.Context, named reference.Named, cache *blobCache) error {
	canonical := named
	if d, ok := named.(reference.Digested); ok { // the library takes a tag or a digest, and the digest decides
		trimmed, err := reference.WithDigest(reference.TrimNamed(named), d.Digest())
		if err != nil {
			return err
		}
		canonical = trimmed
	}
	ref, err := docker.NewReference(canonical)
	if err != nil {
		return err
	}
	src, err := openSource(ctx, forRegistry(s.sys, reference.Domain(named)), ref, cache)
	if err != nil {
		return err
	}
	defer src.end()
	o, err := s.inspect(ctx, src)
	if err != nil {
		return err
	}
	s.greet(named)
	known := s.complete(o.id)
	byTop, byChosen := named.Name()+"@"+o.top.String(), named.Name()+"@"+o.chosen.String()
	if err := s.admitOnce(ctx, ref, src, o, []string{byTop}); err != nil {
		return err
	}
	for _, name := range []string{byTop, byChosen, reference.TagNameOnly(canonical).String()} {
		if err := s.record.SetName(name, o.id); err != nil {
			return err
		}
	}
	cache.forget(o.blobs)
	_ = s.collect(time.Time{})
	s.event("pull", reference.FamiliarString(canonical), reference.FamiliarName(canonical))
	s.report(canonical, o, known)
	return nil
}

// greet prints Docker's first lines, once there is something to pull: before
// that a refusal is the only line.
func (s *Session) greet(named reference.Named) {
	if s.greeting != "" {
		s.say("%s", s.greeting)
		s.greeting = ""
	}
	what := "Pulling from " + reference.Path(named)
	if t, ok := named.(reference.Tagged); ok {
		what = t.Tag() + ": " + what
	}
	s.say("%s", what)
}

// report prints Docker's closing lines.
func (s *Session) report(named reference.Named, o *offer, known bool) {
	if !s.Quiet {
		fmt.Fprintf(s.Out, "Digest: %s\n", o.top)
		what := "Downloaded newer image for"
		if known {
			what = "Image is up to date for"
		}
		fmt.Fprintf(s.Out, "Status: %s %s\n", what, reference.FamiliarString(named))
	}
	fmt.Fprintln(s.Out, named.String())
}
