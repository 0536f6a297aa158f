package shim

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/linux"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/stage/start"
	"github.com/rc-containers/rc/userns"
)

// The host's cgroup tree is no container's to see: the subtree that was delegated
// to the user belongs to its root, who is the user to the kernel, and through a
// bind mount of /sys it froze and killed its siblings and raised its own limits
// (tried). A read-only mount or a cover made for the container can be undone by
// one that has CAP_SYS_ADMIN. Covers that a mount namespace was born with cannot,
// when it belongs to another user namespace than the one it was copied from
// (mount_namespaces(7), "locked"). So a helper that is born so clones the tree:
//
//	shim                         rc-cover (user namespace below U0, mount namespace of its own)
//	covers the cgroup mounts
//	starts the helper     ───►   has them covered, locked
//	                      ◄───   a clone of the tree that is bound
//	takes the covers off

// withoutCgroups gives tree, or a clone of the same place in which the host's
// cgroup mounts are covered for good. real is where tree was cloned from.
func (s *shim) withoutCgroups(tree *os.File, real string, mount *specs.Mount) (*os.File, error) {
	if real == "" || plain(tree, mount) {
		return tree, nil
	}
	if s.cgroups == nil {
		s.cgroups = cgroupMounts()
	}
	var below []string
	for _, at := range s.cgroups {
		switch {
		case real == at || strings.HasPrefix(real, at+"/"):
			_ = tree.Close()
			return nil, hint.Newf("mount "+mount.Source, "leave it out: a container has its own cgroup on /sys/fs/cgroup, to write to with --security-opt writable-cgroups",
				"the host's cgroups are not shown to a container, which could raise its limits and kill its neighbours there")
		case real == "/" || strings.HasPrefix(at, real+"/"):
			below = append(below, at)
		}
	}
	if len(below) == 0 || !slices.Contains(mount.Options, "rbind") {
		return tree, nil
	}
	if !slices.Contains(s.cfg.Spec.Process.Capabilities.Bounding, "CAP_SYS_ADMIN") {
		// It cannot undo a mount: a cover among the others will do, and its own cgroup is one.
		for _, at := range below {
			if s.ownCgroup(filepath.Join(mount.Destination, strings.TrimPrefix(at, real))) {
				continue
			}
			s.cfg.Spec.Linux.MaskedPaths = append(s.cfg.Spec.Linux.MaskedPaths, filepath.Join(mount.Destination, strings.TrimPrefix(at, real)))
		}
		return tree, nil
	}
	_ = tree.Close()
	tree, err := coveredClone(real, below)
	if err != nil {
		return nil, hint.New("mount "+mount.Source+" without the host's cgroups", hint.Errno(err), "")
	}
	return tree, nil
}

// plain tells whether a tree shows no cgroup for a simple reason: it is one file, or
// a folder without what is mounted below it, of a file system that is another. (An
// overlay could be one of theirs.) To find out for sure costs as much as the mount.
func plain(tree *os.File, mount *specs.Mount) bool {
	var st unix.Stat_t
	var fs unix.Statfs_t
	if unix.Fstat(int(tree.Fd()), &st) != nil || unix.Fstatfs(int(tree.Fd()), &fs) != nil {
		return false
	}
	switch fs.Type {
	case unix.CGROUP_SUPER_MAGIC, unix.CGROUP2_SUPER_MAGIC, unix.OVERLAYFS_SUPER_MAGIC:
		return false
	}
	return st.Mode&unix.S_IFMT != unix.S_IFDIR || !slices.Contains(mount.Options, "rbind")
}

// cgroupMounts lists where cgroup file systems are visible (proc_pid_mountinfo(5)).
func cgroupMounts() []string {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	var at []string
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); len(f) > 4 && (strings.Contains(line, " - cgroup ") || strings.Contains(line, " - cgroup2 ")) {
			at = append(at, unescape(f[4]))
		}
	}
	return slices.DeleteFunc(at, func(path string) bool {
		var st unix.Statfs_t // another mount may lie over it
		err := unix.Statfs(path, &st)
		return err != nil || st.Type != unix.CGROUP_SUPER_MAGIC && st.Type != unix.CGROUP2_SUPER_MAGIC
	})
}

// unescape undoes mountinfo's octal: \040 for a space.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	text, err := strconv.Unquote(`"` + strings.ReplaceAll(s, `"`, `\"`) + `"`)
	if err != nil {
		return s
	}
	return text
}

// coveredClone covers these mounts for as long as the helper takes. Nothing else
// of the shim runs yet, and its mount namespace is its own.
func coveredClone(real string, covers []string) (*os.File, error) {
	for _, at := range covers {
		if err := unix.Mount("tmpfs", at, "tmpfs", unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "size=0,nr_inodes=1,mode=0555"); err != nil {
			return nil, err
		}
		defer func() { _ = unix.Unmount(at, unix.MNT_DETACH) }()
	}
	ours, theirs, err := stage.Pair()
	if err != nil {
		return nil, err
	}
	defer ours.Close()
	defer theirs.Close()
	config, err := stage.Seal("rc-cover", &start.CoverConfig{Path: real})
	if err != nil {
		return nil, err
	}
	defer config.Close()
	if err := ours.Send(&start.Message{Kind: start.KindConfig, Files: []string{"config"}}, config); err != nil {
		return nil, err
	}
	proc, err := startCover(theirs)
	if err != nil {
		return nil, err
	}
	_ = theirs.Close()
	return mountFrom("", proc, ours)
}

func startCover(conv *stage.Conn) (*userns.Process, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	u0, err := userns.ReadMapping(0)
	if err != nil {
		return nil, err
	}
	plan := userns.Plan{Clone: unix.CLONE_NEWUSER | unix.CLONE_NEWNS, BecomeRoot: true, NonDumpable: true}
	plan.UIDMap, plan.GIDMap = u0.Nested()
	plan.DenySetgroups = len(plan.UIDMap) == 1 && plan.UIDMap[0].Size == 1
	return userns.Start(&userns.Program{Path: exe, Args: []string{"rc-cover"}, Conn: conv.File(), Setsid: true, Plan: plan})
}

// Cover runs as rc-cover: it clones one tree of the mount namespace that it was
// born with. The path was resolved before and holds no link.
func Cover(conv *stage.Conn) int {
	var c start.CoverConfig
	err := sealedConfig(conv, &c)
	var tree *os.File
	if err == nil {
		tree, err = cloneAt(c.Path)
	}
	if err != nil {
		_ = conv.Send(&start.Message{Kind: start.KindFailed, Fail: start.Fail(err)})
		return 1
	}
	defer tree.Close()
	_ = conv.Send(&start.Message{Kind: start.KindReady, Files: []string{"tree"}}, tree)
	return 0
}

func cloneAt(path string) (*os.File, error) {
	root, err := os.OpenFile("/", unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	rel := strings.TrimPrefix(filepath.Clean(path), "/")
	if rel == "" {
		rel = "."
	}
	at, err := linux.OpenBeneath(int(root.Fd()), rel, unix.O_PATH, 0)
	if err != nil {
		return nil, err
	}
	defer at.Close()
	return linux.CloneTree(at)
}
