package transfer

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/fuse"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/linux"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/stage/start"
)

// root is the root folder of a container, opened from outside. A path below it is
// resolved with it as the root (openat2, RESOLVE_IN_ROOT).
type root struct {
	f        *os.File // O_PATH
	uid, gid idTable
	stay     bool // mounts below could not be left out: whoever walks it must stay in one file system
	keep     []*os.File
	helper   *fuse.Helper // serves the mount, as long as there is one
}

func (r *root) close() {
	for _, f := range append(r.keep, r.f) {
		if f != nil {
			_ = f.Close()
		}
	}
	if r.helper == nil {
		return
	}
	ended := make(chan struct{})
	go func() { _ = r.helper.Wait(); close(ended) }()
	select { // whoever lists processes after us shall not see it
	case <-ended:
	case <-time.After(time.Second):
	}
}

// open resolves a path in the container.
func (r *root) open(path string, flags int) (*os.File, error) {
	return linux.OpenInRoot(int(r.f.Fd()), path, flags, 0)
}

// view says what of a container's mounts is wanted.
type view int

const (
	withMounts view = iota // as the payload sees it
	alone                  // the root file system only
)

// loadConfig reads what the container was made with.
func loadConfig(store *record.Store, id string) (*start.Config, error) {
	data, err := os.ReadFile(filepath.Join(store.ContainerDir(id), "config.json"))
	if err != nil {
		return nil, err
	}
	return start.Stored(data, store.Root)
}

// openRoot opens the root of p. Of a container at rest it mounts the root file
// system, and places its bind mounts and volumes as a start would; all of that
// goes with this process.
func openRoot(store *record.Store, p start.FilesPlace, v view) (*root, error) {
	cfg, err := loadConfig(store, p.ID)
	if err != nil {
		return nil, hint.New("read the container's configuration", err, "it was made by an older rc: make it anew")
	}
	r := &root{uid: tableOf(cfg.UIDMap), gid: tableOf(cfg.GIDMap)}
	if p.Root != 0 {
		r.f = os.NewFile(uintptr(p.Root), "/")
		if v == alone {
			r.uncover(p)
		}
		return r, nil
	}
	m, err := mountOf(cfg)
	if err != nil {
		return nil, err
	}
	r.helper = m.Helper
	if v == alone {
		r.f = m.FD
		return r, linux.SetMountAttr(m.FD, unix.MOUNT_ATTR_RDONLY, 0, true)
	}
	if err := r.furnish(store, cfg, m); err != nil {
		_ = m.Close()
		return nil, err
	}
	return r, nil
}

func tableOf[M ~struct{ Inside, Outside, Size uint32 }](maps []M) idTable {
	t := make(idTable, 0, len(maps))
	for _, m := range maps {
		t = append(t, struct{ Inside, Outside, Size uint32 }(m))
	}
	return t
}

func mountOf(cfg *start.Config) (*fuse.Mounted, error) {
	if cfg.RootfsDir != "" {
		return fuse.Open(cfg.RootfsDir)
	}
	return fuse.Mount(cfg.Driver, cfg.Rootfs)
}

// uncover gets the root file system of a running container without what is
// mounted on it: a clone that leaves the mounts below out. It can be made only in
// the mount namespace that has the mount. Where the kernel refuses (locked
// mounts), the walk has to leave them out one by one.
func (r *root) uncover(p start.FilesPlace) {
	r.stay = true
	if p.Mnt == 0 {
		return
	}
	clone, err := inMountNamespace(p.Mnt, func() (*os.File, error) {
		return linux.OpenTree(int(r.f.Fd()), "", unix.OPEN_TREE_CLONE|unix.AT_EMPTY_PATH)
	})
	if err != nil {
		return
	}
	r.keep = append(r.keep, r.f)
	r.f, r.stay = clone, false
}

// inMountNamespace runs do on a thread of its own in the namespace ns; 0 is a new
// one, a copy of ours. The thread ends with it.
func inMountNamespace(ns int, do func() (*os.File, error)) (*os.File, error) {
	type result struct {
		f   *os.File
		err error
	}
	c := make(chan result, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the runtime ends the thread
		err := unix.Unshare(unix.CLONE_FS)
		if err == nil && ns != 0 {
			err = unix.Setns(ns, unix.CLONE_NEWNS)
		} else if err == nil {
			err = unix.Unshare(unix.CLONE_NEWNS)
		}
		if err != nil {
			c <- result{nil, fmt.Errorf("enter a mount namespace: %w", err)}
			return
		}
		f, err := do()
		c <- result{f, err}
	}()
	r := <-c
	return r.f, r.err
}

// furnish attaches the root file system somewhere and the container's bind mounts
// and volumes to it, in a mount namespace that is only a descriptor: a helper of
// the root file system is a member of the one that we stand in, and the two would
// keep each other alive (fuse.Mounted).
func (r *root) furnish(store *record.Store, cfg *start.Config, m *fuse.Mounted) error {
	// Any folder will do that is not used meanwhile by this process.
	at, err := os.MkdirTemp(cfg.Dir, ".files-")
	if err != nil {
		return hint.New("mount the container's files", err, "make room on the store's disk")
	}
	defer os.Remove(at)
	var ns *os.File
	r.f, err = inMountNamespace(0, func() (*os.File, error) {
		var err error
		if ns, err = os.Open("/proc/thread-self/ns/mnt"); err != nil {
			return nil, err
		}
		place, err := os.OpenFile(at, unix.O_PATH|unix.O_DIRECTORY, 0)
		if err != nil {
			return nil, err
		}
		defer place.Close()
		if err := linux.MoveMount(m.FD, place); err != nil {
			return nil, err
		}
		top, err := linux.OpenInRoot(int(m.FD.Fd()), "/", unix.O_PATH|unix.O_DIRECTORY, 0)
		if err != nil {
			return nil, err
		}
		for i := range cfg.Spec.Mounts {
			if err := bind(store, cfg, i, top); err != nil {
				_ = top.Close()
				return nil, err
			}
		}
		if cfg.Spec.Root != nil && cfg.Spec.Root.Readonly {
			err = linux.SetMountAttr(m.FD, unix.MOUNT_ATTR_RDONLY, 0, false)
		}
		return top, err
	})
	r.keep = append(r.keep, ns, m.FD)
	if err != nil {
		return hint.New("mount the container's files", err, "")
	}
	return nil
}

// bind places one bind mount as a start does (internal/boot). What a start would
// refuse (a source that is gone) is left out: the files around it can be had.
func bind(store *record.Store, cfg *start.Config, i int, top *os.File) error {
	m := &cfg.Spec.Mounts[i]
	if m.Type != "bind" || i == cfg.ShmMount || slices.Contains(cfg.Binds.Overlay, i) {
		return nil
	}
	tree, err := openSourceTree(store, m)
	if err != nil {
		return nil //nolint:nilerr // see above
	}
	defer tree.Close()
	if slices.Contains(m.Options, "ro") || slices.Contains(m.Options, "rro") {
		if err := linux.SetMountAttr(tree, unix.MOUNT_ATTR_RDONLY, 0, slices.Contains(m.Options, "rro")); err != nil {
			return err
		}
	}
	if err := linux.SetPropagation(tree, unix.MS_PRIVATE, true); err != nil {
		return err
	}
	target, err := bindTarget(top, m.Destination, tree)
	if err != nil {
		return nil //nolint:nilerr // as above: the image has something else there
	}
	defer target.Close()
	return linux.MoveMount(tree, target)
}

// bindTarget opens the place of a mount. One that does not exist is made only for
// a folder: a start will make the others.
func bindTarget(top *os.File, dest string, tree *os.File) (*os.File, error) {
	n, err := nodeStat(tree)
	if err != nil {
		return nil, err
	}
	if isDir(n) {
		return linux.MkdirAllInRoot(int(top.Fd()), dest, 0o755, -1, -1)
	}
	f, err := linux.OpenInRoot(int(top.Fd()), dest, unix.O_PATH, 0)
	if err != nil {
		return nil, err
	}
	if st, err := nodeStat(f); err != nil || isDir(st) {
		_ = f.Close()
		return nil, errors.Join(unix.EISDIR, err)
	}
	return f, nil
}

func nodeStat(f *os.File) (*unix.Stat_t, error) {
	st := new(unix.Stat_t)
	return st, unix.Fstat(int(f.Fd()), st)
}

// openSourceTree clones the source of a bind mount in the caller's view. Below a
// volume's folder the path is a container's, and stays in it.
func openSourceTree(store *record.Store, m *specs.Mount) (*os.File, error) {
	at, err := openBindSource(store, m.Source)
	if err != nil {
		return nil, err
	}
	defer at.Close()
	flags := uint(unix.OPEN_TREE_CLONE | unix.AT_EMPTY_PATH)
	if slices.Contains(m.Options, "rbind") {
		flags |= unix.AT_RECURSIVE
	}
	return linux.OpenTree(int(at.Fd()), "", flags)
}

func openBindSource(store *record.Store, source string) (*os.File, error) {
	rel, inside := strings.CutPrefix(source, store.Path("volumes")+"/")
	parts := strings.SplitN(rel, "/", 3) // NAME/_data/SUBPATH
	if !inside || len(parts) < 3 {
		return os.OpenFile(source, unix.O_PATH, 0)
	}
	data, err := os.OpenFile(store.Path("volumes", parts[0], parts[1]), unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	defer data.Close()
	return linux.OpenInRoot(int(data.Fd()), parts[2], unix.O_PATH, 0)
}
