package shim

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
)

// maxGiveDepth bounds the descriptors that giving a tree away holds at once. A
// tree that a person made is not that deep.
const maxGiveDepth = 400

// overflowID is how the kernel shows an id that U0 does not have
// (user_namespaces(7)); a file of the container's own "nobody" has the same number.
const overflowID = 65534

// giver makes a tree of files over to an owner (:U). The tree may be a container's
// at the same time: it is walked by descriptors, never through a link, never into
// another mount.
type giver struct {
	uid, gid int
	look     bool // only look whether it can be done
	changed  int
}

// giveTree gives the tree at f, which may be O_PATH and which errors call path, and
// everything below it to uid:gid, ids of U0, and says how many files had another owner. Before anything is
// changed, it sees to it that all of it is the caller's or of the caller's
// subordinate ids.
func giveTree(f *os.File, path string, uid, gid int) (int, error) {
	var g giver
	for _, look := range []bool{true, false} {
		g = giver{uid: uid, gid: gid, look: look}
		if err := g.give(f, path, 0); err != nil {
			return g.changed, err
		}
	}
	return g.changed, nil
}

func (g *giver) give(f *os.File, path string, depth int) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return &os.PathError{Op: "stat", Path: path, Err: err}
	}
	if err := g.one(f, path, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return nil
	}
	if depth == maxGiveDepth {
		return fmt.Errorf("%s: more than %d folders deep", path, depth)
	}
	fd, err := unix.Openat(int(f.Fd()), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	dir := os.NewFile(uintptr(fd), path)
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := g.below(dir, name, filepath.Join(path, name), depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (g *giver) below(dir *os.File, name, path string, depth int) error {
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_XDEV}
	fd, err := unix.Openat2(int(dir.Fd()), name, &how)
	switch {
	case errors.Is(err, unix.ENOENT):
		return nil // removed meanwhile
	case errors.Is(err, unix.EXDEV):
		return fmt.Errorf("%s: another file system is mounted there", path)
	case err != nil:
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	return g.give(f, path, depth)
}

// one changes one file, or looks whether it could.
func (g *giver) one(f *os.File, path string, st *unix.Stat_t) error {
	if int(st.Uid) == g.uid && int(st.Gid) == g.gid && g.uid != overflowID && g.gid != overflowID {
		return nil
	}
	uid, gid := g.uid, g.gid
	if g.look {
		if st.Uid != overflowID && st.Gid != overflowID {
			return nil
		}
		// To whom it belongs already: nothing changes, and it is EPERM where U0 does not
		// have the owner or the group (capable_wrt_inode_uidgid in kernel/capability.c).
		uid, gid = int(st.Uid), int(st.Gid)
	}
	err := unix.Fchownat(int(f.Fd()), "", uid, gid, unix.AT_EMPTY_PATH)
	if errors.Is(err, unix.EPERM) && g.look {
		return fmt.Errorf("%s: its owner or its group is neither yours nor one of your subordinate ids: %w", path, err)
	}
	if err != nil {
		return &os.PathError{Op: "chown", Path: path, Err: err}
	}
	if !g.look {
		g.changed++
	}
	return nil
}

// giveFix says what to do where a tree cannot be given away.
func giveFix(source string, err error) string {
	switch {
	case errors.Is(err, unix.EROFS):
		return "leave out U: the file system is read-only"
	case errors.Is(err, unix.EPERM):
		return "leave out U, or take what is not yours out of " + source
	}
	return "leave out U"
}

// refuseGive keeps the folders that rc itself, or the caller's login, needs.
func (s *shim) refuseGive(source, real string) error {
	for _, kept := range []string{s.cfg.Root, s.cfg.Runtime} {
		if p, err := filepath.EvalSymlinks(kept); err == nil {
			kept = p
		}
		if rel, err := filepath.Rel(real, kept); err == nil && filepath.IsLocal(rel) {
			return hint.Newf("give "+source+" to the container's user", "name a folder below it",
				"%s is in it, which must stay yours", kept)
		}
	}
	return nil
}
