package fuse

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/linux"
)

const fuseFix = "install it (Debian, Ubuntu: apt install fuse-overlayfs; Fedora: dnf install fuse-overlayfs)"

// mountFuse mounts by fuse-overlayfs. The mount is ours, made before the
// program starts, so that it is detached like the others: libfuse takes an open
// FUSE device as the mount point `/dev/fd/N` (libfuse 3.3, mount_util).
//
//	here                                  fuse-overlayfs
//	open /dev/fuse, fsopen, fsmount
//	start ──────────── fd 3 = device ───► serves it
//	close the device and the context
//	statx(mount) ─────────────────────► answers: ready; dies: ENOTCONN
//
// The device and the context must be closed here: while either is open, the
// end of the last mount does not end the connection, and the process stays.
func mountFuse(f *folders, r Rootfs) (*os.File, *Helper, error) {
	const op = "mount by fuse-overlayfs"
	program, err := lookPath(string(FuseOverlayfs))
	if err != nil {
		return nil, nil, hint.New(op, err, fuseFix)
	}
	if err := f.checkColon(); err != nil {
		return nil, nil, err
	}
	device, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		return nil, nil, hint.New(op, err, deviceFix(err))
	}
	defer device.Close()
	tree, err := fuseTree(device)
	if err != nil {
		return nil, nil, hint.New(op, err, "FUSE mounts by a user need CAP_SYS_ADMIN in the user namespace, and /dev/fuse opened in it (Linux 4.18)")
	}
	if err := f.setMark(markFuse); err != nil {
		tree.Close()
		return nil, nil, err
	}
	h, err := startHelper(program, fuseArgs(f, r), append([]int{int(device.Fd()), f.upper, f.work}, f.layers...))
	if err != nil {
		tree.Close()
		return nil, nil, f.unmark(hint.New(op, err, fuseFix))
	}
	device.Close() // now the process has the only one
	if err := answers(tree); err != nil {
		tree.Close()
		_ = h.Kill()
		if said := h.Wait(); said != nil {
			err = fmt.Errorf("%w: %w", said, err)
		}
		return nil, nil, f.unmark(hint.New(op, err, "the program was "+program))
	}
	return tree, h, nil
}

// checkColon refuses what fuse-overlayfs cannot be told: it resolves the upper
// folder's path and then splits it at each colon (main.c, read_dirs).
func (f *folders) checkColon() error {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlink(fdPath(f.upper), buf)
	if path := string(buf[:max(n, 0)]); err == nil && strings.Contains(path, ":") {
		return hint.New(fmt.Sprintf("give fuse-overlayfs the upper folder %q", path), unix.EINVAL,
			"choose a store whose path has no colon with --root")
	}
	return nil
}

// unmark takes the marker back when the mount failed before anything was
// written, and passes err on.
func (f *folders) unmark(err error) error {
	if empty, _ := f.upperEmpty(); empty {
		_ = f.setMark("")
	}
	return err
}

// fuseTree makes the FUSE mount. default_permissions: the kernel checks modes
// and owners; libfuse would ask for it, but its mount options are not used with
// an open device, and without it every file is open to every id. allow_other:
// the container's namespace is below U0, which is what the kernel then asks
// for (fuse_allow_current_process).
func fuseTree(device *os.File) (*os.File, error) {
	return linux.NewMount("fuse", [][2]string{
		{"source", string(FuseOverlayfs)},
		{"subtype", string(FuseOverlayfs)},
		// As a number: the form of fsconfig with a descriptor is newer than 5.14.
		{"fd", strconv.Itoa(int(device.Fd()))},
		{"rootmode", "40000"},
		{"user_id", "0"},
		{"group_id", "0"},
		{"default_permissions", ""},
		{"allow_other", ""},
	}, 0)
}

// fuseArgs builds the command line. The program gets the device as 3, upper and
// work as 4 and 5, the layers from 6 on: see startHelper.
func fuseArgs(f *folders, r Rootfs) []string {
	var o strings.Builder
	o.WriteString("upperdir=" + fdPath(4) + ",workdir=" + fdPath(5) + ",lowerdir=")
	for i := range f.layers {
		if i > 0 {
			o.WriteByte(':')
		}
		o.WriteString(fdPath(6 + i))
	}
	if r.Volatile {
		o.WriteString(",fsync=0") // `volatile` is newer than 1.4 (Ubuntu 22.04 has 1.7)
	}
	mapping(&o, "uidmapping", r.UIDMap)
	mapping(&o, "gidmapping", r.GIDMap)
	return []string{"-f", "-o", o.String(), "/dev/fd/3"}
}

// mapping appends name=onDisk:shown:size[:…]. fuse-overlayfs stores what the
// container writes with the ids on disk, so the folder stays in image ids.
func mapping(o *strings.Builder, name string, maps []IDMap) {
	for i, m := range maps {
		sep := ":"
		if i == 0 {
			sep = "," + name + "="
		}
		fmt.Fprintf(o, "%s%d:%d:%d", sep, m.Inside, m.Outside, m.Size)
	}
}

// answers waits for the program's first reply. A request blocks until then, and
// fails with ENOTCONN when the program dies, so no clock is needed.
func answers(tree *os.File) error {
	var stx unix.Statx_t
	for {
		err := unix.Statx(int(tree.Fd()), "", unix.AT_EMPTY_PATH|unix.AT_STATX_FORCE_SYNC, unix.STATX_INO, &stx)
		if err != unix.EINTR {
			return err
		}
	}
}

func deviceFix(err error) string {
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return "ask the administrator to run: modprobe fuse (in a container: pass --device /dev/fuse to it)"
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return "ask the administrator to run: chmod 0666 /dev/fuse (in a container: pass --device /dev/fuse to it)"
	}
	return ""
}

// lookPath finds a program in PATH, and where the system keeps programs when
// the environment does not say. os/exec would cost rc-init 0.1 MiB.
func lookPath(name string) (string, error) {
	for _, dir := range strings.Split(os.Getenv("PATH")+":/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", ":") {
		if !strings.HasPrefix(dir, "/") { // a relative PATH entry is anybody's
			continue
		}
		path := dir + "/" + name
		var st unix.Stat_t
		if unix.Stat(path, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG &&
			unix.Faccessat(unix.AT_FDCWD, path, unix.X_OK, unix.AT_EACCESS) == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is not installed: %w", name, syscall.ENOENT)
}
