package boot

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/linux"
	"github.com/rc-containers/rc/internal/trace"
)

// mountAll makes the mounts of the runtime-spec in their order.
func (b *box) mountAll() error {
	defer trace.Begin("mounts").End()
	copyUp := map[int]bool{}
	for _, i := range b.cfg.Inside.CopyUp {
		copyUp[i] = true
	}
	for i := range b.cfg.Spec.Mounts {
		m := &b.cfg.Spec.Mounts[i]
		var err error
		if m.Type == "bind" {
			err = b.mountBind(i, m, copyUp[i])
		} else {
			err = b.mountNew(m)
		}
		if err != nil {
			return err
		}
		if m.Destination == "/dev" && m.Type == "tmpfs" {
			if err := b.populateDev(); err != nil {
				return err
			}
		}
	}
	return nil
}

// options are the parsed mount options of the runtime-spec (config.md, "Mounts").
type options struct {
	set, clear  uint64 // MOUNT_ATTR_*
	propagation uint64 // MS_PRIVATE, …; 0: private
	recursive   bool   // rbind
	shallow     bool   // "ro" without "rro": submounts stay as they are
	data        [][2]string
}

var attributes = map[string]struct{ set, clear uint64 }{
	"ro":          {unix.MOUNT_ATTR_RDONLY, 0},
	"rro":         {unix.MOUNT_ATTR_RDONLY, 0},
	"rw":          {0, unix.MOUNT_ATTR_RDONLY},
	"nosuid":      {unix.MOUNT_ATTR_NOSUID, 0},
	"suid":        {0, unix.MOUNT_ATTR_NOSUID},
	"nodev":       {unix.MOUNT_ATTR_NODEV, 0},
	"dev":         {0, unix.MOUNT_ATTR_NODEV},
	"noexec":      {unix.MOUNT_ATTR_NOEXEC, 0},
	"exec":        {0, unix.MOUNT_ATTR_NOEXEC},
	"noatime":     {unix.MOUNT_ATTR_NOATIME, unix.MOUNT_ATTR__ATIME},
	"strictatime": {unix.MOUNT_ATTR_STRICTATIME, unix.MOUNT_ATTR__ATIME},
	"relatime":    {unix.MOUNT_ATTR_RELATIME, unix.MOUNT_ATTR__ATIME},
	"nodiratime":  {unix.MOUNT_ATTR_NODIRATIME, 0},
	"nosymfollow": {unix.MOUNT_ATTR_NOSYMFOLLOW, 0},
}

var propagations = map[string]uint64{
	"private": unix.MS_PRIVATE, "rprivate": unix.MS_PRIVATE,
	"slave": unix.MS_SLAVE, "rslave": unix.MS_SLAVE,
	"shared": unix.MS_SHARED, "rshared": unix.MS_SHARED,
	"unbindable": unix.MS_UNBINDABLE, "runbindable": unix.MS_UNBINDABLE,
}

func parseOptions(list []string) (o options) {
	o = options{propagation: unix.MS_PRIVATE}
	defer func() {
		o.shallow = o.set&unix.MOUNT_ATTR_RDONLY != 0 && !slices.Contains(list, "rro")
	}()
	for _, opt := range list {
		if a, ok := attributes[opt]; ok {
			o.set, o.clear = o.set&^a.clear|a.set, o.clear&^a.set|a.clear
			continue
		}
		if p, ok := propagations[opt]; ok {
			o.propagation = p
			continue
		}
		switch opt {
		case "bind":
		case "rbind":
			o.recursive = true
		case "defaults", "async", "tmpcopyup":
		default:
			key, value, _ := strings.Cut(opt, "=")
			o.data = append(o.data, [2]string{key, value})
		}
	}
	return o
}

// mountNew mounts a new file system: proc, sysfs, tmpfs, devpts, mqueue, cgroup2.
func (b *box) mountNew(m *specs.Mount) error {
	defer trace.Begin(m.Destination).End()
	op := fmt.Sprintf("mount %s on %s", m.Type, m.Destination)
	kind := m.Type
	if kind == "cgroup" {
		kind = "cgroup2"
	}
	o := parseOptions(m.Options)
	fill := slices.Contains(m.Options, "tmpcopyup") && b.has(m.Destination)
	target, err := b.mountPoint(m.Destination, true)
	if err != nil {
		return err
	}
	defer target.Close()
	// No clear here: a new mount starts without attributes.
	f, err := linux.NewMount(kind, o.data, int(o.set))
	if err != nil {
		return hint.New(op, err, newMountFix(kind, err))
	}
	defer f.Close()
	if fill {
		if err := copyUp(target, f); err != nil {
			return hint.New("copy what the image has in "+m.Destination, err, "mount something larger there: --tmpfs "+m.Destination+":size=SIZE")
		}
	}
	if err := linux.MoveMount(f, target); err != nil {
		return hint.New(op, hint.Errno(err), "")
	}
	return nil
}

func newMountFix(kind string, err error) string {
	switch {
	case !errors.Is(err, unix.EPERM):
		return ""
	case kind == "proc" || kind == "sysfs":
		// mount_too_revealing() in fs/namespace.c: a new instance must not show
		// what the host has covered.
		return "something is mounted over a part of the host's /" + strings.TrimSuffix(kind, "fs") + ", as in a container: use --pid=host, or run the outer container with its masks off (--security-opt unmask=ALL, systempaths=unconfined)"
	default:
		return "the kernel does not let a user namespace mount " + kind
	}
}

// mountBind attaches a detached tree that the shim opened in the caller's view.
func (b *box) mountBind(i int, m *specs.Mount, fresh bool) error {
	defer trace.Begin(m.Destination).End()
	op := fmt.Sprintf("mount %s on %s", m.Source, m.Destination)
	tree := b.files["mount-"+strconv.Itoa(i)]
	if tree == nil {
		return hint.Newf(op, "", "no descriptor came with it")
	}
	defer tree.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(tree.Fd()), &st); err != nil {
		return hint.New(op, err, "")
	}
	// What is made for the mount is not the image's: a new volume keeps its own owner,
	// who is the caller with --userns=keep-id.
	fresh = fresh && b.has(m.Destination)
	target, err := b.mountPoint(m.Destination, st.Mode&unix.S_IFMT == unix.S_IFDIR)
	if err != nil {
		return err
	}
	defer target.Close()
	if err := keepProc(target, tree, m.Destination); err != nil {
		return hint.New(op, err, "mount it elsewhere, or see what the image has at that path")
	}
	if fresh {
		if err := copyUp(target, tree); err != nil {
			return hint.New(fmt.Sprintf("copy the image's %s into the new volume", m.Destination), err, "")
		}
	}
	o := parseOptions(m.Options)
	if err := linux.SetPropagation(tree, o.propagation, true); err != nil {
		return hint.New(op, hint.Errno(err), "")
	}
	if err := setAttributes(tree, o); err != nil {
		return hint.New(op, hint.Errno(err), "")
	}
	if err := linux.MoveMount(tree, target); err != nil {
		return hint.New(op, hint.Errno(err), "")
	}
	return nil
}

// has tells whether the root file system has something at dest.
func (b *box) has(dest string) bool {
	f, err := linux.OpenInRoot(int(b.root.Fd()), dest, unix.O_PATH, 0)
	if err == nil {
		_ = f.Close()
	}
	return err == nil
}

// keepProc refuses what would cover a part of the container's own /proc by
// another name: an image can lead a volume there by a symbolic link, and the rest
// of the start reads and writes below it. (What the user may put on /proc/NAME
// itself, package spec has checked.)
func keepProc(target, tree *os.File, dest string) error {
	var there, source unix.Statfs_t
	if err := unix.Fstatfs(int(target.Fd()), &there); err != nil {
		return err
	}
	if there.Type != unix.PROC_SUPER_MAGIC || strings.HasPrefix(path.Clean(dest), "/proc/") {
		return nil
	}
	if err := unix.Fstatfs(int(tree.Fd()), &source); err != nil || source.Type == unix.PROC_SUPER_MAGIC {
		return err
	}
	return errors.New("in the image it leads into /proc")
}

// setAttributes reaches everything below, unlike a remount, which would leave
// submounts writable; only "ro" without "rro" is about this mount alone.
func setAttributes(tree *os.File, o options) error {
	deep := o.set
	if o.shallow {
		deep &^= unix.MOUNT_ATTR_RDONLY
		if err := linux.SetMountAttr(tree, unix.MOUNT_ATTR_RDONLY, 0, false); err != nil {
			return err
		}
	}
	if deep == 0 {
		return nil
	}
	return linux.SetMountAttr(tree, deep, 0, true)
}

// mountPoint opens the place of a mount inside the root and makes it where it is
// missing. /proc, /sys and /dev themselves must be real folders: with a link
// there, later writes to /proc/self/attr or /proc/sys would go where the image
// wants (CVE-2019-16884, CVE-2019-19921).
func (b *box) mountPoint(dest string, dir bool) (*os.File, error) {
	root := int(b.root.Fd())
	dest = path.Clean("/" + dest) // so that no other spelling gets past the checks
	op := "make the mount point " + dest
	if dest == "/proc" || dest == "/sys" || dest == "/dev" {
		var st unix.Stat_t
		err := unix.Fstatat(root, dest[1:], &st, unix.AT_SYMLINK_NOFOLLOW)
		if err == nil && st.Mode&unix.S_IFMT != unix.S_IFDIR {
			return nil, hint.Newf(op, "the image is broken or hostile; fix its layer", "%s in the image is not a folder (mode %o)", dest, st.Mode&unix.S_IFMT)
		}
	}
	if dest == "/" {
		return nil, hint.Newf(op, "mount it on a folder below /", "the root itself cannot be covered")
	}
	if dir {
		f, err := linux.MkdirAllInRoot(root, dest, 0o755, -1, -1)
		if err != nil {
			return nil, hint.New(op, hint.Errno(err), placeFix(err))
		}
		return f, nil
	}
	f, err := linux.OpenInRoot(root, dest, unix.O_PATH, 0)
	if errors.Is(err, unix.ENOENT) {
		f, err = b.makeFile(dest)
	}
	if err != nil {
		return nil, hint.New(op, hint.Errno(err), placeFix(err))
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil || st.Mode&unix.S_IFMT == unix.S_IFDIR {
		_ = f.Close()
		return nil, hint.New(op, errors.Join(unix.EISDIR, err), "the image has a folder there, and what you mount is a file: name the file's path")
	}
	return f, nil
}

func (b *box) makeFile(dest string) (*os.File, error) {
	parent, err := linux.MkdirAllInRoot(int(b.root.Fd()), path.Dir(dest), 0o755, -1, -1)
	if err != nil {
		return nil, err
	}
	_ = parent.Close()
	f, err := linux.OpenInRoot(int(b.root.Fd()), dest, unix.O_WRONLY|unix.O_CREAT|unix.O_NONBLOCK, 0o644)
	if err != nil {
		return nil, err
	}
	_ = f.Close()
	return linux.OpenInRoot(int(b.root.Fd()), dest, unix.O_PATH, 0)
}

func placeFix(err error) string {
	switch {
	case errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP):
		return "a part of that path in the image is a file or an endless link: mount it elsewhere"
	case errors.Is(err, unix.EROFS):
		return "that path is inside a read-only mount: make it there first"
	case errors.Is(err, unix.EACCES):
		return "the folder that holds it must be writable by you"
	}
	return ""
}
