package transfer

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/linux"
)

// treeSink makes entries below a folder. Each is made in a folder that is held
// open, by its last name alone and never through a link, so that neither a
// hostile archive nor a container that swaps folders for links leads it out.
type treeSink struct {
	base *os.File // O_PATH: names in the archive are below it
	// follow opens the folder of an entry where it is no plain folder below base:
	// inside a container, links lead on as there. nil on the host: refused.
	follow func(dir string) (*os.File, error)
	owner  func(h *tar.Header) (uid, gid int, err error)
	host   bool // drop what has no meaning, or another one, outside of a container
	note   func(format string, args ...any)

	times []folderTime
	left  int // device nodes and sockets that were not made
}

type folderTime struct {
	name string
	time [2]unix.Timespec
}

// put makes one entry. What is there is replaced, but no folder by a file nor a
// file by a folder (Docker's NoOverwriteDirNonDir).
func (s *treeSink) put(h *tar.Header, data io.Reader) error {
	name, err := insideName(h.Name)
	if err != nil {
		return err
	}
	if name == "." {
		return nil // the folder itself is not the archive's
	}
	switch h.Typeflag {
	case tar.TypeXGlobalHeader:
		return nil
	case tar.TypeChar, tar.TypeBlock:
		s.left++ // no user can make one (user_namespaces(7))
		return nil
	}
	if _, _, err := s.owner(h); err != nil { // before anything is replaced
		return err
	}
	dir, err := s.folder(path.Dir(name))
	if err != nil {
		return bare(name, err)
	}
	defer dir.Close()
	if kernelFiles(dir) {
		return hint.Newf("write "+quote(name), "rc exec can write there", "it is in a file system of the kernel's")
	}
	return s.make(dir, path.Base(name), name, h, data)
}

// insideName refuses a name that leads out; an absolute one is below the target,
// as everywhere.
func insideName(name string) (string, error) {
	clean := strings.TrimLeft(path.Clean("./"+name), "/")
	if clean == ".." || strings.HasPrefix(clean, "../") || strings.ContainsRune(name, 0) {
		return "", hint.Newf("unpack "+quote(name), "do not trust this archive", "the name leads out of the destination")
	}
	return clean, checkDepth(clean)
}

// maxDepth bounds the folders that lie in each other. A name in an archive can be
// of half a million (1 MiB of PAX record), and each costs a walk from the top; of a
// tree that is read, two descriptors.
const maxDepth = 1000

func checkDepth(name string) error {
	if strings.Count(name, "/") <= maxDepth {
		return nil
	}
	return hint.Newf("copy "+quote(name[:60]+"…"), "take it apart: rc exec", "it is more than %d folders deep", maxDepth)
}

// folder opens the folder of an entry. One that the archive does not mention
// itself is made, as tar does.
func (s *treeSink) folder(name string) (*os.File, error) {
	at := int(s.base.Fd())
	f, err := openDeep(at, name, unix.O_PATH|unix.O_DIRECTORY)
	if err == nil {
		return f, nil
	}
	if s.follow != nil && (errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOTDIR)) {
		return s.follow(name)
	}
	if !errors.Is(err, unix.ENOENT) {
		return nil, err
	}
	up, err := s.folder(path.Dir(name))
	if err != nil {
		return nil, err
	}
	defer up.Close()
	h := &tar.Header{Typeflag: tar.TypeDir, Mode: 0o755}
	return s.mkdir(up, path.Base(name), h)
}

// openDeep opens a path of plain folders below at, however long: the kernel takes
// PATH_MAX bytes at once.
func openDeep(at int, name string, flags int) (*os.File, error) {
	var dir *os.File
	for len(name) > 2048 {
		cut := strings.LastIndexByte(name[:2048], '/')
		next, err := linux.OpenBeneath(at, name[:cut], unix.O_PATH|unix.O_DIRECTORY, 0)
		if dir != nil {
			_ = dir.Close()
		}
		if err != nil {
			return nil, err
		}
		dir, at, name = next, int(next.Fd()), name[cut+1:]
	}
	f, err := linux.OpenBeneath(at, name, flags, 0)
	if dir != nil {
		_ = dir.Close()
	}
	return f, err
}

func (s *treeSink) make(dir *os.File, base, name string, h *tar.Header, data io.Reader) error {
	if h.Typeflag == tar.TypeDir {
		f, err := s.mkdir(dir, base, h)
		if err != nil {
			return bare(name, err)
		}
		s.times = append(s.times, folderTime{name, timesOf(h)})
		return f.Close()
	}
	if isFile(h.Typeflag) {
		return s.file(dir, base, name, h, data)
	}
	if err := clearPlace(dir, base); err != nil {
		return bare(name, err)
	}
	var err error
	switch h.Typeflag {
	case tar.TypeSymlink:
		err = unix.Symlinkat(h.Linkname, int(dir.Fd()), base)
	case tar.TypeFifo:
		err = unix.Mknodat(int(dir.Fd()), base, unix.S_IFIFO|0o600, 0)
	case tar.TypeLink:
		return s.link(dir, base, name, h)
	default:
		return hint.Newf("unpack "+quote(name), "", "an entry of the unknown type %q", h.Typeflag)
	}
	if err != nil {
		return bare(name, err)
	}
	n, err := openNode(dir, base)
	if err != nil {
		return bare(name, err)
	}
	defer n.close()
	if n.kind() != unix.S_IFIFO && n.kind() != unix.S_IFLNK {
		return bare(name, unix.EAGAIN) // somebody put something else there
	}
	if err := s.attributes(n.f, h, n.kind() == unix.S_IFLNK); err != nil {
		return bare(name, err)
	}
	t := timesOf(h)
	_ = unix.UtimesNanoAt(int(dir.Fd()), base, t[:], unix.AT_SYMLINK_NOFOLLOW)
	return nil
}

func isFile(flag byte) bool {
	return flag == tar.TypeReg || flag == tar.TypeGNUSparse || flag == tar.TypeCont || flag == 0
}

// mkdir makes a folder, or takes the one that is there, and gives it what h says.
func (s *treeSink) mkdir(dir *os.File, base string, h *tar.Header) (*os.File, error) {
	err := unix.Mkdirat(int(dir.Fd()), base, 0o700)
	if err != nil && err != unix.EEXIST {
		return nil, err
	}
	f, oerr := linux.OpenBeneath(int(dir.Fd()), base, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if oerr != nil {
		if err == unix.EEXIST {
			return nil, errors.New("it is no folder, and a folder cannot replace it")
		}
		return nil, oerr
	}
	if err := s.attributes(f, h, false); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// clearPlace takes a name away for what comes there; a folder stays.
func clearPlace(dir *os.File, base string) error {
	err := unix.Unlinkat(int(dir.Fd()), base, 0)
	switch err {
	case nil, unix.ENOENT:
		return nil
	case unix.EISDIR:
		return errors.New("it is a folder, and only a folder can replace it")
	}
	return err
}

// file makes a regular file, exclusively: what is opened is never somebody's pipe
// or link. Where a file is mounted (a container's /etc/hosts) the name cannot be
// taken away, and it is written in place.
func (s *treeSink) file(dir *os.File, base, name string, h *tar.Header, data io.Reader) error {
	err := clearPlace(dir, base)
	var f *os.File
	if err == nil {
		f, err = linux.OpenBeneath(int(dir.Fd()), base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW, 0o600)
	} else if errors.Is(err, unix.EBUSY) {
		f, err = openInPlace(dir, base)
	}
	if err != nil {
		return bare(name, err)
	}
	defer f.Close()
	if data != nil {
		if err := fill(f, data, h.Size); err != nil {
			return bare(name, err)
		}
	}
	if err := s.attributes(f, h, false); err != nil {
		return bare(name, err)
	}
	t := timesOf(h)
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, linux.ProcFD(f), t[:], 0); err != nil {
		return bare(name, err)
	}
	return bareNil(name, f.Close())
}

func bareNil(name string, err error) error {
	if err == nil {
		return nil
	}
	return bare(name, err)
}

// openInPlace empties the regular file base of dir, and opens nothing else.
func openInPlace(dir *os.File, base string) (*os.File, error) {
	n, err := openNode(dir, base)
	if err != nil {
		return nil, err
	}
	defer n.close()
	if n.kind() != unix.S_IFREG || kernelFiles(n.f) {
		return nil, errors.New("it is no file that can be written")
	}
	return linux.Reopen(n.f, unix.O_WRONLY|unix.O_TRUNC|unix.O_NONBLOCK)
}

// link makes a hard link to what the same archive has put before.
func (s *treeSink) link(dir *os.File, base, name string, h *tar.Header) error {
	target, err := insideName(h.Linkname)
	if err != nil {
		return err
	}
	up, err := s.folder(path.Dir(target))
	if err != nil {
		return bare(target, err)
	}
	defer up.Close()
	n, err := openNode(up, path.Base(target))
	if err != nil {
		return bare(target, err)
	}
	defer n.close()
	if n.dir() {
		return bare(name, errors.New("a hard link to a folder"))
	}
	if n.kind() == unix.S_IFLNK { // AT_SYMLINK_FOLLOW would follow more than the magic link
		return bareNil(name, unix.Linkat(int(up.Fd()), path.Base(target), int(dir.Fd()), base, 0))
	}
	return bareNil(name, unix.Linkat(unix.AT_FDCWD, linux.ProcFD(n.f), int(dir.Fd()), base, unix.AT_SYMLINK_FOLLOW))
}

// attributes sets owner, then xattrs and mode: chown(2) clears set-id bits and
// capabilities.
func (s *treeSink) attributes(f *os.File, h *tar.Header, link bool) error {
	uid, gid, err := s.owner(h)
	if err != nil {
		return err
	}
	if err := unix.Fchownat(int(f.Fd()), "", uid, gid, unix.AT_EMPTY_PATH); err != nil && !s.host {
		return err
	}
	if link {
		return nil
	}
	if err := setXattrs(f, h, !s.host); err != nil {
		return err
	}
	mode := uint32(h.Mode) & 0o7777
	if s.host {
		// A program that runs as its owner would run as the caller for whoever else
		// is on the host.
		mode &= 0o777
	}
	return unix.Chmod(linux.ProcFD(f), mode)
}

func timesOf(h *tar.Header) [2]unix.Timespec {
	t := unix.NsecToTimespec(h.ModTime.UnixNano())
	return [2]unix.Timespec{t, t}
}

// finish sets the times of folders, which each new entry had changed, and says
// what was left out.
func (s *treeSink) finish() {
	for i := len(s.times) - 1; i >= 0; i-- {
		t := s.times[i]
		if f, err := openDeep(int(s.base.Fd()), t.name, unix.O_PATH|unix.O_DIRECTORY); err == nil {
			_ = unix.UtimesNanoAt(unix.AT_FDCWD, linux.ProcFD(f), t.time[:], 0)
			_ = f.Close()
		}
	}
	if s.left > 0 {
		s.note("%d device nodes are left out: no user can make them", s.left)
	}
}
