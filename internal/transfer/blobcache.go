package transfer

import (
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/containers/image/v5/types"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/record"
)

// blobCache keeps what was fetched of a layer that is not in the store yet, as
// cache/blobs/<digest>.partial: the first bytes of the blob, appended as they
// come. A later pull reads them first and asks the registry for the rest. The
// digest of the whole is the only thing believed: a file that turns out wrong
// (power loss, a server that lies about a range) is removed and the pull is
// made again from the beginning.
type blobCache struct {
	dir string
	say func(format string, args ...any)

	mu      sync.Mutex
	used    map[string]struct{} // files to remove once the image is in the store
	resumed map[string]struct{} // files whose bytes were believed so far
}

const (
	partialSuffix = ".partial"
	partialMin    = 64 << 10 // smaller blobs are not worth a file
	partialAge    = 7 * 24 * time.Hour
)

func stale(info fs.FileInfo) bool { return time.Since(info.ModTime()) > partialAge }

func newBlobCache(dir string, say func(string, ...any)) (*blobCache, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && stale(info) {
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
	return &blobCache{dir: dir, say: say, used: make(map[string]struct{}), resumed: make(map[string]struct{})}, nil
}

// forget removes the files of blobs that are in the store now.
func (c *blobCache) forget(digests []digest.Digest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, d := range digests {
		c.used[c.path(d)] = struct{}{}
	}
	for path := range c.used {
		_ = os.Remove(path)
	}
}

// doubt removes the files that a failed pull went on from, and says whether
// there were any: then a download from the beginning may succeed.
func (c *blobCache) doubt() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	found := len(c.resumed) > 0
	for path := range c.resumed {
		_ = os.Remove(path)
	}
	clear(c.resumed)
	return found
}

func (c *blobCache) path(d digest.Digest) string {
	return filepath.Join(c.dir, d.Encoded()+partialSuffix)
}

// open gives the blob: fresh fetches it whole, rest from an offset.
func (c *blobCache) open(info types.BlobInfo, fresh func() (io.ReadCloser, int64, error), rest func(int64) (io.ReadCloser, error)) (io.ReadCloser, int64, error) {
	if info.Digest.Validate() != nil || (info.Size >= 0 && info.Size < partialMin) {
		return fresh()
	}
	// Another pull that fetches the same blob holds its file: fetch without one.
	f, err := record.LockFile(c.path(info.Digest), unix.LOCK_EX|unix.LOCK_NB)
	if err != nil {
		return fresh()
	}
	have, err := f.Seek(0, io.SeekEnd)
	if err != nil || info.Size < 0 || have > info.Size {
		have = 0
	}
	p := &partial{file: f, want: info.Digest, size: info.Size, hash: info.Digest.Algorithm().Hash(), have: have}
	if have > 0 && have < info.Size {
		if p.upstream, err = rest(have); err != nil {
			p.have = 0
		}
	}
	if p.have > 0 {
		c.say("Resuming blob %s at %d of %d bytes", info.Digest, p.have, info.Size)
	} else {
		if p.upstream, p.size, err = fresh(); err != nil {
			_ = f.Close()
			return nil, 0, err
		}
		if f.Truncate(0) != nil {
			p.drop()
		}
	}
	c.mu.Lock()
	c.used[c.path(info.Digest)] = struct{}{}
	if p.have > 0 {
		c.resumed[c.path(info.Digest)] = struct{}{}
	}
	c.mu.Unlock()
	return p, p.size, nil
}

// partial reads the bytes that are in the file, then those of the registry,
// which it appends to the file.
type partial struct {
	file     *os.File // nil: no longer kept
	upstream io.ReadCloser
	have     int64 // bytes in the file at the beginning; > 0 means resumed
	pos      int64
	size     int64 // -1 unknown
	want     digest.Digest
	hash     hash.Hash
}

func (p *partial) Read(b []byte) (int, error) {
	var n int
	var err error
	switch {
	case p.pos < p.have:
		if int64(len(b)) > p.have-p.pos {
			b = b[:p.have-p.pos]
		}
		n, err = p.file.ReadAt(b, p.pos)
		if err == io.EOF && n > 0 {
			err = nil
		}
	case p.upstream == nil:
		err = io.EOF // the whole blob was in the file
	default:
		n, err = p.upstream.Read(b)
		if n > 0 && p.file != nil {
			// A full disk costs the resumption only.
			if _, werr := p.file.WriteAt(b[:n], p.pos); werr != nil {
				p.drop()
			}
		}
	}
	p.hash.Write(b[:n])
	p.pos += int64(n)
	if err == io.EOF {
		err = p.ended()
	}
	return n, err
}

// ended judges the whole blob. What stopped short stays for the next time.
func (p *partial) ended() error {
	if p.size >= 0 && p.pos < p.size {
		return io.ErrUnexpectedEOF
	}
	if digest.NewDigest(p.want.Algorithm(), p.hash) == p.want {
		return io.EOF
	}
	p.drop()
	return io.EOF // the library reports the mismatch
}

// drop gives the file up.
func (p *partial) drop() {
	if p.file != nil {
		_ = os.Remove(p.file.Name())
		_ = p.file.Close()
		p.file = nil
	}
}

// Close ends the download and keeps the file.
func (p *partial) Close() error {
	if p.file != nil {
		_ = p.file.Close()
	}
	if p.upstream == nil {
		return nil
	}
	return p.upstream.Close()
}
