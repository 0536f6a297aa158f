package transfer

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/containers/image/v5/pkg/compression"
	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/stage/start"
)

// Files is one cp, export or diff; a commit needs a Session.
type Files struct {
	Ctx    context.Context // its end is an interrupt
	Store  *record.Store
	Config *start.FilesConfig
	In     io.Reader
	Out    *os.File
	Report io.Writer
}

// note is one line for the user; what it names was quoted.
func (f *Files) note(format string, args ...any) {
	fmt.Fprintf(f.Report, "rc: "+format+"\n", args...)
}

// end is one side of a copy: a root (nil on the host) and a path in it.
type end struct {
	*root
	place start.FilesPlace
}

func (e *end) String() string {
	if e.root == nil {
		return quote(e.place.Path)
	}
	return quote(e.place.Typed + ":" + e.place.Path)
}

// open resolves a path of this side as the side itself does; on the host with the
// caller's rights, in the caller's view.
func (e *end) open(name string, flags int) (*os.File, error) {
	if e.root != nil {
		return e.root.open(name, flags)
	}
	fd, err := unix.Open(name, flags|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// cpError is a refusal of cp: Docker's exit code is 1.
func cpError(e *end, err error, fix string) error {
	var h *hint.Error
	if errors.As(err, &h) {
		return h.WithCode(exitFailed)
	}
	return hint.New("copy "+e.String(), hint.Cause(err), fix).WithCode(exitFailed)
}

// Copy is `rc cp`.
func (f *Files) Copy() error {
	from, to := &end{place: f.Config.From}, &end{place: f.Config.To}
	for _, e := range []*end{from, to} {
		if e.place.ID == "" {
			continue
		}
		if e == to && from.root != nil && from.place.ID == e.place.ID {
			e.root = from.root // from one place of a container to another
			continue
		}
		r, err := openRoot(f.Store, e.place, withMounts)
		if err != nil {
			return cpError(e, err, "")
		}
		defer r.close()
		e.root = r
	}
	switch {
	case from.root == nil && from.place.Path == "-":
		return f.fromStream(to)
	case to.root == nil && to.place.Path == "-":
		return f.toStream(from)
	}
	return f.between(from, to)
}

// source is what is copied, and the name it has in an archive: "" for a folder's
// content alone.
func (f *Files) source(from *end) (*node, string, error) {
	name := from.place.Path
	content := name == "." || strings.HasSuffix(name, "/.") || path.Clean(name) == "/"
	flags := unix.O_PATH
	if !f.Config.Follow && !content && !strings.HasSuffix(name, "/") {
		flags |= unix.O_NOFOLLOW
	}
	file, err := from.open(name, flags)
	if err != nil {
		return nil, "", cpError(from, err, "")
	}
	n, err := nodeOf(file)
	if err != nil {
		return nil, "", cpError(from, err, "")
	}
	if content && !n.dir() {
		n.close()
		return nil, "", cpError(from, unix.ENOTDIR, "")
	}
	if !n.dir() && kernelFiles(n.f) {
		n.close()
		return nil, "", cpError(from, errors.New("it is in a file system of the kernel's, where no file has a size"), "rc exec "+from.place.Typed+" cat "+from.place.Path)
	}
	if content {
		return n, "", nil
	}
	base := path.Base(path.Clean(name))
	if base == ".." {
		return n, "", nil // as docker cp: its content
	}
	return n, base, nil
}

func (f *Files) walkerOf(from *end, s sink) *walker {
	w := &walker{sink: s, note: f.note, ctx: f.Ctx}
	if from.root != nil {
		w.uid, w.gid = from.uid, from.gid
	}
	return w
}

// toStream writes the source as an archive whose names begin with its last name.
func (f *Files) toStream(from *end) error {
	n, name, err := f.source(from)
	if err != nil {
		return err
	}
	defer n.close()
	if name == "" {
		name = "."
	}
	out := bufio.NewWriterSize(f.Out, 1<<20)
	tw := newTarSink(out, f.note)
	if err := f.walkerOf(from, tw).tree(n, name); err != nil {
		return cpError(from, err, "")
	}
	if err := errors.Join(tw.close(), out.Flush()); err != nil {
		return cpError(from, err, "")
	}
	return nil
}

// fromStream unpacks an archive from stdin, plain or compressed, into a folder.
// Its entries keep the ids that it says: those of the container.
func (f *Files) fromStream(to *end) error {
	dir, err := to.open(to.place.Path, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		fix := "make it first"
		if errors.Is(err, unix.ENOTDIR) {
			fix = "an archive is unpacked into a folder"
		}
		return cpError(to, err, fix)
	}
	defer dir.Close()
	in, _, err := compression.AutoDecompress(bufio.NewReaderSize(f.In, 1<<20))
	if err != nil {
		return cpError(to, err, "")
	}
	defer in.Close()
	s := f.sinkOf(to, dir, to.place.Path)
	s.owner = to.ownerOf
	c := &counted{sink: s, bytes: 1024}
	for tr := tar.NewReader(in); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return cpError(to, fmt.Errorf("stdin is no tar archive, or a damaged one: %w", err), "")
		}
		if err := errors.Join(f.Ctx.Err(), c.put(h, tr)); err != nil {
			return cpError(to, err, "")
		}
	}
	s.finish()
	f.success(c.bytes, to)
	return nil
}

// sinkOf makes entries below dir, which is the path name of to.
func (f *Files) sinkOf(to *end, dir *os.File, name string) *treeSink {
	s := &treeSink{base: dir, note: f.note, host: to.root == nil}
	if to.root == nil {
		s.owner = func(*tar.Header) (int, int, error) { return 0, 0, nil } // 0 in U0 is the caller
		return s
	}
	s.follow = func(dir string) (*os.File, error) {
		return to.root.open(path.Join("/", name, dir), unix.O_PATH|unix.O_DIRECTORY)
	}
	s.owner = to.rootOwner
	if f.Config.Archive {
		s.owner = to.ownerOf
	}
	return s
}

// rootOwner gives what is copied in to the container's root.
func (r *root) rootOwner(h *tar.Header) (uid, gid int, err error) {
	return r.ownerOf(&tar.Header{Name: h.Name})
}

// ownerOf gives it to the ids of its header.
func (r *root) ownerOf(h *tar.Header) (uid, gid int, err error) {
	uid, okU := r.uid.outside(h.Uid)
	gid, okG := r.gid.outside(h.Gid)
	if !okU || !okG {
		return 0, 0, hint.Newf("give "+quote(h.Name)+" its owner", "leave out -a, or let the archive have ids of the container",
			"the container does not have the ids %d:%d", h.Uid, h.Gid)
	}
	return uid, gid, nil
}

// between copies from a tree to a tree.
func (f *Files) between(from, to *end) error {
	n, name, err := f.source(from)
	if err != nil {
		return err
	}
	defer n.close()
	t, err := f.destination(to, n.dir(), name)
	if err != nil {
		return err
	}
	defer t.dir.Close()
	s := f.sinkOf(to, t.dir, t.path)
	if from.root == nil && f.Config.Archive && to.root != nil {
		// The caller's files are U0's root's: what that is in the container.
		s.owner = func(h *tar.Header) (int, int, error) {
			return to.ownerOf(&tar.Header{Name: h.Name, Uid: to.uid.inside(uint32(h.Uid)), Gid: to.gid.inside(uint32(h.Gid))})
		}
	}
	c := &counted{sink: s, bytes: 1024}
	w := f.walkerOf(from, c)
	if st, err := nodeStat(t.dir); err == nil {
		w.skip = inodeOf(st) // one lies in the other: the copy shall not copy itself
		if w.skip == inodeOf(&n.st) {
			return cpError(from, errors.New("a folder cannot be copied into itself"), "")
		}
	}
	if same(t, n) {
		return cpError(from, errors.New("source and destination are the same file"), "")
	}
	if err := w.tree(n, t.name); err != nil {
		return cpError(from, err, fixSpace(err))
	}
	s.finish()
	f.success(c.bytes, to)
	return nil
}

// same tells whether the copy would replace its own source.
func same(t *target, n *node) bool {
	if t.name == "" {
		return false
	}
	there, err := openNode(t.dir, t.name)
	if err != nil {
		return false
	}
	defer there.close()
	return inodeOf(&there.st) == inodeOf(&n.st)
}

func fixSpace(err error) string {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return "make room on the disk"
	}
	return ""
}

// success prints Docker's line.
func (f *Files) success(bytes int64, to *end) {
	if f.Config.Quiet {
		return
	}
	where := to.place.Path
	if to.root != nil {
		where = to.place.Typed + ":" + where
	} else if abs, err := filepath.Abs(where); err == nil {
		where = abs
	}
	fmt.Fprintf(f.Report, "Successfully copied %s to %s\n", humanSize(bytes), strings.Trim(quote(where), `"`))
}

// humanSize is Docker's: decimal units, three digits.
func humanSize(n int64) string {
	f, units := float64(n), []string{"B", "kB", "MB", "GB", "TB", "PB"}
	i := 0
	for f >= 1000 && i < len(units)-1 {
		f /= 1000
		i++
	}
	return fmt.Sprintf("%.3g%s", f, units[i])
}

// target is where a copy goes: the name in a folder, "" for the folder itself.
type target struct {
	dir  *os.File // O_PATH
	path string   // of dir
	name string
}

// destination finds it by Docker's rules: into a folder that exists, under the
// source's name; onto a file; or as a new name in a folder that exists.
func (f *Files) destination(to *end, folder bool, name string) (*target, error) {
	dest := to.place.Path
	file, err := to.open(dest, unix.O_PATH)
	switch {
	case errors.Is(err, unix.ENOENT):
		if strings.HasSuffix(dest, "/") && !folder || strings.HasSuffix(dest, "/.") {
			return nil, cpError(to, errors.New("no such folder"), "make it first, or leave the last / out")
		}
		return f.lastName(to, dest)
	case err != nil:
		return nil, cpError(to, err, "")
	}
	n, err := nodeOf(file)
	if err != nil {
		return nil, cpError(to, err, "")
	}
	if n.dir() {
		return &target{n.f, path.Clean(dest), name}, nil
	}
	defer n.close()
	switch {
	case folder:
		return nil, cpError(to, errors.New("a folder cannot replace a file"), "name a folder")
	case kernelFiles(n.f):
		return nil, cpError(to, errors.New("it is in a file system of the kernel's"), "rc exec can write there")
	}
	return f.lastName(to, dest)
}

// lastName is the folder and the name of dest itself. Where that is a link, what
// it leads to is meant, there or not: the links are followed by hand, each step
// as the side resolves it.
func (f *Files) lastName(to *end, dest string) (*target, error) {
	for range maxLinks {
		dir, base := path.Split(path.Clean(dest))
		dir = path.Clean(dir + ".")
		up, err := to.open(dir, unix.O_PATH|unix.O_DIRECTORY)
		if err != nil {
			return nil, cpError(to, err, "make the folder "+quote(dir)+" first")
		}
		buf := make([]byte, unix.PathMax)
		l, err := unix.Readlinkat(int(up.Fd()), base, buf)
		if err != nil {
			return &target{up, dir, base}, nil
		}
		_ = up.Close()
		if dest = string(buf[:l]); !path.IsAbs(dest) {
			dest = path.Join(dir, dest)
		}
	}
	return nil, cpError(to, unix.ELOOP, "")
}

// maxLinks is the kernel's bound on links in one lookup (MAXSYMLINKS).
const maxLinks = 40
