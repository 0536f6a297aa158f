package transfer

import (
	"archive/tar"
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/containers/image/v5/tarball"
	"github.com/containers/image/v5/types"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/fuse"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/stage/start"
)

// commit is one `rc commit` on its way:
//
//	upper folder ──► layer.tar ──┐
//	image's config ──► config ───┴─► an image source ──► admit, as a pull's ──► name
//
// Until the record is written there is a work folder and perhaps a layer without
// a record, both of which are collected like those of a pull.
type commit struct {
	s    *Session
	f    *Files
	rec  *record.Container
	cfg  *start.Config
	base *record.Image

	layer  *os.File
	diffID digest.Digest
	size   int64
}

// Commit makes an image of a container and prints its id.
func (s *Session) Commit(ctx context.Context, f *Files) error {
	op := "commit " + f.Config.From.Typed
	full, err := newName(f.Config.Name)
	if err != nil {
		return explain(op, err, "")
	}
	c := &commit{s: s, f: f}
	if c.cfg, err = upperOf(s.record, f.Config.From, "commit"); err != nil {
		return err
	}
	if c.rec, err = s.record.LoadContainer(f.Config.From.ID); err != nil {
		return explain(op, err, "")
	}
	if c.base, err = s.record.Image(c.rec.Image); err != nil {
		return explain(op, err, "")
	}
	id, err := c.make(ctx)
	if err != nil {
		return explain(op, err, "")
	}
	if full != "" {
		if err := s.record.SetName(full, id); err != nil {
			return explain(op, err, "")
		}
	}
	c.event(id, full)
	if full != "" {
		s.event("tag", "sha256:"+id, familiar(full))
	}
	_, err = fmt.Fprintf(s.Out, "sha256:%s\n", id)
	return err
}

// newName is the full name that a new image gets; "" for none.
func newName(name string) (string, error) {
	if name == "" {
		return "", nil
	}
	r, err := record.ParseRef(name)
	if err == nil && r.Digest != "" {
		err = fmt.Errorf("%w: an image cannot be given a digest", record.ErrBadRef)
	}
	if err != nil {
		return "", err
	}
	return r.WithDefaultTag().String(), nil
}

func (c *commit) event(id, full string) {
	attrs := map[string]string{"name": c.rec.Name, "image": c.rec.ImageName, "imageID": "sha256:" + id, "imageRef": full, "comment": c.f.Config.Message}
	for k, v := range c.rec.Labels {
		if _, ours := attrs[k]; !ours {
			attrs[k] = v
		}
	}
	_ = c.s.record.AppendEvent("container", "commit", c.rec.ID, attrs)
}

func (c *commit) make(ctx context.Context) (id string, err error) {
	if err := c.writeLayer(ctx); err != nil {
		return "", err
	}
	defer c.layer.Close()
	config, err := c.config()
	if err != nil {
		return "", err
	}
	// Only the transport of an import's reference counts: policy.json decides by it.
	ref, err := tarball.NewReference([]string{c.layer.Name()}, nil)
	if err != nil {
		return "", err
	}
	inner, err := c.source(ctx, ref, config)
	if err != nil {
		return "", err
	}
	src := &source{ImageSource: inner, manifests: make(map[digest.Digest]heldManifest), small: make(map[digest.Digest][]byte)}
	defer src.end()
	o, err := c.s.inspect(ctx, src)
	if err != nil {
		return "", err
	}
	return o.id, c.s.admitOnce(ctx, ref, src, o, nil)
}

// writeLayer writes the container's changes as a layer (image-spec layer.md).
func (c *commit) writeLayer(ctx context.Context) error {
	changes, err := changesOf(c.cfg)
	if err != nil {
		return err
	}
	c.layer, err = os.OpenFile(filepath.Join(c.s.work, "layer.tar"), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	sum := sha256.New()
	out := bufio.NewWriterSize(io.MultiWriter(c.layer, sum), 1<<20)
	tw := newTarSink(out, c.f.note)
	if err := c.writeChanges(ctx, changes, tw); err != nil {
		_ = c.layer.Close()
		return err
	}
	if err := errors.Join(tw.close(), out.Flush()); err != nil {
		_ = c.layer.Close()
		return err
	}
	// A container that was removed meanwhile has lost files on the way.
	if _, err := os.Stat(filepath.Join(c.s.record.ContainerDir(c.rec.ID), "container.json")); err != nil {
		_ = c.layer.Close()
		return hint.Newf("", "", "the container was removed while it was read")
	}
	c.diffID = digest.NewDigestFromEncoded(digest.SHA256, hex.EncodeToString(sum.Sum(nil)))
	c.size, err = c.layer.Seek(0, io.SeekEnd)
	return err
}

func (c *commit) writeChanges(ctx context.Context, changes []fileChange, tw *tarSink) error {
	upper, err := os.OpenFile(c.cfg.Rootfs.Upper, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer upper.Close()
	w := &walker{sink: tw, raw: true, note: c.f.note, links: map[inode]string{}, ctx: ctx}
	if upperDriver(c.cfg) == fuse.Copy && len(c.cfg.Rootfs.UIDMap) > 0 {
		w.uid, w.gid = tableOf(c.cfg.Rootfs.UIDMap), tableOf(c.cfg.Rootfs.GIDMap)
	}
	for _, ch := range changes {
		name := strings.TrimPrefix(ch.path, "/")
		if err := writeChange(w, upper, ch, name); err != nil {
			return err
		}
	}
	return nil
}

func writeChange(w *walker, upper *os.File, ch fileChange, name string) error {
	whiteout := func(name string) error {
		return w.sink.put(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o600, ModTime: time.Unix(0, 0), Format: tar.FormatPAX}, nil)
	}
	base := path.Base(name)
	if strings.HasPrefix(base, whiteoutPrefix) {
		w.note("%s is left out: in a layer that name hides a file", quote(name))
		return nil
	}
	if ch.below {
		return nil // overlay shows a whiteout below an opaque folder as a name that cannot be opened
	}
	if ch.kind == deleted {
		return whiteout(join(path.Dir(name), whiteoutPrefix+base))
	}
	f, err := openDeep(int(upper.Fd()), name, unix.O_PATH|unix.O_NOFOLLOW)
	if vanished(err) {
		return nil
	}
	if err != nil {
		return bare(name, err)
	}
	n, err := nodeOf(f)
	if err != nil {
		return bare(name, err)
	}
	defer n.close()
	if kernelWhiteout(&n.st) {
		return nil // removed since it was listed: only without a pause
	}
	if err := w.entry(n, name); err != nil {
		return err
	}
	if ch.opaque {
		return whiteout(name + "/" + opaqueMark)
	}
	return nil
}

var _ types.ImageSource = (*commitSource)(nil)
