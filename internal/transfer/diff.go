package transfer

import (
	"bufio"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/fuse"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/linux"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/stage/start"
)

// Kinds of change, as docker diff prints them.
const (
	added   = 'A'
	changed = 'C'
	deleted = 'D'
)

// fileChange is one path that a container changed; paths begin with /.
type fileChange struct {
	kind   byte
	path   string
	opaque bool // a folder that hides all of the image's
	below  bool // deleted by such a folder
}

// reading says what an upper folder tells.
type reading int

const (
	difference reading = iota // what is there was changed; what is not is the image's (overlay, fuse-overlayfs)
	hiding                    // below an opaque folder: what is there was changed, what is not is gone
	tree                      // all of it: to be compared with the image (copy)
)

// comparison finds the changes of one container. It reads the driver's folders
// and mounts nothing, so it works whatever the container does meanwhile.
type comparison struct {
	files  bool // .wh. files are the driver's marks
	marks  bool // 0:0 devices and opaque folders are
	owners [2]idTable
	mounts map[string]bool // places that a start makes
	list   []fileChange
}

// runtimeMounts are the places where a start mounts something of its own. Where
// the image lacks one, the start makes it, and that is no change of the payload's.
var runtimeMounts = []string{"/dev", "/etc/hostname", "/etc/hosts", "/etc/resolv.conf", "/proc", "/run/.containerenv", "/sys", "/.dockerenv"}

// changesOf lists what a container changed, sorted by path.
func changesOf(cfg *start.Config) ([]fileChange, error) {
	upper, err := os.OpenFile(cfg.Rootfs.Upper, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer upper.Close()
	image, err := openStack(cfg.Rootfs.Layers)
	if err != nil {
		return nil, hint.New("open the image's layers", err, "the store was changed behind rc's back: pull the image again")
	}
	defer image.close()
	c := &comparison{mounts: map[string]bool{}}
	for _, p := range runtimeMounts {
		c.mounts[p] = true
	}
	how := c.of(cfg)
	if _, err := c.folder("", upper, image, how); err != nil {
		return nil, err
	}
	slices.SortFunc(c.list, func(a, b fileChange) int { return strings.Compare(a.path, b.path) })
	return c.list, nil
}

// of sets the comparison up for the driver that wrote the folder.
func (c *comparison) of(cfg *start.Config) reading {
	switch upperDriver(cfg) {
	case fuse.Copy:
		if len(cfg.Rootfs.UIDMap) > 0 {
			c.owners = [2]idTable{tableOf(cfg.Rootfs.UIDMap), tableOf(cfg.Rootfs.GIDMap)}
		}
		return tree
	case fuse.FuseOverlayfs:
		c.files = true
	}
	c.marks = true
	return difference
}

// upperDriver reads the mark beside the upper folder (fuse.Rootfs); none is
// overlay's.
func upperDriver(cfg *start.Config) fuse.Driver {
	mark, err := os.ReadFile(cfg.Rootfs.Upper + ".driver")
	if err != nil {
		return fuse.Overlay
	}
	word, _, _ := strings.Cut(strings.TrimSpace(string(mark)), " ")
	return fuse.Driver(word)
}

// folder compares a folder that both have. touched: something in it was changed.
func (c *comparison) folder(at string, upper *os.File, image stack, how reading) (touched bool, err error) {
	if err := checkDepth(at); err != nil {
		return false, err
	}
	names, err := readNames(upper)
	if err != nil {
		return false, err
	}
	there := map[string]bool{}
	for _, name := range names {
		there[name] = true
		if target, ok := strings.CutPrefix(name, whiteoutPrefix); c.files && ok {
			if name != opaqueMark {
				there[target] = true
				t, err := c.gone(at+"/"+target, target, image)
				if touched = touched || t; err != nil {
					return false, err
				}
			}
			continue
		}
		t, err := c.entry(at+"/"+name, upper, name, image, how)
		if touched = touched || t; err != nil {
			return false, err
		}
	}
	if how == difference {
		return touched, nil
	}
	left, err := image.names()
	if err != nil {
		return false, err
	}
	for _, name := range left {
		if !there[name] {
			c.list = append(c.list, fileChange{kind: deleted, path: at + "/" + name, below: how == hiding})
			touched = true
		}
	}
	return touched, nil
}

func (c *comparison) add(kind byte, at string) {
	c.list = append(c.list, fileChange{kind: kind, path: at})
}

// gone records a whiteout; one of what the image does not have is none.
func (c *comparison) gone(at, name string, image stack) (bool, error) {
	below, err := image.lookup(name)
	below.sub.close()
	if err != nil || below.in == nil {
		return false, err
	}
	c.add(deleted, at)
	return true, nil
}

// entry compares one name of the upper folder.
func (c *comparison) entry(at string, upper *os.File, name string, image stack, how reading) (touched bool, err error) {
	n, err := openNode(upper, name)
	if err != nil {
		if vanished(err) {
			return false, nil
		}
		return false, bare(at, err)
	}
	defer n.close()
	if c.marks && kernelWhiteout(&n.st) {
		return c.gone(at, name, image)
	}
	below, err := image.lookup(name)
	defer below.sub.close()
	if err != nil {
		return false, bare(at, err)
	}
	if below.in == nil && c.mounts[at] && c.empty(n) {
		return false, nil
	}
	if !n.dir() {
		return c.file(at, n, name, below, how), nil
	}
	return c.dir(at, n, below, how)
}

// empty tells whether a node is what a start makes to mount on.
func (c *comparison) empty(n *node) bool {
	if !n.dir() {
		return n.kind() == unix.S_IFREG && n.st.Size == 0
	}
	dir, err := linux.Reopen(n.f, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return false
	}
	defer dir.Close()
	names, err := readNames(dir)
	return err == nil && len(names) == 0
}

func (c *comparison) file(at string, n *node, name string, below found, how reading) bool {
	switch {
	case below.in == nil:
		c.add(added, at)
	case how == tree && c.equal(&n.st, &below.st) && sameLink(n, below, name):
		return false
	default:
		c.add(changed, at)
	}
	return true
}

func (c *comparison) dir(at string, n *node, below found, how reading) (bool, error) {
	dir, err := linux.Reopen(n.f, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return false, bare(at, err)
	}
	defer dir.Close()
	kind := byte(changed)
	if below.in == nil {
		kind = added
	}
	hides := c.marks && how == difference && len(below.sub) > 0 && opaque(dir)
	if hides {
		how = hiding
	}
	touched, err := c.folder(at, dir, below.sub, how)
	if err != nil {
		return false, err
	}
	own := kind == added || !isDir(&below.st) || hides || !c.sameFolder(at, &n.st, &below.st)
	if kind == added && !touched && c.onTheWay(at) && c.onlyMounts(at, dir) {
		return false, nil
	}
	if own || touched {
		c.list = append(c.list, fileChange{kind: kind, path: at, opaque: hides})
	}
	return own || touched, nil
}

// sameFolder leaves the time out where a start makes places to mount on, which
// changes it.
func (c *comparison) sameFolder(at string, a, b *unix.Stat_t) bool {
	x := *b
	if c.onTheWay(at) {
		x.Mtim = a.Mtim
	}
	x.Size = a.Size // of a folder: the file system's own affair
	return c.equal(a, &x)
}

// onTheWay tells whether a start may have made something in the folder at.
func (c *comparison) onTheWay(at string) bool {
	for p := range c.mounts {
		if path.Dir(p) == at {
			return true
		}
	}
	return false
}

// onlyMounts tells whether a folder that the image lacks has only such places.
func (c *comparison) onlyMounts(at string, dir *os.File) bool {
	names, err := readNames(dir)
	return err == nil && len(names) > 0 && !slices.ContainsFunc(names, func(n string) bool { return !c.mounts[at+"/"+n] })
}

// equal compares what a copy keeps of a file.
func (c *comparison) equal(a, image *unix.Stat_t) bool {
	uid, okU := c.owners[0].outside(int(image.Uid))
	gid, okG := c.owners[1].outside(int(image.Gid))
	return a.Mode == image.Mode && a.Size == image.Size && a.Rdev == image.Rdev && a.Mtim == image.Mtim &&
		okU && okG && int(a.Uid) == uid && int(a.Gid) == gid
}

func sameLink(n *node, below found, name string) bool {
	if n.kind() != unix.S_IFLNK {
		return true
	}
	a, b := make([]byte, unix.PathMax), make([]byte, unix.PathMax)
	i, err := unix.Readlinkat(int(n.f.Fd()), "", a)
	j, err2 := unix.Readlinkat(int(below.in.Fd()), name, b)
	return err == nil && err2 == nil && string(a[:i]) == string(b[:j])
}

// upperOf checks that a container has an upper folder of its own.
func upperOf(store *record.Store, p start.FilesPlace, verb string) (*start.Config, error) {
	cfg, err := loadConfig(store, p.ID)
	if err != nil {
		return nil, hint.New(verb+" "+p.Typed, hint.Cause(err), "it was made by an older rc: make it anew").WithCode(exitFailed)
	}
	if cfg.RootfsDir != "" {
		return nil, hint.Newf(verb+" "+p.Typed, "use an image, or rc export", "its root is the folder %q itself (--rootfs), and there is no image to compare with", cfg.RootfsDir).WithCode(exitFailed)
	}
	cfg.Rootfs.Upper = filepath.Join(store.ContainerDir(p.ID), "upper")
	return cfg, nil
}

// Diff is `rc diff`. On a terminal no name can steer it; to a pipe they go as
// they are.
func (f *Files) Diff(terminal bool) error {
	cfg, err := upperOf(f.Store, f.Config.From, "diff")
	if err != nil {
		return err
	}
	list, err := changesOf(cfg)
	if err != nil {
		return hint.New("diff "+f.Config.From.Typed, hint.Cause(err), "").WithCode(exitFailed)
	}
	out := bufio.NewWriter(f.Out)
	for _, c := range list {
		name := c.path
		if terminal {
			name = strings.Map(printable, name)
		}
		fmt.Fprintf(out, "%c %s\n", c.kind, name)
	}
	if err := out.Flush(); err != nil {
		return hint.New("diff "+f.Config.From.Typed, hint.Cause(err), "").WithCode(exitFailed)
	}
	return nil
}

// printable puts ? for what steers a terminal, as ls(1) does.
func printable(r rune) rune {
	if r < ' ' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
		return '?'
	}
	return r
}
