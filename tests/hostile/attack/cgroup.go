package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// controls are the files by which a group is bounded, stopped or killed.
var controls = map[string]string{
	"memory.max": "max", "memory.high": "max", "pids.max": "max", "cpu.max": "max", "hugetlb.2MB.max": "max",
	"cgroup.max.descendants": "max", "cgroup.max.depth": "max", "cgroup.freeze": "1", "cgroup.kill": "1",
	"cgroup.subtree_control": "-hugetlb", "cgroup.procs": "0", "cgroup.type": "threaded",
}

// cgroups: finds every cgroup tree that it can see or mount, and writes to what is
// not its own group: limits, freezer, killer, membership. The host looks
// afterwards at what came of it; whatever could be opened is reported here, too. It
// begins when the host has set limits and says so by /sign/go.
func cgroups(args []string) {
	for _, err := os.Stat("/sign/go"); err != nil; _, err = os.Stat("/sign/go") {
		time.Sleep(5 * time.Millisecond)
	}
	roots := append(args, "/sys/fs/cgroup")
	_ = os.MkdirAll("/cg2", 0o755)
	if err := unix.Mount("cgroup2", "/cg2", "cgroup2", 0, ""); err != nil {
		held("mount cgroup2", err)
	} else {
		roots = append(roots, "/cg2")
	}
	remountRW(roots)
	groups := 0
	for _, root := range roots {
		_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.IsDir() {
				return nil
			}
			groups++
			bend(path)
			return nil
		})
	}
	up := "/cg2/.."
	for range 3 {
		up += "/.."
	}
	bend(up)
	fmt.Printf("saw %d folders\n", groups)
	sleep(nil) // its group lives, for the host to look at
}

// remountRW undoes what a container with CAP_SYS_ADMIN can: read-only mounts and
// covers.
func remountRW(roots []string) {
	for _, root := range roots {
		held("remount "+root, fmt.Sprintf("%v", unix.Mount("", root, "", unix.MS_REMOUNT|unix.MS_BIND, "")))
		attr := unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY}
		held("mount_setattr "+root, fmt.Sprintf("%v", unix.MountSetattr(unix.AT_FDCWD, root, unix.AT_RECURSIVE, &attr)))
		if root != "/cg2" {
			held("uncover "+root, fmt.Sprintf("%v", unix.Unmount(root, unix.MNT_DETACH)))
		}
	}
}

// bend writes the controls of one group. Its own, the root of its cgroup
// namespace, holds only itself: bending that is allowed and bounded from above.
func bend(dir string) {
	own := isOwn(dir)
	if own {
		held("its own group "+dir, "the limits are one above")
		return
	}
	for file, value := range controls {
		path := filepath.Join(dir, file)
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err == nil {
			_, err = f.WriteString(value)
			_ = f.Close()
		}
		if os.IsNotExist(err) {
			continue
		}
		refused("write "+path, err, "written")
	}
	name := filepath.Join(dir, "rc-hostile")
	err := os.Mkdir(name, 0o755)
	if err == nil {
		_ = os.Remove(name)
	}
	if isGroup(dir) {
		refused("mkdir "+name, err, "a group of its own beside the limits")
	}
}

func isGroup(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "cgroup.procs"))
	return err == nil
}

// isOwn: this process is in it or in a group below it that it made, seen through
// a mount whose root is the cgroup namespace's.
func isOwn(dir string) bool {
	data, _ := os.ReadFile("/proc/self/mountinfo")
	for _, line := range strings.Split(string(data), "\n") {
		f := strings.Fields(line)
		if len(f) > 8 && f[3] == "/" && (dir == f[4] || strings.HasPrefix(dir, f[4]+"/")) && strings.Contains(line, " - cgroup2 ") {
			return true
		}
	}
	return false
}
