package fuse

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/linux"
)

// mountOverlay mounts by the kernel's overlay. `userxattr` is needed in a user
// namespace (Linux 5.11; without it removing a lower folder is EIO) and rules
// out metacopy and redirect_dir. `index=off` is said aloud because a kernel
// built with CONFIG_OVERLAY_FS_INDEX would refuse an upper folder that was
// restored from a backup (ESTALE: the index stores file handles). xino stays
// the kernel's: all layers are on one file system, where inode numbers are
// stable without it (Documentation/filesystems/overlayfs.rst, "Inode
// properties"), and its high bits break 32-bit programs.
func mountOverlay(f *folders, r Rootfs) (*os.File, error) {
	const op = "mount by the kernel's overlay"
	if len(r.UIDMap)+len(r.GIDMap) > 0 {
		return nil, hint.Newf(op, "use fuse-overlayfs or copy",
			"the kernel lets no user map the ids of a folder on disk (mount_setattr(2), MOUNT_ATTR_IDMAP)")
	}
	if r.TarWhiteouts {
		return nil, hint.Newf(op, "use fuse-overlayfs or copy", "the layers hide files by .wh. names, which the kernel does not know")
	}
	// With no user.* attributes overlay still mounts, but cannot mark a folder
	// opaque: `rm -r d && mkdir d` then fails with EIO deep inside the container.
	var b [8]byte
	if _, err := unix.Getxattr(fdPath(f.upper), "user.overlay.opaque", b[:]); err == unix.EOPNOTSUPP {
		return nil, hint.New(op, fmt.Errorf("the store's file system has no user.* attributes: %w", err),
			"put the store on ext4, xfs or btrfs with --root, or use fuse-overlayfs or copy")
	}
	if r.Volatile {
		forgiveVolatile(f.work)
	}
	tree, err := (*os.File)(nil), error(unix.EINVAL)
	modern := !linux.Without(linux.FsopenOverlay) && !linux.Without(linux.LowerdirAppend)
	if modern {
		tree, err = overlayByContext(f, r.Volatile)
	}
	// EINVAL: `lowerdir+` is unknown before Linux 6.7 (said at once, or at
	// creation by the legacy context before 6.5). ENOSYS: a seccomp filter.
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		var old error
		tree, old = overlayByMount(f, r.Volatile)
		// Where both say EINVAL, the context's error has the kernel's words.
		if old == nil || !modern || !errors.Is(old, unix.EINVAL) {
			err = old
		}
	}
	if err != nil {
		return nil, hint.New(op, err, overlayFix(err, f.work, r.Volatile))
	}
	return tree, nil
}

// overlayByContext is the way of Linux 6.7: each layer by an fsconfig(2) of its
// own, so that their number is bounded by the kernel only (500).
func overlayByContext(f *folders, volatile bool) (*os.File, error) {
	ctx, err := linux.Fsopen("overlay")
	if err != nil {
		return nil, err
	}
	defer ctx.Close()
	set := func(key, value string) {
		if err == nil {
			err = ctx.Set(key, value)
		}
	}
	set("source", "overlay")
	if err == nil {
		err = ctx.SetFlag("userxattr")
	}
	if err == nil && volatile {
		err = ctx.SetFlag("volatile")
	}
	set("index", "off")
	set("upperdir", fdPath(f.upper))
	set("workdir", fdPath(f.work))
	for _, l := range f.layers {
		set("lowerdir+", fdPath(l))
	}
	if err != nil {
		return nil, err
	}
	return ctx.Mount(0)
}

// overlayByMount is the way of Linux 5.14, by mount(2): fsconfig(2) takes at
// most 255 bytes a value, and before 6.7 all layers are one value. mount(2)
// takes a page. It needs a place: the upper folder itself, in this process's
// own mount namespace, for as long as it takes to clone and detach it.
func overlayByMount(f *folders, volatile bool) (*os.File, error) {
	var opts strings.Builder
	opts.WriteString("userxattr,index=off")
	if volatile {
		opts.WriteString(",volatile")
	}
	opts.WriteString(",upperdir=" + fdPath(f.upper) + ",workdir=" + fdPath(f.work) + ",lowerdir=")
	for i, l := range f.layers {
		if i > 0 {
			opts.WriteByte(':')
		}
		opts.WriteString(fdPath(l))
	}
	// copy_mount_options() cuts at PAGE_SIZE in silence.
	if opts.Len() >= os.Getpagesize()-1 {
		return nil, fmt.Errorf("%d layers: %w (more need Linux 6.7)", len(f.layers), unix.E2BIG)
	}
	// By name below its parent: /proc/self/fd/<upper> would go on naming the
	// folder under the mount.
	at := fdPath(f.parent) + "/" + f.base
	if err := unix.Mount("overlay", at, "overlay", 0, opts.String()); err != nil {
		return nil, err
	}
	tree, err := linux.OpenTree(f.parent, f.base, unix.OPEN_TREE_CLONE|unix.AT_SYMLINK_NOFOLLOW)
	if uerr := unix.Unmount(at, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); uerr != nil && err == nil {
		tree.Close()
		return nil, fmt.Errorf("detach: %w", uerr)
	}
	return tree, err
}

// forgiveVolatile removes the mark by which overlay refuses an upper folder
// that an earlier volatile mount may have left unsynced. Who asks for volatile
// again has said that losing the folder is no loss.
func forgiveVolatile(work int) {
	inner, err := unix.Openat(work, "work", unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(inner)
	_ = RemoveAll(inner, "incompat")
}

func overlayFix(err error, work int, volatile bool) string {
	var st unix.Stat_t
	switch {
	case !volatile && unix.Fstatat(work, "work/incompat/volatile", &st, 0) == nil:
		return "it was started with --rm, so its files may be incomplete after a crash: make a new container"
	case errors.Is(err, unix.EPERM):
		return "overlay mounts by a user need Linux 5.11 and CAP_SYS_ADMIN in the user namespace: use fuse-overlayfs or copy"
	case errors.Is(err, unix.ENODEV):
		return "ask the administrator to run: modprobe overlay"
	case errors.Is(err, unix.EINVAL):
		return "the store's file system cannot hold an overlay (NFS, FUSE, another overlay): choose one that can with --root, or use fuse-overlayfs or copy"
	}
	return writeFix(err)
}
