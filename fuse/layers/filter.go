package layers

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
)

const (
	xattrPrefix    = "SCHILY.xattr."                 // archive/tar: PAX records of xattrs
	overrideXattr  = "user.containers.override_stat" // containers/storage idtools; fuse-overlayfs reads it
	whiteoutPrefix = ".wh."                          // image-spec layer.md, whiteouts
	opaqueMark     = ".wh..wh..opq"

	maxTrailer   = 16 << 20 // zero bytes after the end mark: tars are padded to 10 KiB
	spareBytes   = 16 << 20 // left free on the disk, so that a bomb does not fill it
	spareInodes  = 1024
	maxSparse    = 4 << 30 // bytes that sparse files of a layer may grow to
	checkEntries = 4096    // entries between two looks at the disk
)

// forbidden are the xattrs that mean something to what mounts the layer: with
// them an image could redirect a folder to another layer's, hide files, or make
// fuse-overlayfs show other owners. They never come from a layer.
var forbidden = []string{"user.overlay.", "trusted.overlay.", "user.fuseoverlayfs.", overrideXattr}

// filter re-writes a layer's archive on its way to the disk. Every header is
// parsed and written anew, so that the unpacking program sees nothing that this
// one did not understand.
type filter struct {
	policy  policy
	dir     string
	seen    map[string]struct{} // names in this layer, without whiteouts
	size    int64               // bytes of files
	sparse  int64               // bytes of sparse files, mostly holes that nothing was sent for
	entries int
	reserve int64 // bytes unpacked since the last look at the disk
	done    chan error
}

func newFilter(p policy, dir string) *filter {
	return &filter{policy: p, dir: dir, seen: make(map[string]struct{}), done: make(chan error, 1)}
}

// start filters in the background; the caller reads the result to its end.
func (f *filter) start(in io.Reader) *io.PipeReader {
	r, w := io.Pipe()
	go func() {
		err := f.run(in, w)
		if errors.Is(err, io.ErrClosedPipe) {
			err = nil // the unpacking ended early and says why itself
		} else if err != nil {
			err = &LayerError{Err: err}
		}
		_ = w.CloseWithError(err)
		f.done <- err
	}()
	return r
}

// wait returns the size of the layer's files in bytes.
func (f *filter) wait() (int64, error) {
	err := <-f.done
	return f.size, err
}

func (f *filter) run(in io.Reader, out io.Writer) error {
	tr, tw := tar.NewReader(in), tar.NewWriter(out)
	for {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return damaged(err)
		}
		keep, err := f.edit(h)
		if err != nil {
			return err
		}
		if !keep {
			continue
		}
		if err := tw.WriteHeader(h); err != nil {
			return fmt.Errorf("%q: %w", h.Name, err)
		}
		if n, err := io.Copy(tw, tr); err != nil {
			return damaged(err)
		} else if n != h.Size {
			return damaged(io.ErrUnexpectedEOF)
		}
	}
	if err := tw.Close(); err != nil {
		return err
	}
	// The library records the archive as it is read: read it to its end.
	if n, err := io.Copy(io.Discard, io.LimitReader(in, maxTrailer+1)); err != nil {
		return damaged(err)
	} else if n > maxTrailer {
		return errors.New("the archive goes on for more than 16 MiB after its end mark")
	}
	return nil
}

func damaged(err error) error {
	if errors.Is(err, io.ErrClosedPipe) {
		return err
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("the archive is truncated: %w", err)
	}
	return fmt.Errorf("the archive is damaged: %w", err)
}

// edit makes a header safe. keep is false for what is left out.
func (f *filter) edit(h *tar.Header) (keep bool, err error) {
	if h.Name, err = inside(h.Name, "name"); err != nil {
		return false, err
	}
	holes := h.Typeflag == tar.TypeGNUSparse
	switch h.Typeflag {
	case tar.TypeXGlobalHeader, tar.TypeChar, tar.TypeBlock:
		// Device nodes cannot be made in a user namespace; the 0:0 one would
		// pass (Linux 5.8) and be a whiteout that the archive did not declare.
		return false, nil
	case tar.TypeGNUSparse, tar.TypeCont:
		h.Typeflag = tar.TypeReg // tr.Read has filled the holes
	case tar.TypeReg:
	case tar.TypeLink:
		if h.Linkname, err = inside(h.Linkname, "hard link"); err != nil {
			return false, err
		}
		h.Size = 0
	case tar.TypeDir, tar.TypeSymlink, tar.TypeFifo:
		h.Size = 0
	default:
		return false, fmt.Errorf("%q has the unknown type %q", h.Name, h.Typeflag)
	}
	if keep, err = f.whiteout(h.Name); !keep {
		return false, err
	}
	f.size += h.Size
	if h.PAXRecords["GNU.sparse.major"] != "" || h.PAXRecords["GNU.sparse.map"] != "" || holes {
		if f.sparse += h.Size; f.sparse > maxSparse || f.sparse < 0 {
			return false, fmt.Errorf("%q is a sparse file of %d MiB, and a layer may hold %d", h.Name, h.Size>>20, maxSparse>>20)
		}
	}
	if err := f.room(h.Size); err != nil {
		return false, err
	}
	h.Mode &= 0o7777
	h.Uname, h.Gname = "", "" // numbers count, and the names could be anything
	h.Format = tar.FormatPAX
	f.xattrs(h)
	return true, f.owner(h)
}

// inside refuses a name that leads out of the layer. An absolute one is below
// the layer's root, as everywhere (image-spec layer.md).
func inside(name, what string) (string, error) {
	clean := path.Clean(name)
	if clean == ".." || strings.HasPrefix(clean, "../") {
		return "", fmt.Errorf("the %s %q leads outside of the layer", what, name)
	}
	if clean = strings.TrimPrefix(clean, "/"); clean == "" {
		clean = "."
	}
	return clean, nil
}

// whiteout looks at a `.wh.` name. A whiteout concerns the layers below only:
// after a file of the same name in this layer it is left out, where making the
// device node would fail with EEXIST (images of kaniko have such pairs).
func (f *filter) whiteout(name string) (keep bool, err error) {
	base := path.Base(name)
	hidden, ok := strings.CutPrefix(base, whiteoutPrefix)
	if !ok {
		f.seen[name] = struct{}{}
		return true, nil
	}
	if base == opaqueMark || f.policy.format != record.FormatOverlay {
		return true, nil
	}
	if hidden == "" || hidden == "." || hidden == ".." {
		return false, fmt.Errorf("%q is not a whiteout", name)
	}
	_, there := f.seen[path.Join(path.Dir(name), hidden)]
	return !there, nil
}

// xattrs drops what is not a layer's to set.
func (f *filter) xattrs(h *tar.Header) {
	//lint:ignore SA1019 the reader fills both, and the writer would merge this one back
	h.Xattrs = nil
	for key := range h.PAXRecords {
		name, ok := strings.CutPrefix(key, xattrPrefix)
		if !ok {
			continue
		}
		for _, prefix := range forbidden {
			if strings.HasPrefix(name, prefix) {
				delete(h.PAXRecords, key)
			}
		}
	}
}

// owner checks that the ids exist here. With one id mapped nothing can be given
// to another owner, so what the layer says is kept in an xattr in the format of
// containers/storage (UID:GID:MODE), which fuse-overlayfs shows; user xattrs
// exist on files and folders only (xattr(7)).
func (f *filter) owner(h *tar.Header) error {
	if !f.policy.singleID {
		return f.policy.ids.check(h.Name, h.Uid, h.Gid)
	}
	if (h.Uid != 0 || h.Gid != 0) && (h.Typeflag == tar.TypeReg || h.Typeflag == tar.TypeDir) {
		if h.PAXRecords == nil {
			h.PAXRecords = make(map[string]string)
		}
		h.PAXRecords[xattrPrefix+overrideXattr] = fmt.Sprintf("%d:%d:0%o", h.Uid, h.Gid, h.Mode)
	}
	h.Uid, h.Gid = 0, 0
	return nil
}

// room stops a layer before it fills the disk: a few kilobytes can unpack to
// anything.
func (f *filter) room(size int64) error {
	f.reserve += size
	if f.entries++; f.entries%checkEntries != 0 && f.reserve < spareBytes {
		return nil
	}
	f.reserve = 0
	var st unix.Statfs_t
	if err := unix.Statfs(f.dir, &st); err != nil {
		return &os.PathError{Op: "statfs", Path: f.dir, Err: err}
	}
	free := int64(st.Bavail) * st.Bsize
	if size > free-spareBytes || (st.Files > 0 && st.Ffree < spareInodes) {
		return hint.New("unpack a layer", unix.ENOSPC, fmt.Sprintf("%d MiB are free in %s: make room, or use another --root", free>>20, f.dir))
	}
	return nil
}
