package transfer

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"reflect"
	"sync"

	"github.com/containers/image/v5/types"
	"github.com/opencontainers/go-digest"
)

// source serves one opened image to several readers: manifests and the config
// are fetched once and kept, though the checks before the copy and the copy
// itself both ask for them; layers go through the cache of partial downloads.
type source struct {
	types.ImageSource
	cache *blobCache // nil: layers are not cached (archives)

	mu        sync.Mutex
	manifests map[digest.Digest]heldManifest
	small     map[digest.Digest][]byte
}

type heldManifest struct {
	raw  []byte
	mime string
}

// sourceRef hands the opened source to copy.Image.
type sourceRef struct {
	types.ImageReference
	src *source
}

// NewImageSource gives the source that is already open.
func (r sourceRef) NewImageSource(context.Context, *types.SystemContext) (types.ImageSource, error) {
	return r.src, nil
}

func openSource(ctx context.Context, sys *types.SystemContext, ref types.ImageReference, cache *blobCache) (*source, error) {
	inner, err := ref.NewImageSource(ctx, sys)
	if err != nil {
		return nil, err
	}
	return &source{ImageSource: inner, cache: cache,
		manifests: make(map[digest.Digest]heldManifest), small: make(map[digest.Digest][]byte)}, nil
}

// Close leaves the source open: whoever opened it calls end.
func (s *source) Close() error { return nil }

func (s *source) end() { _ = s.ImageSource.Close() }

// GetManifest fetches a manifest once.
func (s *source) GetManifest(ctx context.Context, instance *digest.Digest) ([]byte, string, error) {
	var key digest.Digest
	if instance != nil {
		key = *instance
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if m, ok := s.manifests[key]; ok {
		return m.raw, m.mime, nil
	}
	raw, mime, err := s.ImageSource.GetManifest(ctx, instance)
	if err == nil {
		s.manifests[key] = heldManifest{raw, mime}
	}
	return raw, mime, err
}

// maxHeld is the size up to which a blob is kept in memory when it is asked
// for as a config; the library reads no config above 4 MiB.
const maxHeld = 4 << 20

// hold fetches a config blob into memory and checks its digest.
func (s *source) hold(ctx context.Context, info types.BlobInfo, cache types.BlobInfoCache) ([]byte, error) {
	r, _, err := s.ImageSource.GetBlob(ctx, info, cache)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	data, err := io.ReadAll(io.LimitReader(r, maxHeld+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxHeld {
		return nil, fmt.Errorf("the image's config is larger than %d MiB", maxHeld>>20)
	}
	if err := info.Digest.Validate(); err != nil {
		return nil, err
	}
	if info.Digest.Algorithm().FromBytes(data) != info.Digest {
		return nil, fmt.Errorf("the image's config does not match its digest %s", info.Digest)
	}
	s.mu.Lock()
	s.small[info.Digest] = data
	s.mu.Unlock()
	return data, nil
}

// GetBlob serves a held blob, else the layer through the cache.
func (s *source) GetBlob(ctx context.Context, info types.BlobInfo, cache types.BlobInfoCache) (io.ReadCloser, int64, error) {
	s.mu.Lock()
	data, ok := s.small[info.Digest]
	s.mu.Unlock()
	if ok {
		return io.NopCloser(bytes.NewReader(data)), int64(len(data)), nil
	}
	fresh := func() (io.ReadCloser, int64, error) { return s.ImageSource.GetBlob(ctx, info, cache) }
	if s.cache == nil || len(info.URLs) > 0 {
		return fresh()
	}
	rest := func(offset int64) (io.ReadCloser, error) { return fetchFrom(ctx, s.ImageSource, info, offset) }
	return s.cache.open(info, fresh, rest)
}

// fetchFrom asks a registry for the end of a blob by an HTTP range. The
// library's registry source has the method, with its credentials, mirrors and
// TLS settings, but the method's argument is of an internal type: reflection
// makes one. A change of that type is an error here and a fresh download then.
func fetchFrom(ctx context.Context, src types.ImageSource, info types.BlobInfo, offset int64) (_ io.ReadCloser, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the registry source has changed: %v", p)
		}
	}()
	ctx, cancel := context.WithCancel(ctx)
	defer func() {
		if err != nil {
			cancel()
		}
	}()
	method := reflect.ValueOf(src).MethodByName("GetBlobAt")
	if !method.IsValid() {
		return nil, fmt.Errorf("%T cannot fetch a part of a blob", src)
	}
	chunks := reflect.MakeSlice(method.Type().In(2), 1, 1)
	chunks.Index(0).FieldByName("Offset").SetUint(uint64(offset))
	chunks.Index(0).FieldByName("Length").SetUint(uint64(info.Size - offset))
	out := method.Call([]reflect.Value{reflect.ValueOf(ctx), reflect.ValueOf(info), chunks})
	if err, _ := out[2].Interface().(error); err != nil {
		return nil, err
	}
	streams, okS := out[0].Interface().(chan io.ReadCloser)
	errs, okE := out[1].Interface().(chan error)
	if !okS || !okE {
		return nil, fmt.Errorf("%T.GetBlobAt has changed", src)
	}
	r, err := firstStream(ctx, streams, errs)
	if err != nil {
		return nil, err
	}
	return &rangeReader{stream: r, cancel: cancel}, nil
}

// rangeReader never touches the library's stream again after an error, nor to
// close it: its reader of an unranged answer panics when it is read after an
// error, and its Close does that (image v5.36.2, bufferedNetworkReader.read).
// Cancelling the request releases the connection.
type rangeReader struct {
	stream io.Reader
	cancel context.CancelFunc
	err    error
}

func (r *rangeReader) Read(b []byte) (n int, err error) {
	if r.err == nil {
		n, r.err = r.stream.Read(b)
	}
	return n, r.err
}

func (r *rangeReader) Close() error {
	r.cancel()
	return nil
}

// firstStream waits for the one part that was asked for. Later errors are put
// on errs by a goroutine that must not stay blocked.
func firstStream(ctx context.Context, streams chan io.ReadCloser, errs chan error) (io.ReadCloser, error) {
	drain := func() {
		go func() {
			for range errs { //nolint:revive // only the end matters
			}
		}()
	}
	for {
		select {
		case r, ok := <-streams:
			if !ok {
				drain()
				return nil, io.ErrUnexpectedEOF
			}
			drain()
			return r, nil
		case err, ok := <-errs:
			if !ok {
				errs = nil
				continue
			}
			return nil, err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
