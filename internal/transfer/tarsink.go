package transfer

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
)

// tarSink writes an archive.
type tarSink struct {
	tw   *tar.Writer
	note func(format string, args ...any)
}

func newTarSink(w io.Writer, note func(string, ...any)) *tarSink {
	return &tarSink{tar.NewWriter(w), note}
}

// put keeps the promise of the header's size: a file that shrank is filled up
// with zeros (as tar does), one that grew is cut.
func (s *tarSink) put(h *tar.Header, data io.Reader) error {
	if err := s.tw.WriteHeader(h); err != nil {
		return fmt.Errorf("%s: %w", quote(h.Name), err)
	}
	if data == nil {
		return nil
	}
	n, err := io.CopyN(s.tw, data, h.Size)
	if errors.Is(err, io.EOF) {
		s.note("%s shrank while it was read: the rest is zeros", quote(h.Name))
		_, err = io.CopyN(s.tw, zeros{}, h.Size-n)
	}
	if err != nil {
		return bare(h.Name, err)
	}
	return nil
}

func (s *tarSink) close() error { return s.tw.Close() }

type zeros struct{}

// Read gives zeros without end.
func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// counted is a sink that adds up what Docker reports: the size of the archive
// that would hold it, in blocks of 512 bytes.
type counted struct {
	sink
	bytes int64
}

func (c *counted) put(h *tar.Header, data io.Reader) error {
	c.bytes += 512 + (h.Size+511)&^511
	return c.sink.put(h, data)
}
