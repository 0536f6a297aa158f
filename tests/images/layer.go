// Package images makes container images out of nothing but a static busybox:
// ordinary ones, and hostile ones that no builder would make. It writes every
// byte itself (archive/tar, image-spec's JSON), so that what rc reads was not
// made by the libraries that rc uses.
package images

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/klauspost/compress/zstd"
)

// Compression is how a layer travels (image-spec, layer.md, "+gzip Media Types").
type Compression string

// The compressions that rc has to read.
const (
	Gzip  Compression = "gzip"
	Zstd  Compression = "zstd"
	Plain Compression = ""
)

// epoch is the time of every file, so that equal content has equal digests.
var epoch = time.Unix(1700000000, 0)

// Entry is one member of a layer.
type Entry struct {
	tar.Header
	Body []byte
}

// Dir is a folder of root's.
func Dir(name string, mode int64) Entry {
	return Entry{Header: tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: mode}}
}

// File is a regular file of root's.
func File(name string, mode int64, body string) Entry {
	return Entry{Header: tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(body))}, Body: []byte(body)}
}

// Symlink points name at target, which is written as it stands.
func Symlink(name, target string) Entry {
	return Entry{Header: tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777}}
}

// Hardlink makes name another name of target.
func Hardlink(name, target string) Entry {
	return Entry{Header: tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target, Mode: 0o644}}
}

// Device is a character or block device node.
func Device(name string, typeflag byte, major, minor int64) Entry {
	return Entry{Header: tar.Header{Typeflag: typeflag, Name: name, Mode: 0o666, Devmajor: major, Devminor: minor}}
}

// Own gives the entry to another owner.
func (e Entry) Own(uid, gid int) Entry {
	e.Uid, e.Gid = uid, gid
	return e
}

// Xattr sets an extended attribute, in the PAX form that every reader knows.
func (e Entry) Xattr(name, value string) Entry {
	records := map[string]string{"SCHILY.xattr." + name: value}
	for k, v := range e.PAXRecords {
		records[k] = v
	}
	e.PAXRecords = records
	return e
}

// Layer is one tar stream, as it is hashed (DiffID) and as it travels (Data).
type Layer struct {
	DiffID      string
	Raw         []byte // the uncompressed tar
	Data        []byte // the bytes that travel
	Compression Compression
}

// MakeLayer packs entries in the order given.
func MakeLayer(c Compression, entries ...Entry) Layer {
	var raw bytes.Buffer
	w := tar.NewWriter(&raw)
	for _, e := range entries {
		h := e.Header
		h.ModTime = epoch
		if err := w.WriteHeader(&h); err != nil {
			panic(fmt.Sprintf("layer entry %q: %v", e.Name, err)) // the catalogue itself is wrong
		}
		if _, err := w.Write(e.Body); err != nil {
			panic(fmt.Sprintf("layer entry %q: %v", e.Name, err))
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return Layer{DiffID: digest(raw.Bytes()), Raw: raw.Bytes(), Data: compress(c, raw.Bytes()), Compression: c}
}

func compress(c Compression, raw []byte) []byte {
	var out bytes.Buffer
	switch c {
	case Gzip:
		w := gzip.NewWriter(&out)
		_, _ = w.Write(raw) // a bytes.Buffer does not fail
		_ = w.Close()
	case Zstd:
		w, err := zstd.NewWriter(&out, zstd.WithEncoderConcurrency(1))
		if err != nil {
			panic(err)
		}
		_, _ = w.Write(raw)
		_ = w.Close()
	default:
		return raw
	}
	return out.Bytes()
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}
