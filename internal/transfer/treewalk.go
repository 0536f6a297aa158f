package transfer

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/linux"
)

// sink takes the entries of a tree in the order of an archive: a folder before
// what is in it. data has h.Size bytes, or fewer where the file shrank.
type sink interface {
	put(h *tar.Header, data io.Reader) error
}

// node is one entry of a tree, held by a descriptor (O_PATH) on which its type
// was read: what it is cannot change any more, whoever swaps the name.
type node struct {
	f  *os.File
	st unix.Stat_t
}

func openNode(dir *os.File, name string) (*node, error) {
	f, err := linux.OpenBeneath(int(dir.Fd()), name, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	return nodeOf(f)
}

// nodeOf takes f over, also when it fails.
func nodeOf(f *os.File) (*node, error) {
	n := &node{f: f}
	if err := unix.Fstat(int(f.Fd()), &n.st); err != nil {
		_ = f.Close()
		return nil, &os.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	return n, nil
}

func (n *node) close()       { _ = n.f.Close() }
func (n *node) kind() uint32 { return n.st.Mode & unix.S_IFMT }
func (n *node) dir() bool    { return n.kind() == unix.S_IFDIR }

type inode struct{ dev, ino uint64 }

func inodeOf(st *unix.Stat_t) inode { return inode{uint64(st.Dev), st.Ino} }

// idTable says as which id of the archive an id of U0 appears.
type idTable []struct{ Inside, Outside, Size uint32 }

// overflowID is what the container itself sees of an id that it does not have
// (/proc/sys/kernel/overflowuid).
const overflowID = 65534

func (t idTable) inside(id uint32) int {
	for _, m := range t {
		if id >= m.Outside && id-m.Outside < m.Size {
			return int(m.Inside + (id - m.Outside))
		}
	}
	if t == nil {
		return int(id)
	}
	return overflowID
}

func (t idTable) outside(id int) (int, bool) {
	for _, m := range t {
		if id >= int(m.Inside) && id-int(m.Inside) < int(m.Size) {
			return int(m.Outside) + id - int(m.Inside), true
		}
	}
	return id, t == nil
}

// walker reads a tree into a sink. Everything is opened relative to a folder that
// is already open, never through a link, so it stays in the tree where it began,
// whatever moves meanwhile. Names come sorted: equal trees make equal archives.
type walker struct {
	sink     sink
	uid, gid idTable
	raw      bool // the tree is a driver's own folder: its marks are not the payload's
	stay     bool // in one file system: of what is mounted below only the place is kept
	skip     inode
	links    map[inode]string
	note     func(format string, args ...any)
	ctx      context.Context // of the verb: an interrupt ends the walk
}

// tree puts n, called name ("" puts a folder's content alone), and all below it.
func (w *walker) tree(n *node, name string) error {
	if w.links == nil {
		w.links = make(map[inode]string)
	}
	if name != "" {
		if err := w.entry(n, name); err != nil {
			return err
		}
	}
	if !n.dir() || kernelFiles(n.f) {
		return nil
	}
	if inodeOf(&n.st) == w.skip {
		w.note("%s is where the copy goes: its content is left out", quote(name))
		return nil
	}
	if err := checkDepth(name); err != nil {
		return err
	}
	dir, err := linux.Reopen(n.f, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return bare(name, err)
	}
	defer dir.Close()
	return w.content(dir, name)
}

func (w *walker) content(dir *os.File, name string) error {
	names, err := readNames(dir)
	if err != nil {
		return bare(name, err)
	}
	for _, base := range names {
		child := join(name, base)
		n, err := openNode(dir, base)
		if err != nil {
			if vanished(err) {
				continue
			}
			return bare(child, err)
		}
		if w.stay && mountedOn(dir, base) {
			err = w.entry(&node{n.f, placeOf(n.st)}, child)
		} else {
			err = w.tree(n, child)
		}
		n.close()
		if err != nil {
			return err
		}
	}
	return nil
}

// placeOf is what an archive says of a place where something is mounted: an empty
// folder or file.
func placeOf(st unix.Stat_t) unix.Stat_t {
	if !isDir(&st) {
		st.Mode, st.Size, st.Nlink = unix.S_IFREG|st.Mode&0o777, 0, 1
	}
	return st
}

// mountedOn tells whether name is the root of a mount (statx(2), Linux 5.8).
func mountedOn(dir *os.File, name string) bool {
	var stx unix.Statx_t
	err := unix.Statx(int(dir.Fd()), name, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, unix.STATX_TYPE, &stx)
	return err == nil && stx.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0
}

// entry puts one node.
func (w *walker) entry(n *node, name string) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	h, err := w.header(n, name)
	if err != nil {
		return bare(name, err)
	}
	if h == nil {
		return nil
	}
	if h.Typeflag != tar.TypeReg || h.Size == 0 {
		return w.sink.put(h, nil)
	}
	// Only now, and only because it is a regular file: to open a pipe would wait,
	// to open a device would act.
	data, err := linux.Reopen(n.f, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
	if err != nil {
		return bare(name, err)
	}
	defer data.Close()
	return w.sink.put(h, data)
}

var typeflags = map[uint32]byte{
	unix.S_IFREG: tar.TypeReg, unix.S_IFDIR: tar.TypeDir, unix.S_IFLNK: tar.TypeSymlink,
	unix.S_IFIFO: tar.TypeFifo, unix.S_IFCHR: tar.TypeChar, unix.S_IFBLK: tar.TypeBlock,
}

// header describes a node; nil for a socket, which no archive can hold.
func (w *walker) header(n *node, name string) (*tar.Header, error) {
	st := &n.st
	flag, ok := typeflags[n.kind()]
	if !ok {
		w.note("%s is a socket: left out", quote(name))
		return nil, nil
	}
	h := &tar.Header{
		Typeflag: flag, Name: name, Mode: int64(st.Mode & 0o7777), Uid: w.uid.inside(st.Uid), Gid: w.gid.inside(st.Gid),
		ModTime: time.Unix(st.Mtim.Unix()), Format: tar.FormatPAX,
	}
	switch flag {
	case tar.TypeDir:
		h.Name += "/"
	case tar.TypeReg:
		if first, again := w.links[inodeOf(st)]; again && st.Nlink > 1 {
			h.Typeflag, h.Linkname = tar.TypeLink, first
			return h, nil
		} else if st.Nlink > 1 {
			w.links[inodeOf(st)] = name
		}
		h.Size = st.Size
	case tar.TypeSymlink:
		buf := make([]byte, unix.PathMax)
		l, err := unix.Readlinkat(int(n.f.Fd()), "", buf)
		if err != nil {
			return nil, err
		}
		h.Linkname = string(buf[:l])
	case tar.TypeChar, tar.TypeBlock:
		h.Devmajor, h.Devminor = int64(unix.Major(st.Rdev)), int64(unix.Minor(st.Rdev))
	}
	if flag == tar.TypeReg || flag == tar.TypeDir {
		return h, w.xattrs(n, h)
	}
	return h, nil
}

// kernelMagic are the file systems whose files are the kernel's own words: to
// write them acts on the host or the container, to read them may wait.
var kernelMagic = map[int64]bool{
	unix.PROC_SUPER_MAGIC: true, unix.SYSFS_MAGIC: true, unix.CGROUP2_SUPER_MAGIC: true, unix.CGROUP_SUPER_MAGIC: true,
	unix.DEVPTS_SUPER_MAGIC: true, unix.DEBUGFS_MAGIC: true, unix.TRACEFS_MAGIC: true, unix.SECURITYFS_MAGIC: true,
	unix.BPF_FS_MAGIC: true, 0x19800202: true, // mqueue (ipc/mqueue.c)
}

func kernelFiles(f *os.File) bool {
	var st unix.Statfs_t
	return unix.Fstatfs(int(f.Fd()), &st) == nil && kernelMagic[int64(st.Type)]
}

func join(dir, base string) string {
	if dir == "" || dir == "." {
		return base
	}
	return dir + "/" + base
}

// bare is an error about one entry, its name written so that no terminal obeys it.
func bare(name string, err error) error {
	return fmt.Errorf("%s: %w", quote(name), hint.Cause(err))
}

func quote(name string) string { return fmt.Sprintf("%q", strings.TrimSuffix(name, "/")) }
